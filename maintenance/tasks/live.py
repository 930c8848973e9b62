"""How much of a table is live: measured by pgstattuple where it is at hand, else estimated from a sample of rows."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg
from asyncpg import Connection, Record

from maintenance.database import limit_statements
from maintenance.names import Fragment, Table, listed, quoted
from maintenance.sql import statement

_FILE = "shrink"
_PATIENCE = 5.0
"""Seconds that a look into one table may take."""
_BLOCKS = 1000
"""Blocks of a sample."""
_HEADER = 28
"""Bytes of a row beside its values: its header, and its line pointer."""
_HEAP, _TOAST = 1.05, 1.06
"""What pages, alignment and the chunks of values with their index take beside the bytes themselves."""
_APART = 2000
"""Bytes above which a value is stored apart. https://www.postgresql.org/docs/current/storage-toast.html"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """Bytes of a table that a rewrite would keep, without its indexes."""

    heap: int
    toast: int
    how: str
    """Where the figure is from, in words; what is not measured says so."""

    @property
    def bytes(self) -> int:
        """Both."""
        return self.heap + self.toast


async def live(connection: Connection, table: Table, row: Record, rows: int) -> Live | None:
    """What is live of a table that has about so many `rows`, `row` being its parts; None where nobody can tell.

    Raises:
        LockNotAvailableError: somebody has the table for himself.
    """
    return await _measured(connection, row) or await _sampled(connection, table, row, rows)


async def _measured(connection: Connection, row: Record) -> Live | None:
    schema = await connection.fetchval(statement(_FILE, "pgstattuple"))
    if schema is None:
        return None
    sql = statement(_FILE, "measured", schema=quoted(schema))
    try:
        async with connection.transaction():
            await limit_statements(connection, _PATIENCE, local=True)
            heap = await connection.fetchval(sql, row["oid"])
            toast = await connection.fetchval(sql, row["toast_oid"]) if row["toast_oid"] else 0
    except asyncpg.PostgresError as error:
        _unless_hopeless(connection, error)
        return None
    return Live(heap=int(heap * _HEAP / row["fill"]), toast=int(toast * _TOAST), how="by pgstattuple")


async def _sampled(connection: Connection, table: Table, row: Record, rows: int) -> Live | None:
    names = [quoted(one["name"]) for one in await connection.fetch(statement(_FILE, "columns"), row["oid"])]
    sizes = [f"coalesce(pg_catalog.pg_column_size(t.{name}), 0)" for name in names]
    inline = [Fragment(f"case when {size} > {_APART} then 18 else {size} end") for size in sizes]
    apart = [Fragment(f"case when {size} > {_APART} then {size} else 0 end") for size in sizes]
    sql = statement(
        _FILE, "sample", table=table.sql, inline=listed(inline or [Fragment("0")], " + "),
        apart=listed(apart or [Fragment("0")], " + "),
    )  # fmt: skip
    share = min(100.0, 100.0 * _BLOCKS / max(row["blocks"], 1))
    try:
        async with connection.transaction():
            await limit_statements(connection, _PATIENCE, local=True)
            found = await connection.fetchrow(sql, share)
    except asyncpg.PostgresError as error:
        _unless_hopeless(connection, error)
        return None
    if found is None or (rows > 0 and not found["rows"]):
        return await _by_statistics(connection, table, row, rows)
    # The server's count may be old, or have been reset: what lies in the sample does lie there.
    rows = max(rows, int(found["rows"] * 100 / share))
    return Live(
        heap=int(rows * (_HEADER + found["inline"]) * _HEAP / row["fill"]),
        toast=int(rows * found["apart"] * _TOAST),
        how=f"estimated from {found['rows']:,} rows",
    )


async def _by_statistics(connection: Connection, table: Table, row: Record, rows: int) -> Live | None:
    """Where rows lie so thin that a sample has none. Of values stored apart nothing is known, so they count as live."""
    width = await connection.fetchval(statement(_FILE, "widths"), table.schema, table.name)
    if width is None:
        return None
    heap = int(rows * (_HEADER + width) * _HEAP / row["fill"])
    return Live(heap=heap, toast=row["toast"], how="estimated from its statistics")


def _unless_hopeless(connection: Connection, error: asyncpg.PostgresError) -> None:
    """Another way may be open, unless the table is somebody's alone or nobody is there any more."""
    if connection.is_closed() or isinstance(error, asyncpg.LockNotAvailableError):
        raise error
