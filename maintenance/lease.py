"""The lease: one run at a time on a database, held by a session advisory lock that the server frees."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from asyncpg import Connection

from maintenance.errors import LeaseHeld
from maintenance.sql import statement

_PAUSE = 0.5
SKIPPED = (
    "Another run holds the lease of this database ({holder}), so this one was skipped; the work waits for the next run."
)


@asynccontextmanager
async def lease(connection: Connection, patience: float = 0.0) -> AsyncIterator[None]:
    """Hold the lease of this database; tried, not awaited, but for `patience` seconds where its holder may be dying.

    Raises:
        LeaseHeld: another session has it; the message says which.
    """
    until = time.monotonic() + patience
    while not await connection.fetchval(statement("lease", "take")):
        if time.monotonic() < until:
            await asyncio.sleep(_PAUSE)
            continue
        row = await connection.fetchrow(statement("lease", "holder"))
        holder = f"{row['application_name']!r}, process {row['pid']}" if row else "another"
        # The server tells when a session began to its own role, and to those that may read all statistics.
        if row and row["backend_start"]:
            holder += f", since {row['backend_start']:%Y-%m-%d %H:%M} UTC"
        raise LeaseHeld(SKIPPED.format(holder=holder))
    try:
        yield
    finally:
        try:
            await connection.execute(statement("lease", "release"))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            # The session is gone, and the lock with it.
            connection.terminate()
