"""Restoration: archived rows back into their tables, as they were; what is there already stays as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from asyncpg import Connection
from asyncpg import exceptions as pg

from maintenance.archive.landing import Landing, landing, ordered
from maintenance.archive.manifest import Manifest
from maintenance.archive.press import Sum, Tally, summed, unpressed
from maintenance.archive.shelf import Entry
from maintenance.archive.store import Store
from maintenance.database import fetch_one, limit_statements
from maintenance.errors import ArchiveError
from maintenance.names import Table, TableName
from maintenance.refusals import first_line
from maintenance.sql import statement

_Read = TypeVar("_Read")
_REFUSED = (pg.IntegrityConstraintViolationError, pg.RaiseError, pg.FeatureNotSupportedError)
"""What the table itself has against rows: its constraints, its triggers, a rule that rewrites the INSERT."""
_LONG = 86_400.0
"""Seconds that a statement may take: all rows of a table come back in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What became of the archived rows of a table."""

    table: str
    into: str
    objects: int
    rows: int
    """In the archive."""
    inserted: int
    present: int
    """There already: by their key, or where there is none by all their values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Load:
    """The objects of one table, the last one first: of two rows with one key the later one comes back."""

    objects: tuple[tuple[Store, Manifest], ...]
    landing: Landing

    @property
    def rows(self) -> int:
        return sum(manifest.rows for _, manifest in self.objects)


async def restore(connection: Connection, entries: Sequence[Entry], into: TableName | None) -> list[Restored]:
    """Bring back the rows of these objects, each table in one transaction, parents before children.

    Every object is read and its checksum seen before anything is inserted.

    Raises:
        ArchiveError: an object is damaged, or its rows do not fit the table; that table is as it was.
    """
    objects = [(entry.store, entry.manifest) for entry in reversed(entries) if entry.manifest is not None]
    for store, manifest in objects:
        _compare(manifest, await _named(manifest, summed(unpressed(store.read(manifest.object)))))
    await limit_statements(connection, _LONG, local=False)
    # The table of the last step first, where no foreign key says otherwise.
    tables = dict.fromkeys(m.whole for _, m in sorted(objects, key=lambda pair: -pair[1].step))
    loads = []
    for table in tables:
        own = tuple((store, manifest) for store, manifest in objects if manifest.whole == table)
        loads.append(_Load(objects=own, landing=await landing(connection, into or _name(table), [m for _, m in own])))
    places = await ordered(connection, [load.landing for load in loads])
    return [await _taken(connection, loads[place]) for place in places]


async def _taken(connection: Connection, load: _Load) -> Restored:
    try:
        return await _brought_back(connection, load)
    except _REFUSED as error:
        raise ArchiveError(
            f"{load.landing.table} does not take the rows ({first_line(error)}), so nothing of it was brought back; "
            "see to what the server says, or name another table with --into."
        ) from error


async def _brought_back(connection: Connection, load: _Load) -> Restored:
    land = load.landing
    known = "key" if land.key else "content"
    async with connection.transaction():
        await connection.execute(statement("archive", "exactly"))
        await connection.execute(land.sql("hold"))
        for store, manifest in load.objects:
            await _copied(connection, store, manifest)
        await connection.execute(statement("restore", "known"))
        put = await fetch_one(connection, land.sql(f"put_by_{known}"))
        missing = await connection.fetchval(land.sql(f"missing_by_{known}"))
        if missing or put["changed"]:
            raise ArchiveError(await _why(connection, land, missing, put["changed"]))
    return Restored(
        table=str(load.objects[0][1].whole), into=str(land.table), objects=len(load.objects), rows=load.rows,
        inserted=put["inserted"], present=load.rows - put["inserted"],
    )  # fmt: skip


async def _copied(connection: Connection, store: Store, manifest: Manifest) -> None:
    """Into the session's own table; what is read is summed up again, since it is another reading."""
    tally = Tally()

    async def texts() -> AsyncIterator[bytes]:
        async for text in unpressed(store.read(manifest.object)):
            tally.add(text)
            yield text

    names = [column.name for column in manifest.columns]
    copied = connection.copy_to_table(
        "maintenance_restored", schema_name="pg_temp", source=texts(), columns=names, format="text"
    )
    await _named(manifest, copied)
    _compare(manifest, tally.sum)


async def _why(connection: Connection, land: Landing, missing: int, changed: int) -> str:
    triggers = await connection.fetchval(statement("restore", "triggers"), land.relation.oid)
    said = f" (it has {triggers})" if triggers else ""
    if changed:
        return (
            f"{changed:,} rows of {land.table} came back with other values than they had, by a trigger{said}, so "
            "nothing of it was brought back; disable that trigger meanwhile, or name another table with --into."
        )
    return (
        f"{missing:,} rows of {land.table} cannot come back, as other rows have their place in a unique index, or a "
        f"trigger keeps them out{said}, so nothing of it was brought back; name another table with --into."
    )


def _name(table: Table) -> TableName:
    return TableName(schema=table.schema, name=table.name)


async def _named(manifest: Manifest, reading: Awaitable[_Read]) -> _Read:
    """What is read, or an error that names the object."""
    try:
        return await reading
    except ArchiveError as error:
        raise ArchiveError(
            f"{manifest.object} cannot be read back: {error}; nothing of it was brought back, see to the store."
        ) from error


def _compare(manifest: Manifest, found: Sum) -> None:
    if found != Sum(rows=manifest.rows, sha256=manifest.sha256):
        raise ArchiveError(
            f"{manifest.object} has {found.rows:,} rows, or a checksum other than its manifest's ({manifest.rows:,} "
            "rows), so nothing of it was brought back; it was damaged or changed where it is stored."
        )
