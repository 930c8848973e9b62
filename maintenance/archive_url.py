"""The archive's URL: which container of which storage account, as one writes it in a setting."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit

from maintenance.errors import SettingsError

_NAME = "MAINTENANCE_ARCHIVE_URL"
_EXAMPLE = "write https://ACCOUNT.blob.core.windows.net/CONTAINER, with a folder behind it if you like"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveUrl:
    """A container, and the folder in it that is ours; `str()` has no secret in it."""

    account: str
    container: str
    folder: str
    """Without slashes at its ends; empty for the container itself."""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.account, self.container, quote(self.folder))))


def archive_url(env: Mapping[str, str]) -> ArchiveUrl | None:
    """The setting, or None where it is unset.

    Raises:
        SettingsError: it is not the URL of a container, or has a key or a signature in it.
    """
    text = env.get(_NAME)
    if not text:
        return None
    try:
        parts = urlsplit(text)
        loopback = _is_address(parts)
    except ValueError:
        parts, loopback = urlsplit(""), False
    if parts.query or parts.fragment or parts.username or parts.password:
        raise SettingsError(
            f"{_NAME} has more than a place in it (not shown: it may be a key or a signature); {_EXAMPLE}: the "
            "identity of the login has the rights."
        )
    # By an address, as emulators are reached, the account is the first part of the path.
    path = [unquote(part) for part in parts.path.strip("/").split("/")]
    account, (container, *folder) = ([path[0]], path[1:] or [""]) if loopback else ([], path)
    if parts.scheme != "https" or not parts.hostname or not container or {"", ".", ".."} & {*account, *folder}:
        raise SettingsError(f"{_NAME} is {text!r}, which names no container to be reached by TLS; {_EXAMPLE}.")
    return ArchiveUrl(
        account="/".join([f"https://{parts.netloc}", *account]), container=container, folder="/".join(folder)
    )


def _is_address(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True
