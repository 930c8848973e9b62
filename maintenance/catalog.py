"""What the system catalogs know of a table: its kind, its columns and their types, its leaf partitions, its indexes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from asyncpg import Connection

from maintenance.database import fetch_one, milliseconds
from maintenance.errors import PolicyError
from maintenance.names import Fragment, Table, TableName, quoted
from maintenance.session import expect
from maintenance.sql import statement

_NOT_TABLES = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table; a domain is reported as its base type."""

    name: str
    type: str
    element: str | None
    """Type of the elements where the column is an array."""
    operators: str
    """Schema of the type's comparison operators. They are named with it: the search path might hold others, or not
    these, and a type such as citext would then be compared as text."""

    @property
    def sql(self) -> Fragment:
        """The name, quoted."""
        return quoted(self.name)

    def equals(self, *others: Column) -> Fragment:
        """The operator that compares with the values of other columns, or with their elements where they are arrays.

        A type outside pg_catalog has its own operator for itself only; with another type, both are compared as text.
        """
        return Fragment(f"operator({quoted(self.operators_with(*others))}.=)")

    def operators_with(self, *others: Column) -> str:
        """The schema of that operator."""
        same = self.element is None and all((other.element or other.type) == self.type for other in others)
        return self.operators if same else "pg_catalog"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A table with a heap of its own: a plain table, or a partition that is not partitioned again."""

    oid: int
    table: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table of the policy, found in the database."""

    oid: int
    table: Table
    leaves: tuple[Leaf, ...]
    partitioned: bool
    partition_columns: frozenset[str] | None
    """Columns that decide a row's leaf, over all levels; None where an expression decides."""
    columns: dict[str, Column] = field(hash=False)

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            PolicyError: the table has no such column.
        """
        if name not in self.columns:
            near = difflib.get_close_matches(name, self.columns, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(self.columns)}."
            raise PolicyError(f"Table {self.table} has no column {name!r}, so the rule cannot be judged; {hint}")
        return self.columns[name]


async def find(connection: Connection, name: TableName) -> Relation | None:
    """The table of that name, or None where this database has none.

    Raises:
        PolicyError: the name is that of a view, a materialized view or a foreign table.
    """
    row = await connection.fetchrow(statement("catalog", "table"), name.name, name.schema)
    if row is None:
        alike = await connection.fetchval(statement("catalog", "alike"), name.name, name.schema)
        if alike is not None:
            raise PolicyError(f"There is no table {str(name)!r}; case counts: did you mean {alike!r}?")
        return None
    table = Table(schema=row["schema"], name=row["name"])
    if row["kind"] in _NOT_TABLES:
        raise PolicyError(
            f"{table} is {_NOT_TABLES[row['kind']]}, whose rows are not ours to delete; name the table behind it."
        )
    columns = await connection.fetch(statement("catalog", "columns"), row["oid"])
    leaves: tuple[Leaf, ...] = (Leaf(oid=row["oid"], table=table),)
    partition_columns: frozenset[str] | None = frozenset()
    if row["kind"] == "p":
        leaves = await _leaves(connection, row["oid"], table)
        keys = await fetch_one(connection, statement("catalog", "partition_columns"), row["oid"])
        partition_columns = None if keys["expressions"] else frozenset(keys["columns"])
    return Relation(
        oid=row["oid"],
        table=table,
        leaves=leaves,
        partitioned=row["kind"] == "p",
        partition_columns=partition_columns,
        columns={
            c["name"]: Column(
                name=c["name"],
                type=c["type"],
                element=c["element"],
                operators=c["operators"] or await _operators(connection, c["compared"]),
            )
            for c in columns
        },
    )


async def _operators(connection: Connection, type_: int) -> str:
    return await connection.fetchval(statement("catalog", "operators"), type_) or "pg_catalog"


async def _leaves(connection: Connection, oid: int, table: Table) -> tuple[Leaf, ...]:
    rows = await connection.fetch(statement("catalog", "leaves"), oid)
    for row in rows:
        if row["kind"] != "r":
            raise PolicyError(
                f"{table} has a foreign table as a partition ({row['schema']}.{row['name']}), which cannot be "
                "maintained; name the partitions that can as tables of their own."
            )
    return tuple(Leaf(oid=row["oid"], table=Table(schema=row["schema"], name=row["name"])) for row in rows)


async def ancestors(connection: Connection, oid: int) -> list[str]:
    """Names of the tables that this one is a partition of, directly or not."""
    return [row["name"] for row in await connection.fetch(statement("catalog", "ancestors"), oid)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A valid B-tree index whose first column is the one that was asked for."""

    name: str
    partial: bool
    """It has only the rows of its condition."""


async def leading_indexes(connection: Connection, leaf: Leaf, column: Column) -> tuple[Index, ...]:
    """The indexes of the leaf that can be read in the order of the column, whole ones first."""
    rows = await connection.fetch(statement("catalog", "leading_indexes"), leaf.oid, column.name)
    return tuple(Index(name=row["name"], partial=row["partial"]) for row in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a leaf lies on its disk, as far as its statistics know."""

    blocks: int
    correlation: float | None
    """How far the order of the column is that of the heap, from -1 to 1; None where nobody has looked."""
    lockable: bool
    """As `lockable` says."""


async def shape(connection: Connection, leaf: Leaf, column: Column) -> Shape:
    """Looks into the catalogs only."""
    row = await fetch_one(connection, statement("catalog", "shape"), leaf.oid, column.name)
    return Shape(blocks=row["blocks"] or 0, correlation=row["correlation"], lockable=row["lockable"])


async def unique_index(connection: Connection, leaf: Leaf, columns: Iterable[str]) -> str | None:
    """The name of an index by which no two rows of the leaf can be equal in all these columns, or None."""
    name: str | None = await connection.fetchval(statement("catalog", "unique_index"), leaf.oid, list(columns))
    return name


async def foreign_key(
    connection: Connection, leaf: Leaf, column: str, parent: Relation, parent_column: str
) -> str | None:
    """The name of a constraint by which no row of the leaf can lack its parent, or None."""
    values = (leaf.oid, column, parent.oid, parent_column)
    name: str | None = await connection.fetchval(statement("catalog", "foreign_key"), *values)
    return name


async def lockable(connection: Connection, leaf: Leaf) -> bool:
    """Whether this role may lock rows without changing them, for which PostgreSQL asks for UPDATE on some column."""
    return bool(await connection.fetchval(statement("catalog", "lockable"), leaf.oid))


async def blocks(connection: Connection, oid: int) -> int:
    """Size of the heap, in blocks."""
    return int(await connection.fetchval(statement("catalog", "blocks"), oid) or 0)


def bytes_of(oid: Fragment) -> Fragment:
    """The size of a table with indexes, TOAST and partitions, as an expression; NULL where the table is gone."""
    return Fragment(statement("catalog", "bytes", oid=oid))


async def total_bytes(connection: Connection, oid: int, then: float) -> int | None:
    """Size with indexes and TOAST, in bytes; None where the table is gone. `then` seconds limit later statements."""
    sql = statement("catalog", "total_bytes", bytes=bytes_of(Fragment("$1::oid")))
    expect(connection, then)
    size: int | None = await connection.fetchval(sql, oid, milliseconds(then))
    return size


async def database_bytes(connection: Connection) -> int:
    """Size of this database, in bytes."""
    return int(await connection.fetchval(statement("catalog", "database_bytes")))
