"""Cascades: the rows of other tables that foreign keys delete or change along with those of a rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asyncpg import Connection

from maintenance.models import Query
from maintenance.names import Fragment, Table, listed, quoted
from maintenance.sql import statement
from maintenance.steps import Step

_FILE = "guards"
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
    operators: tuple[str, ...]
    """By which each of `keys` is compared with its column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """What one foreign key would take along."""

    key: ForeignKey
    rows: int | None
    """None where to count them took too long, or this role may not read that table."""

    def __str__(self) -> str:
        rows = "?" if self.rows is None else f"{self.rows:,}"
        return f"the foreign key {self.key.name} {_ACTIONS[self.key.action]} {rows} rows of {self.key.table} along"


async def foreign_keys(connection: Connection) -> tuple[ForeignKey, ...]:
    """All of the database; looks into the catalogs only."""
    return tuple(
        ForeignKey(
            oid=row["oid"], name=row["name"], action=row["action"], parent=row["parent"], child=row["child"],
            table=Table(schema=row["schema"], name=row["table"]), columns=tuple(row["columns"]),
            keys=tuple(row["keys"]), operators=tuple(row["operators"]),
        )
        for row in await connection.fetch(statement(_FILE, "foreign_keys"))
    )  # fmt: skip


def followed(keys: Sequence[ForeignKey], parents: set[int], step: Step) -> Iterator[tuple[ForeignKey, Query]]:
    """Each key that the step's deletes reach, with the query that counts what it takes along."""
    for key in keys:
        doomed = step.doomed(list(key.keys))
        own = step.doomed(["tableoid", "ctid"])
        if key.parent in parents and doomed is not None and own is not None:
            going = _Going(keys=keys, family=parents, own=Fragment(own[0]), values=own[1])
            yield from going.down(key, Fragment(doomed[0]), 0, frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Going:
    """The rows of a step, from which keys are followed down."""

    keys: Sequence[ForeignKey]
    family: set[int]
    own: Fragment
    """A query of the addresses of all of them."""
    values: tuple[object, ...]

    def down(
        self, key: ForeignKey, doomed: Fragment, depth: int, seen: frozenset[int]
    ) -> Iterator[tuple[ForeignKey, Query]]:
        if key.oid in seen or depth == _DEEPEST:
            return
        taken = Fragment(_taken(key, doomed))
        besides = statement(_FILE, "besides", doomed=self.own) if key.child in self.family else "true"
        slots = {"child": key.table.sql, "taken": taken}
        yield key, (statement(_FILE, "taken_along", besides=Fragment(besides), **slots), self.values)
        if key.action != "c":
            return
        for below in self.keys:
            if below.parent == key.child:
                what = listed([Fragment(f"taken.{quoted(column)}") for column in below.keys])
                further = Fragment(statement(_FILE, "doomed_there", what=what, **slots))
                yield from self.down(below, further, depth + 1, seen | {key.oid})


def _taken(key: ForeignKey, doomed: Fragment) -> str:
    """The condition on `taken`, a row of the key's table, that its parent is doomed."""
    names = [Fragment(f"key_{place}") for place in range(len(key.keys))]
    same = [
        Fragment(f"maintenance_doomed.{name} {operator} taken.{quoted(column)}")
        for name, operator, column in zip(names, key.operators, key.columns, strict=True)
    ]
    return statement(_FILE, "taken", doomed=doomed, keys=listed(names), same=listed(same, " and "))
