"""The target: which database to maintain, and how to reach it and log in to it safely."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, cast, get_args

from maintenance.errors import SettingsError

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
MAY_BE_PLAIN: tuple[SslMode, ...] = ("disable", "allow", "prefer")
"""Modes in which the password or token may travel readable."""
_NO_HOST = re.compile(r"[\s@=?&'\"\\]|:/")
_SCOPE = "https://ossrdbms-aad.database.{}/.default"
_CLOUDS = {
    ".postgres.database.azure.com": "windows.net",
    ".postgres.database.usgovcloudapi.net": "usgovcloudapi.net",
    ".postgres.database.chinacloudapi.cn": "chinacloudapi.cn",
}
"""Flexible Server's host names, and the domain of the scope that its tokens are for.
https://learn.microsoft.com/azure/postgresql/flexible-server/how-to-configure-sign-in-azure-ad-authentication"""


class Auth(StrEnum):
    """How to log in: with a token of the identity that runs us, or as libpq does."""

    ENTRA = "entra"
    PASSWORD = "password"  # noqa: S105 - the name of a way to log in


class Identity(StrEnum):
    """Which identity the platform gives us, as far as its variables tell."""

    MANAGED = "managed"
    WORKLOAD = "workload"
    CLI = "cli"
    """Whoever a workflow of GitHub Actions has logged in with the Azure CLI, and not the machine that runs it."""
    UNKNOWN = "unknown"
    """A virtual machine's, or that of a developer logged in with the Azure CLI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The database to maintain. What is None here, the driver takes from libpq's variables and files."""

    name: str | None = None
    """What the fleet's file calls it; None for the one database of libpq's variables."""
    host: str
    port: int | None = None
    database: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    auth: Auth = Auth.PASSWORD
    identity: Identity = Identity.UNKNOWN
    client_id: str | None = None
    """Of a user-assigned managed identity; None for the system-assigned one."""
    sslmode: SslMode | None = None
    root_certificate: str | None = None
    """A file, or `system`; None for libpq's own file where there is one, and the system's store elsewhere."""

    def __str__(self) -> str:
        port = f":{self.port}" if self.port else ""
        return f"{self.host}{port}/{self.database or self.user or ''}".rstrip("/")

    @property
    def scope(self) -> str:
        """The scope that a token for this server is asked for."""
        domain = next((domain for suffix, domain in _CLOUDS.items() if _normal(self.host).endswith(suffix)), None)
        return _SCOPE.format(domain or "windows.net")


def target_of(env: Mapping[str, str], name: str | None = None) -> Target | None:
    """The database that these variables lead to; None where they name no host.

    Raises:
        SettingsError: a value cannot be used, or would send the login readable over a network.
    """
    _refuse_missing_certificate(env)
    host = _host(env)
    if not host:
        return None
    port = env.get("PGPORT")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise SettingsError(f"PGPORT is {port!r}; it must be a number from 1 to 65535.")
    return Target(
        name=name,
        host=host,
        port=int(port) if port else None,
        database=env.get("PGDATABASE") or None,
        user=env.get("PGUSER") or None,
        password=env.get("PGPASSWORD") or None,
        auth=_auth(env, host),
        identity=_identity(env),
        client_id=env.get("AZURE_CLIENT_ID") or None,
        sslmode=_sslmode(env, host),
        root_certificate=env.get("PGSSLROOTCERT") or None,
    )


def _host(env: Mapping[str, str]) -> str:
    """The host or hosts, each as the driver and the certificate have it.

    A URL here may have a password in it, which nobody must see in a message: so it is not repeated.
    """
    hosts = [one.strip() for one in (env.get("PGHOST") or "").split(",")]
    for one in hosts:
        if not one.startswith("/") and _NO_HOST.search(one):
            raise SettingsError(
                "PGHOST is not the name or address of a host, nor a socket's folder (not shown: it may have a password "
                "in it); the database, user and port have variables of their own."
            )
    if "://" in (env.get("PGDATABASE") or ""):
        raise SettingsError(
            "PGDATABASE is a URL (not shown: it may have a password in it); let it be the database's name, and set "
            "PGHOST, PGPORT and PGUSER."
        )
    return ",".join(one if one.startswith("/") else one.strip("[]").rstrip(".") for one in hosts if one)


def _auth(env: Mapping[str, str], host: str) -> Auth:
    text = env.get("MAINTENANCE_AUTH")
    if not text:
        return Auth.ENTRA if is_flexible_server(host) else Auth.PASSWORD
    if text not in tuple(Auth):
        raise SettingsError(f"MAINTENANCE_AUTH is {text!r}; it must be entra or password, or unset.")
    return Auth(text)


def _identity(env: Mapping[str, str]) -> Identity:
    if env.get("GITHUB_ACTIONS") == "true":
        return Identity.CLI
    if env.get("IDENTITY_ENDPOINT") or env.get("MSI_ENDPOINT"):
        return Identity.MANAGED
    return Identity.WORKLOAD if env.get("AZURE_FEDERATED_TOKEN_FILE") else Identity.UNKNOWN


def _refuse_missing_certificate(env: Mapping[str, str]) -> None:
    path = env.get("PGSSLROOTCERT")
    if path and path != "system" and not Path(path).is_file():
        raise SettingsError(
            f"PGSSLROOTCERT is {path!r}, but there is no such file; name the file with the root certificates."
        )


def _sslmode(env: Mapping[str, str], host: str) -> SslMode | None:
    """What libpq leaves open is closed: a remote server must prove who it is, unless somebody says otherwise."""
    plain = env.get("MAINTENANCE_ALLOW_PLAINTEXT")
    if plain not in (None, "", "0", "1"):
        raise SettingsError(f"MAINTENANCE_ALLOW_PLAINTEXT is {plain!r}; it must be 1 or unset.")
    text = env.get("PGSSLMODE")
    if not text:
        return None if is_local(host) else "verify-full"
    if text == "require" and plain != "1" and not is_local(host) and _auth(env, host) is Auth.ENTRA:
        raise SettingsError(
            f"PGSSLMODE is 'require' and the login is Entra's, so the token would go to whoever answers as {host}; "
            "unset it (verify-full is the default), or set MAINTENANCE_ALLOW_PLAINTEXT=1 if the network is yours."
        )
    if text not in get_args(SslMode):
        raise SettingsError(f"PGSSLMODE is {text!r}; it must be one of {', '.join(get_args(SslMode))}.")
    if text in MAY_BE_PLAIN and plain != "1" and not is_local(host):
        raise SettingsError(
            f"PGSSLMODE is {text!r} and {host} is another machine, so the login and the data could be read on their "
            "way; unset it (verify-full is the default), or set MAINTENANCE_ALLOW_PLAINTEXT=1 if the network is yours."
        )
    return cast(SslMode, text)


def is_flexible_server(host: str) -> bool:
    """Whether all hosts of a comma-separated list are Azure Database for PostgreSQL, by their names."""
    return all(_normal(one).endswith(tuple(_CLOUDS)) for one in host.split(","))


def is_local(host: str) -> bool:
    """Whether all hosts of a comma-separated list are Unix sockets or loopback addresses."""
    return all(_is_local(one.strip()) for one in host.split(","))


def _is_local(host: str) -> bool:
    if host.startswith("/") or _normal(host) == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _normal(host: str) -> str:
    return host.strip().rstrip(".").lower()
