"""A server that speaks TLS, and the names by which it is another machine's."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maintenance import settings as environment
from tests.tls_server import TlsServer, capable, tls_server


@pytest.fixture(scope="module")
def tls() -> Iterator[TlsServer]:
    programs = environment.load().postgres_bin or capable()
    if programs is None:
        pytest.skip("no PostgreSQL that was built with TLS is installed (Debian and Ubuntu: apt install postgresql)")
    with tls_server(programs) as running:
        yield running


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A DNS in which everything of example.org is on this machine, and a home without certificates."""
    resolve = socket.getaddrinfo

    def answer(host: Any, *rest: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if str(host).endswith("example.org") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("PGSSL")]:
        monkeypatch.delenv(name)
