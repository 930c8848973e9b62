"""TLS: how a connection proves that it talks to the right server."""

from __future__ import annotations

import ssl
from pathlib import Path

from maintenance.target import SslMode, Target

_SYSTEM = "system"


def tls(target: Target) -> ssl.SSLContext | SslMode:
    """What the driver is told: a context on the system's store, or a mode, whose files are then libpq's.

    libpq checks a server against a file of its own and fails where there is none; servers on Azure chain to public
    roots, so the system's store is right where nobody named a file.
    https://learn.microsoft.com/azure/postgresql/flexible-server/security-tls
    """
    mode = target.sslmode
    if target.root_certificate == _SYSTEM and mode not in (None, "disable"):
        return _context()
    if mode not in ("verify-ca", "verify-full") or target.root_certificate or _own_store():
        return mode or "prefer"
    return _context()


def _context() -> ssl.SSLContext:
    """Always with a look at the name: anybody can have a certificate that a public root has signed."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    return context


def _own_store() -> bool:
    """Whether libpq's file with root certificates is there."""
    try:
        return (Path.home() / ".postgresql" / "root.crt").is_file()
    except (RuntimeError, OSError):
        return False
