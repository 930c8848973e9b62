"""Index: one index as the catalogs have it, and whether another one makes it needless."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from asyncpg import Record

from maintenance.names import Fragment, Table, quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """One that is not a partition of another."""

    oid: int
    table_oid: int
    table: Table
    name: str
    method: str
    unique: bool
    valid: bool
    needed: bool
    """By a constraint, or by replication."""
    clustered: bool
    key: tuple[tuple[int, int, int, int], ...]
    """Column number, operator class, collation and direction of each column that is compared."""
    columns: tuple[str, ...]
    included: frozenset[int]
    predicate: str | None
    expressions: str | None
    bytes: int
    scans: int
    partitioned: bool
    partitions: int
    """Of its table, one level down, and how many of them have an index that is attached to this one."""
    attached: int
    parameters: frozenset[str]
    serves_key: bool
    """Its first column is one of a foreign key's."""

    @classmethod
    def of(cls, row: Record) -> Index:
        """The index of a row of `all`."""
        numbers, keys = list(row["key"]), row["keys"]
        parts = zip(numbers[:keys], row["classes"], row["collations"], row["options"], strict=False)
        return cls(
            oid=row["oid"], table_oid=row["table"], table=Table(schema=row["schema"], name=row["table_name"]),
            name=row["name"], method=row["method"], unique=row["is_unique"], valid=row["valid"] and row["ready"],
            needed=row["needed"], clustered=row["clustered"], key=tuple(parts), columns=tuple(row["columns"]),
            included=frozenset(numbers[keys:]), predicate=row["predicate"], expressions=row["expressions"],
            bytes=row["bytes"], scans=row["scans"] or 0, partitioned=row["partitioned"],
            partitions=row["partitions"], attached=row["attached"], parameters=frozenset(row["parameters"]),
            serves_key=row["serves_key"],
        )  # fmt: skip

    @property
    def sql(self) -> Fragment:
        """Schema and name, quoted: an index lies in the schema of its table."""
        return Fragment(f"{quoted(self.table.schema)}.{quoted(self.name)}")

    @property
    def drop(self) -> str:
        """The statement that drops it; one with partitions locks them all, any other keeps nobody waiting."""
        return f"drop index {'' if self.partitioned else 'concurrently '}{self.sql};"

    def leads_with(self, columns: Container[str]) -> bool:
        """Whether the first thing that it compares is one of these columns."""
        return bool(self.key[0][0]) and self.columns[0] in columns

    def covered_by(self, other: Index) -> bool:
        """Whether whatever this one does, the other one does too."""
        if self.oid == other.oid or self.table_oid != other.table_oid or not (self.valid and other.valid):
            return False
        if self.method != other.method or self.predicate != other.predicate or self.unique or self.needed:
            return False
        if self.clustered or (self.method != "btree" and self.parameters != other.parameters):
            return False
        if self.key == other.key and self.expressions == other.expressions and self.included <= other.included:
            # Of two that are the same, the later one goes, and never one that somebody needs.
            return other.unique or other.needed or other.included > self.included or self.oid > other.oid
        beginning = other.key[: len(self.key)] == self.key and len(other.key) > len(self.key)
        plain = self.expressions is None and all(number for number, *_ in self.key)
        return self.method == "btree" and beginning and plain and not self.included - other.included
