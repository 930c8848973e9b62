"""Servers that a test may stop as if their machine had gone, and start again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from asyncpg import Connection

from maintenance.demo.server import Server
from tests.databases import connect

_READY = 30.0


@dataclass(slots=True, kw_only=True)
class Fragile:
    """A server whose postmaster is ours."""

    server: Server
    options: dict[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        """Start the postmaster on the data as it lies there."""
        programs = next(self.server.directory.glob("software/*/*/bin"), self.server.bin_directory)
        data = self.server.directory / "data"
        owner = data.stat()
        user: Any = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        command: list[str | Path] = [
            programs / "postgres", "-D", data, *(w for k, v in self.options.items() for w in ("-c", f"{k}={v}")),
            "-c", f"port={self.server.port}", "-c", f"listen_addresses={self.server.host}",
            "-c", f"unix_socket_directories={self.server.directory}",
        ]  # fmt: skip
        with (self.server.directory / "fragile.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd="/", env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}, stdout=log, stderr=log, **user
            )

    def crash(self) -> None:
        """As `pg_ctl stop -m immediate`: no checkpoint, no farewell."""
        assert self.process is not None
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)
        self.process = None

    async def answering(self, database: str = "postgres") -> Connection:
        """A connection, once it takes one."""
        until = time.monotonic() + _READY
        while True:
            try:
                return await connect(self.server, database)
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.InterfaceError):
                assert time.monotonic() < until, "the server does not answer"
                await asyncio.sleep(0.02)

    async def up(self) -> None:
        """Wait until it takes connections."""
        connection = await self.answering()
        await connection.close()


@asynccontextmanager
async def taken_over(server: Server, **options: str) -> AsyncIterator[Fragile]:
    """An embedded server of one's own, stopped and started again by ourselves; ours is gone after the block."""
    pid = int((server.directory / "data" / "postmaster.pid").read_text(encoding="utf-8").split("\n")[0])
    settings = {
        "fsync": "off",
        "shared_buffers": "32MB",
        "max_connections": "20",
        "timezone": "UTC",
        "autovacuum": "off",
    }
    fragile = Fragile(server=server, options={**settings, **options})
    os.kill(pid, signal.SIGINT)
    until = time.monotonic() + _READY
    while (server.directory / "data" / "postmaster.pid").exists():
        assert time.monotonic() < until, "the server does not stop"
        await asyncio.sleep(0.02)
    fragile.start()
    try:
        await fragile.up()
        yield fragile
    finally:
        if fragile.process is not None:
            fragile.crash()
