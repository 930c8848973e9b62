"""The demo fleet: ReportMate's tables as an older installation has them, filled with events, duplicates and orphans."""

from __future__ import annotations

from asyncpg import Connection

from maintenance.names import Table
from maintenance.sql import script, statement

DEVICES = 600
EVENTS = 220_000


async def build(connection: Connection, *, devices: int = DEVICES, events: int = EVENTS) -> None:
    """Make the tables in an empty database and fill them; the same rows every time, all ages relative to now."""
    await connection.execute(script("demo/schema"))
    await connection.execute(statement("demo/size", "size"), str(devices), str(events))
    await connection.execute(script("demo/fleet"))


async def counted(connection: Connection) -> dict[str, int]:
    """Rows of each of the fleet's tables."""
    tables = [
        Table(schema=row["schema"], name=row["name"])
        for row in await connection.fetch(statement("demo/size", "tables"))
    ]
    return {str(table): await connection.fetchval(statement("demo/size", "rows", table=table.sql)) for table in tables}
