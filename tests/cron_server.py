"""A server with the real pg_cron, set as on Azure: no background workers, jobs in a database of their own, GMT."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from asyncpg import Connection

from maintenance.demo.server import Server, embedded_server
from tests.databases import connect

SETTINGS = {
    "shared_preload_libraries": "pg_cron", "cron.use_background_workers": "off", "cron.database_name": "postgres",
}  # fmt: skip
PATIENCE = 150.0
"""Seconds for what pg_cron does at the beginning of a minute, or of the one after it."""


def binaries() -> Path:
    """The distribution's PostgreSQL with pg_cron; the test is skipped where there is none, and fails for that in CI."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/lib/pg_cron.so"))
    if not found:
        pytest.skip("needs pg_cron (Debian and Ubuntu: apt install postgresql-15-cron)")
    return found[-1].parents[1] / "bin"


@asynccontextmanager
async def cron_server(*, launch: bool, **settings: str) -> AsyncIterator[tuple[Server, Connection]]:
    """The server, and a superuser's connection to the database of the jobs; settings are pg_cron's."""
    named = {f"cron.{name}": value for name, value in settings.items()}
    with embedded_server(
        bin_directory=binaries(), settings={**SETTINGS, "cron.launch_active_jobs": str(launch), **named}
    ) as server:
        # pg_cron logs in as the owner of a job, without a password.
        (rules,) = server.directory.rglob("pg_hba.conf")
        rules.write_text("host all all 127.0.0.1/32 trust\n" + rules.read_text(encoding="utf-8"), encoding="utf-8")
        connection = await connect(server, "postgres")
        try:
            await connection.execute("select pg_reload_conf()")
            await connection.execute("create extension pg_cron")
            yield server, connection
        finally:
            await connection.close()


async def until(connection: Connection, query: str, *values: object) -> None:
    """Wait until a query has a row."""
    give_up = time.monotonic() + PATIENCE
    while not await connection.fetch(query, *values):
        assert time.monotonic() < give_up, f"never came true: {query} {values}"
        await asyncio.sleep(0.1)
