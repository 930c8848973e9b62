"""VACUUM and ANALYZE skip a table with a mere warning where a privilege is missing; its time stamp tells."""

from __future__ import annotations

import asyncio

from asyncpg import Connection, PostgresLogMessage, Record

from maintenance.database import fetch_one
from maintenance.errors import Blocked
from maintenance.names import Table

_PATIENCE = 20
_PAUSE = 0.1


async def stamped(connection: Connection, table: Table, oid: int, command: str, look: str) -> tuple[Record, Record]:
    """Run the command and see that the table's `stamp` moves; up to 2 s later, as PostgreSQL 14 reports with a delay.

    Returns what `look` saw before and after it.

    Raises:
        Blocked: the stamp stayed where it was; the message has the server's warnings.
    """
    warnings: list[str] = []

    def heard(_connection: object, message: PostgresLogMessage) -> None:
        warnings.append(message.message or str(message))

    before = await fetch_one(connection, look, oid)
    connection.add_log_listener(heard)
    try:
        await connection.execute(command)
        # The driver hands warnings over in a later turn of the loop.
        await asyncio.sleep(0)
    finally:
        connection.remove_log_listener(heard)
    for attempt in range(_PATIENCE):
        after = await fetch_one(connection, look, oid)
        if after["stamp"] is not None and after["stamp"] != before["stamp"]:
            return before, after
        if warnings and attempt:
            break
        await asyncio.sleep(_PAUSE)
    said = "; ".join(warnings) or "the server gave no reason"
    raise Blocked(
        f"{table} was skipped by the server ({said}), so nothing was done to it; make this role its owner, "
        f"or, from PostgreSQL 17, GRANT MAINTAIN ON {table.sql} to it."
    )
