"""Cascades: the rows of other tables that foreign keys delete or change along with those of a rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asyncpg import Connection

from maintenance.models import Query, Step
from maintenance.names import Fragment, Table, listed, quoted
from maintenance.sql import statement

_ACTIONS = {"c": "deletes", "n": "sets to NULL", "d": "sets to the default"}
_DEEPEST = 4
"""Foreign keys in a row that are followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """One that does something to its own rows when the row that they refer to goes."""

    oid: int
    name: str
    action: str
    parent: int
    child: int
    table: Table
    columns: tuple[str, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """What one foreign key would take along."""

    key: ForeignKey
    rows: int | None
    """None where to count them took too long."""

    def __str__(self) -> str:
        rows = "?" if self.rows is None else f"{self.rows:,}"
        return f"the foreign key {self.key.name} {_ACTIONS[self.key.action]} {rows} rows of {self.key.table} along"


async def foreign_keys(connection: Connection) -> tuple[ForeignKey, ...]:
    """All of the database; looks into the catalogs only."""
    return tuple(
        ForeignKey(
            oid=row["oid"], name=row["name"], action=row["action"], parent=row["parent"], child=row["child"],
            table=Table(schema=row["schema"], name=row["table"]), columns=tuple(row["columns"]),
            keys=tuple(row["keys"]),
        )
        for row in await connection.fetch(statement("guards", "foreign_keys"))
    )  # fmt: skip


def followed(keys: Sequence[ForeignKey], parents: set[int], step: Step) -> Iterator[tuple[ForeignKey, Query]]:
    """Each key that the step's deletes reach, with the query that counts what it takes along."""
    for key in keys:
        doomed = step.doomed(list(key.keys))
        if key.parent in parents and doomed is not None:
            yield from _down(keys, key, doomed, 0, frozenset())


def _down(
    keys: Sequence[ForeignKey], key: ForeignKey, doomed: Query, depth: int, seen: frozenset[int]
) -> Iterator[tuple[ForeignKey, Query]]:
    if key.oid in seen or depth == _DEEPEST:
        return
    sql, values = doomed
    slots = {
        "child": key.table.sql,
        "columns": listed([Fragment(f"taken.{quoted(column)}") for column in key.columns]),
        "doomed": Fragment(sql),
    }
    yield key, (statement("guards", "taken_along", **slots), values)
    if key.action != "c":
        return
    for below in keys:
        if below.parent == key.child:
            what = listed([Fragment(f"taken.{quoted(column)}") for column in below.keys])
            further = statement("guards", "doomed_there", what=what, **slots)
            yield from _down(keys, below, (further, values), depth + 1, seen | {key.oid})
