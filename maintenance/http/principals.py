"""Principals: who asks, as App Service Authentication has it, and whether they may.

It takes these headers out of what comes from outside, so they can be trusted where it is on, and only there.
https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities#access-user-claims-in-app-code
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from http import HTTPStatus

from maintenance.http.problems import Problem

_IDS = (
    "http://schemas.microsoft.com/identity/claims/objectidentifier", "oid",
)  # fmt: skip
_APPS = ("appid", "azp")
_DELEGATED = ("scp", "http://schemas.microsoft.com/identity/claims/scope")
_NAMES = ("preferred_username", "name", "app_displayname")
_LONGEST = 200


def admitted(headers: Mapping[str, str], allowed: frozenset[str], *, vouched: bool) -> str | None:
    """Who asks; None where nobody is named who may, and a function key is all that is needed.

    Raises:
        Problem: 401 if nobody is signed in, 403 if somebody is who may not, 500 if nobody has vouched for the headers.
    """
    if not allowed:
        return None
    if not vouched:
        raise Problem(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "MAINTENANCE_HTTP_ALLOWED_PRINCIPALS is set, but App Service Authentication is off, so anybody could write "
            "any name into the headers; turn it on (which sets WEBSITE_AUTH_ENABLED), or unset the list.",
        )
    claims = _claims(headers.get("X-MS-CLIENT-PRINCIPAL"))
    # The application of a token with a scope is only the one that a user has signed in through.
    delegated = any(kind in _DELEGATED for kind, _ in claims)
    kinds = _IDS if delegated else (*_IDS, *_APPS)
    ids = {value.lower() for kind, value in claims if kind in kinds}
    ids.add((headers.get("X-MS-CLIENT-PRINCIPAL-ID") or "").strip().lower())
    ids.discard("")
    if not ids:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "Nobody is signed in, and this app admits only the principals in MAINTENANCE_HTTP_ALLOWED_PRINCIPALS; "
            "sign in with Entra ID (App Service Authentication must be on).",
        )
    mine = sorted(ids & allowed)
    if not mine:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "You are signed in, but are not among the principals in MAINTENANCE_HTTP_ALLOWED_PRINCIPALS; have your "
            "object or application ID added there.",
        )
    names = [headers.get("X-MS-CLIENT-PRINCIPAL-NAME") or "", *(value for kind, value in claims if kind in _NAMES)]
    name = next((shown for shown in map(_shown, names) if shown), "")
    return f"{name} ({mine[0]})" if name and name.lower() != mine[0] else mine[0]


def _claims(header: str | None) -> list[tuple[str, str]]:
    if not header:
        return []
    try:
        told = json.loads(base64.b64decode(header, validate=True))
        claims = [(claim["typ"], claim["val"]) for claim in told["claims"] if isinstance(claim["val"], str)]
        # Another provider's `oid` is not Entra's.
        return claims if told.get("auth_typ", "aad") == "aad" else []
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Problem(
            HTTPStatus.UNAUTHORIZED, "The header X-MS-CLIENT-PRINCIPAL is not what App Service writes; sign in again."
        ) from error


def _shown(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:_LONGEST].strip()
