"""A server with a streaming replica, whose replay a test can stop."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
from asyncpg import Connection

from maintenance.demo.server import Server
from tests.databases import connect

NAME = "the replica"
_READY = 30.0


@contextmanager
def streaming(primary: Server) -> Iterator[Server]:
    """A replica of a server inside the block; its files lie among the server's, and go with them in any case."""
    programs = next(primary.directory.glob("software/*/*/bin"), primary.bin_directory)
    if not (programs / "pg_basebackup").is_file():
        raise AssertionError(f"{programs} has no pg_basebackup, and without it there is no replica to test with")
    folder = primary.directory / "replica"
    with socket.socket() as probe:
        probe.bind((primary.host, 0))
        port = probe.getsockname()[1]
    owner = (primary.directory / "data").stat()
    user: Any = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **primary.environment()}
    subprocess.run(
        [programs / "pg_basebackup", "-D", folder, "--checkpoint=fast", "--no-sync"],
        check=True, cwd="/", env=environment, **user,
    )  # fmt: skip
    (folder / "standby.signal").touch()
    options = {
        "port": str(port), "listen_addresses": primary.host, "unix_socket_directories": "", "fsync": "off",
        # Not less than the server's, or the replica does not start.
        "max_prepared_transactions": "10",
        # The rest it has from the environment, as the server's own library may be older than pg_basebackup's.
        "primary_conninfo": f"application_name='{NAME}'",
    }  # fmt: skip
    command: list[str | Path] = [
        programs / "postgres",
        "-D",
        folder,
        *(w for k, v in options.items() for w in ("-c", f"{k}={v}")),
    ]
    with (primary.directory / "replica.log").open("wb") as log:
        process = subprocess.Popen(command, cwd="/", env=environment, stdout=log, stderr=log, **user)
    try:
        yield replace(primary, port=port, directory=folder)
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A server and its replica."""

    primary: Server
    replica: Server

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """The replica goes on to receive, and replays nothing inside the block."""
        await self.replay("pg_wal_replay_pause()")
        try:
            yield
        finally:
            await self.replay("pg_wal_replay_resume()")

    async def replay(self, call: str) -> None:
        connection = await self._answering()
        try:
            await connection.execute(f"select {call}")
        finally:
            await connection.close()

    async def _answering(self) -> Connection:
        until = time.monotonic() + _READY
        while time.monotonic() < until:
            try:
                return await connect(self.replica, "postgres")
            except (OSError, asyncpg.CannotConnectNowError):
                await asyncio.sleep(0.02)
        raise AssertionError("the replica does not answer")

    async def caught_up(self) -> None:
        """Wait until the replica has replayed all that is written."""
        await self._seen("coalesce(replay_lsn, '0/0') >= pg_current_wal_lsn()")

    async def behind(self, seconds: float) -> None:
        """Wait until the server knows that its replica is so far behind."""
        await self._seen(f"replay_lag > interval '{seconds} seconds'")

    async def even(self) -> None:
        """Wait until the replica has replayed all that is written, and write nothing to make it tell."""
        await self._seen("replay_lsn >= pg_current_wal_lsn()", tick=False)

    async def _seen(self, condition: str, *, tick: bool = True) -> None:
        connection = await connect(self.primary, "postgres")
        until = time.monotonic() + _READY
        try:
            while not await connection.fetchval(f"select exists (select from pg_stat_replication where {condition})"):
                assert time.monotonic() < until, f"never: {condition}"
                # A replica tells how far it is when it gets something.
                if tick:
                    await connection.execute("select pg_logical_emit_message(true, 'tests', 'tick')")
                await asyncio.sleep(0.05)
        finally:
            await connection.close()
