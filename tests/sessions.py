"""Other people's sessions: applications that hold locks, roles with few rights, and our session seen from outside."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from asyncpg import Connection

from maintenance.target import Target
from tests.databases import Database, connect

_OURS = "application_name like 'maintenance run%' and datname = current_database()"


@asynccontextmanager
async def application(database: Database) -> AsyncIterator[Connection]:
    """A session of an application, as superuser."""
    connection = await connect(database.server, database.name)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def locked(database: Database, table: str, mode: str = "access exclusive") -> AsyncIterator[Connection]:
    """An application's transaction that holds a lock on a table; it ends with the block."""
    async with application(database) as connection:
        await connection.execute("begin")
        await connection.execute(f"lock table {table} in {mode} mode")
        yield connection


async def waiting(database: Database) -> int:
    """Wait until our run waits for a lock; returns its process."""
    return await _seen(database, "wait_event_type = 'Lock'")


async def all_waiting(database: Database, number: int) -> list[str]:
    """Wait until so many of our run's sessions wait for a lock; returns their names."""
    seen = f"select application_name from pg_stat_activity where {_OURS} and wait_event_type = 'Lock' order by 1"
    for _ in range(1000):
        names = await database.values(seen)
        if len(names) == number:
            return [str(name) for name in names]
        await asyncio.sleep(0.01)
    raise AssertionError(f"there were never {number} sessions of ours that waited within 10 s")


async def sleeping(database: Database) -> int:
    """Wait until our run executes a trigger's pg_sleep; returns its process."""
    return await _seen(database, "wait_event = 'PgSleep'")


async def delayed(database: Database) -> int:
    """Wait until a VACUUM of ours rests by vacuum_cost_delay; returns its process."""
    return await _seen(database, "wait_event = 'VacuumDelay'")


async def _seen(database: Database, condition: str) -> int:
    for _ in range(1000):
        pids = await database.values(f"select pid from pg_stat_activity where {_OURS} and {condition}")
        if pids:
            return int(pids[0])
        await asyncio.sleep(0.01)
    raise AssertionError(f"no session of ours with {condition} within 10 s")


@asynccontextmanager
async def role(database: Database, *grants: str) -> AsyncIterator[Target]:
    """A plain role that may log in, with these grants ({role} and {database} are filled in); gone after the block."""
    name = f"plain_{database.name}"
    await database.execute(f"create role {name} login password 'plain'")
    try:
        for grant in grants:
            await database.execute(grant.format(role=name, database=database.name))
        yield replace(database.settings.required_target(), user=name, password="plain")
    finally:
        await database.execute(f"drop owned by {name} cascade")
        await database.execute(f"drop role {name}")


@asynccontextmanager
async def said(database: Database) -> AsyncIterator[list[str]]:
    """The statements without values that new sessions in this database made during the block, once it is over."""
    log = database.server.directory / "server.log"
    await database.execute(f"alter database {database.name} set log_statement = 'all'")
    begin = log.stat().st_size
    statements: list[str] = []
    yield statements
    text = log.read_bytes()[begin:].decode(errors="replace")
    found = re.findall(r"LOG:  statement: (.+(?:\n\t.+)*)", text)
    statements += ["\n".join(line for line in one.split("\n\t") if not line.startswith("--")) for one in found]


LEDGER_GRANTS = (
    "grant usage on schema maintenance to {role}",
    "grant select, insert, update, delete on all tables in schema maintenance to {role}",
)


async def counted(database: Database) -> None:
    """Bring what this test's session did into the server's counters; PostgreSQL 14 reports with a delay."""
    if database.connection.get_server_version().major >= 15:
        await database.execute("select pg_stat_force_next_flush()")
    else:
        for _ in range(2):
            await asyncio.sleep(0.6)
            await database.execute("select 1")
