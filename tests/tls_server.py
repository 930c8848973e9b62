"""A server that speaks TLS, with certificates of an authority of our own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trustme

from maintenance.demo.server import Server, embedded_server

NAME = "db.example.org"
_NOBODY = 65534
_PLACES = ("/usr/lib/postgresql", "/usr/pgsql-*", "/opt/homebrew/opt/postgresql*", "/Library/PostgreSQL")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsServer:
    """`right` has signed the server's certificate, which is for NAME and for no address; `wrong` has not."""

    server: Server
    right: Path
    wrong: Path


def capable() -> Path | None:
    """The programs of a PostgreSQL that was built with TLS, as the system's packages are and the wheel is not."""
    found = [path for place in _PLACES for path in Path("/").glob(f"{place[1:]}/**/bin/postgres")]
    return max(found).parent if found else None


@contextmanager
def tls_server(bin_directory: Path, until: datetime | None = None) -> Iterator[TlsServer]:
    """The server, until the block ends."""
    # Not in pytest's folder: the server may run as `nobody`, who cannot enter that.
    folder = Path(tempfile.mkdtemp(prefix="maintenance-tls-"))
    try:
        folder.chmod(0o755)
        right, wrong = trustme.CA(), trustme.CA()
        files = {name: folder / f"{name}.pem" for name in ("right", "wrong", "chain", "key")}
        right.cert_pem.write_to_path(files["right"])
        wrong.cert_pem.write_to_path(files["wrong"])
        issued = right.issue_cert(NAME, not_after=until)
        files["chain"].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(files["key"])
        files["key"].chmod(0o600)
        if os.geteuid() == 0:
            os.chown(files["key"], _NOBODY, _NOBODY)
        settings = {"ssl": "on", "ssl_cert_file": str(files["chain"]), "ssl_key_file": str(files["key"])}
        with embedded_server(bin_directory=bin_directory, settings=settings) as server:
            yield TlsServer(server=server, right=files["right"], wrong=files["wrong"])
    finally:
        shutil.rmtree(folder)
