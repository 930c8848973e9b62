"""Landings: the table that archived rows go back to, and whether they fit it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from asyncpg import Connection

from maintenance.archive.manifest import Manifest
from maintenance.catalog import Relation, find
from maintenance.errors import ArchiveError
from maintenance.names import Fragment, Table, TableName, listed, quoted
from maintenance.sql import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """A table, and the archived columns that it has."""

    relation: Relation
    columns: tuple[str, ...]
    key: tuple[str, ...]
    """By what a row is known; none where only all of it tells."""
    deferrable: bool
    """Whether one of its unique or exclusion constraints is, so that the server refuses "on conflict"."""

    @property
    def table(self) -> Table:
        """Its name."""
        return self.relation.table

    def sql(self, name: str) -> str:
        """A statement of restore.sql for it."""

        def content(row: str) -> Fragment:
            values = listed([Fragment(f"{row}{quoted(column)}") for column in self.columns])
            return Fragment(statement("restore", "content", values=values))

        columns = [self.relation.columns[name] for name in self.key]
        same = listed([Fragment(f"present.{c.sql} {c.equals()} held.{c.sql}") for c in columns], " and ")
        fresh, conflict = "true", statement("restore", "conflict")
        if self.deferrable:
            fresh, conflict = statement("restore", "fresh", table=self.table.sql, same=same), ""
        return statement(
            "restore", name, table=self.table.sql, columns=listed([quoted(column) for column in self.columns]),
            content=content(""), held=content("held."), present=content("present."), numbered=content("numbered."),
            same=same, fresh=Fragment(fresh), conflict=Fragment(conflict),
        )  # fmt: skip


async def landing(connection: Connection, table: TableName, manifests: Sequence[Manifest]) -> Landing:
    """The table for the rows of these manifests, once it is clear that they fit it.

    Raises:
        ArchiveError: it is gone, or lacks a column, or has one of another type.
    """
    remedy = "nothing of it was brought back; make a table that has its columns, and name it with --into"
    relation = await find(connection, table)
    if relation is None:
        raise ArchiveError(f"There is no table {table} any more, so {remedy}.")
    first, *others = manifests
    if any(other.columns != first.columns or other.key != first.key for other in others):
        raise ArchiveError(f"{table} changed its columns while the run deleted from it, so {remedy}.")
    there = {row["name"]: row for row in await connection.fetch(statement("restore", "columns"), relation.oid)}
    for column in first.columns:
        found = there.get(column.name)
        if found is None or found["generated"]:
            now = "has no column of that name" if found is None else "computes that column itself"
            raise ArchiveError(
                f"The archive of {table} has a column {column.name!r}, and the table {now}, so {remedy}."
            )
        if found["type"] != column.type:
            raise ArchiveError(
                f"{table}.{column.name} was of type {column.type} and is of type {found['type']}, so {remedy}."
            )
    key: list[str] | None = await connection.fetchval(statement("restore", "key"), relation.oid)
    names = tuple(column.name for column in first.columns)
    known = key is not None and set(key) <= set(names)
    return Landing(
        relation=relation, columns=names, key=tuple(key or ()) if known else (),
        deferrable=await connection.fetchval(statement("restore", "deferrable"), relation.oid),
    )  # fmt: skip


async def ordered(connection: Connection, landings: Sequence[Landing]) -> list[int]:
    """Places in `landings` so that a parent comes before its children, and else as they come."""
    oids = [landing.relation.oid for landing in landings]
    rows = await connection.fetch(statement("restore", "parents"), oids)
    parents = {oid: {row["parent"] for row in rows if row["child"] == oid} for oid in oids}
    try:
        return [oids.index(oid) for oid in TopologicalSorter(parents).static_order()]
    except CycleError:
        return list(range(len(oids)))
