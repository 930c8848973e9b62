"""The target: which database to maintain, and how to reach it and log in to it safely."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
MAY_BE_PLAIN: tuple[SslMode, ...] = ("disable", "allow", "prefer")
"""Modes in which the password or token may travel readable."""
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
    UNKNOWN = "unknown"
    """A virtual machine's, or that of a developer or a workflow logged in with the Azure CLI."""


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


def is_flexible_server(host: str) -> bool:
    """Whether all hosts of a comma-separated list are Azure Database for PostgreSQL, by their names."""
    return all(_normal(one).endswith(tuple(_CLOUDS)) for one in host.split(","))


def is_local(host: str) -> bool:
    """Whether all hosts of a comma-separated list are Unix sockets or loopback addresses."""
    return all(_is_local(one.strip()) for one in host.split(","))


def _is_local(host: str) -> bool:
    if host.startswith(("/", "@")) or _normal(host) == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _normal(host: str) -> str:
    return host.strip().rstrip(".").lower()
