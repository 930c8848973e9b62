"""The rules of a policy: what goes from which tables, as frozen types. Conditions and intervals the server judges."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from maintenance.models import Reach
from maintenance.names import TableName
from maintenance.section import (
    ArchivePlace,
    Column,
    Columns,
    Condition,
    Count,
    Fraction,
    Interval,
    PolicyTable,
    Positive,
    Section,
    Tables,
    distinct,
)


class Archived(Section):
    """A rule whose rows go to an archive first, where it names one; there, `archive_keep` is how long they live."""

    archive: ArchivePlace | None = None
    archive_keep: Interval | None = None

    @model_validator(mode="after")
    def _keep_needs_archive(self) -> Archived:
        if self.archive_keep is not None and self.archive is None:
            raise ValueError("has 'archive_keep' and no 'archive', so there is nothing to keep; name an archive")
        return self


class Rule(Archived):
    """What every rule that deletes has: an archive, limits of what it may take in one run, and how late it may be."""

    max_rows: Count | None = None
    max_fraction: Fraction | None = None
    ramp: Positive | None = None
    lag_objective: Interval | None = None

    @property
    def reach(self) -> Reach:
        """The limits of a run."""
        return Reach(max_rows=self.max_rows, max_fraction=self.max_fraction, ramp=self.ramp)


class PerKey(Section):
    """So many of the newest rows of each key stay, however old they are."""

    columns: Columns
    rows: Positive

    @field_validator("columns")
    @classmethod
    def _each_once(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        return distinct(columns)


class Retention(Rule):
    """Rows of `table` live for `keep` after `column`; `where` narrows the rule to some of the rows."""

    table: PolicyTable
    column: Column
    keep: Interval
    where: Condition | None = None
    partitions: Literal["drop", "rows"] = "drop"
    boundary: Literal["rows", "leave"] = "rows"
    allow_empty: bool = False
    keep_newest: Positive | None = None
    keep_per_key: PerKey | None = None

    def identities(self) -> Iterator[Hashable]:
        """What must not occur twice in a policy."""
        yield self.table, self.column, self.where


class Duplicates(Rule):
    """Of the rows of a table with one `key`, only the greatest by `newest` stays."""

    tables: Tables
    key: Columns
    newest: Columns
    max_fraction: Fraction | None = 0.5

    @field_validator("key", "newest")
    @classmethod
    def _each_once(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        return distinct(columns)

    @field_validator("tables")
    @classmethod
    def _tables_once(cls, tables: tuple[TableName, ...]) -> tuple[TableName, ...]:
        return distinct(tables)

    def identities(self) -> Iterator[Hashable]:
        """What must not occur twice in a policy."""
        for table in self.tables:
            yield table, frozenset(self.key)


class Orphans(Rule):
    """A row whose `column` is in no `parent.parent_column` goes, once `age_column` is older than `grace`."""

    tables: Tables
    column: Column
    parent: PolicyTable
    parent_column: Column
    grace: Interval | None = None
    age_column: Column | None = None
    allow_empty_parent: bool = False
    max_fraction: Fraction | None = 0.5

    @field_validator("tables")
    @classmethod
    def _tables_once(cls, tables: tuple[TableName, ...]) -> tuple[TableName, ...]:
        return distinct(tables)

    @model_validator(mode="after")
    def _grace_needs_age(self) -> Orphans:
        if (self.grace is None) != (self.age_column is None):
            raise ValueError("needs both 'grace' and 'age_column', or neither: a grace period is measured on a column")
        return self

    def identities(self) -> Iterator[Hashable]:
        """What must not occur twice in a policy."""
        for table in self.tables:
            yield table, self.column, self.parent, self.parent_column


class Reference(Section):
    """A column, scalar or array, whose values refer to a catalog."""

    table: PolicyTable
    column: Column

    def __str__(self) -> str:
        return f"{self.table}.{self.column}"


class Unreferenced(Rule):
    """A row of the catalog `table` whose `column` occurs in none of the `references` goes."""

    table: PolicyTable
    column: Column
    references: Annotated[tuple[Reference, ...], Field(min_length=1, strict=False)]
    count_column: Column | None = None
    allow_empty_parent: bool = False
    max_fraction: Fraction | None = 0.5

    @field_validator("references")
    @classmethod
    def _references_once(cls, references: tuple[Reference, ...]) -> tuple[Reference, ...]:
        return distinct(references)

    def identities(self) -> Iterator[Hashable]:
        """What must not occur twice in a policy."""
        yield self.table, self.column
