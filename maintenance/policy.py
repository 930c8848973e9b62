"""The policy: what must be true of the database, as frozen types; their conditions and intervals the server judges."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from maintenance.bands import Limits, bytes_in, seconds_in
from maintenance.errors import PolicyError
from maintenance.models import Reach
from maintenance.names import TableName, checked_name
from maintenance.places import place_of
from maintenance.window import Window, parse

_Item = TypeVar("_Item", bound=Hashable)


def _table(value: object) -> object:
    try:
        return TableName.parse(value) if isinstance(value, str) else value
    except PolicyError as error:
        raise ValueError(str(error)) from error


def _name(value: object) -> object:
    try:
        return checked_name(value) if isinstance(value, str) else value
    except PolicyError as error:
        raise ValueError(str(error)) from error


def _text(value: object) -> object:
    if isinstance(value, str) and ("\0" in value or not value.strip()):
        raise ValueError("is empty or has a NUL character in it")
    return value


def _archive(value: object) -> object:
    return place_of(value) if isinstance(value, str) else value


def _window(value: object) -> object:
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return parse(value)
    if isinstance(value, Window):
        return value
    raise ValueError("must be a string like 'Sun 02:00-05:00 Europe/Vienna', or a list of such")


def _distinct(values: tuple[_Item, ...]) -> tuple[_Item, ...]:
    twice = [value for index, value in enumerate(values) if value in values[:index]]
    if twice:
        raise ValueError(f"names {twice[0]} twice; name it once")
    return values


PolicyTable = Annotated[TableName, BeforeValidator(_table)]
Column = Annotated[str, BeforeValidator(_name)]
Interval = Annotated[str, BeforeValidator(_text)]
ArchivePlace = Annotated[str, BeforeValidator(_archive)]
Condition = Annotated[str, BeforeValidator(_text)]
Size = Annotated[str, BeforeValidator(_text)]
Patterns = Annotated[tuple[Annotated[str, BeforeValidator(_text)], ...], Field(min_length=1, strict=False)]
PolicyWindow = Annotated[Window, BeforeValidator(_window)]
Tables = Annotated[tuple[PolicyTable, ...], Field(min_length=1, strict=False)]
Columns = Annotated[tuple[Column, ...], Field(min_length=1, strict=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, BeforeValidator(bytes_in)]
Seconds = Annotated[float, BeforeValidator(seconds_in)]


class Section(BaseModel):
    """A table of the file: unknown keys and wrong types are refused, nothing is coerced."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)


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
        return _distinct(columns)


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
        return _distinct(columns)

    @field_validator("tables")
    @classmethod
    def _tables_once(cls, tables: tuple[TableName, ...]) -> tuple[TableName, ...]:
        return _distinct(tables)

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
        return _distinct(tables)

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
        return _distinct(references)

    def identities(self) -> Iterator[Hashable]:
        """What must not occur twice in a policy."""
        yield self.table, self.column


class Vacuum(Section):
    """When a table needs VACUUM or ANALYZE. Row thresholds work like autovacuum's: a number plus a share."""

    tables: Patterns = ("*",)
    dead_rows: Count = 1000
    dead_fraction: Fraction = 0.05
    insert_rows: Count = 10_000
    insert_fraction: Fraction = 0.2
    xid_age: Count = 150_000_000
    analyze_rows: Count = 500
    analyze_fraction: Fraction = 0.05
    truncate: bool = True
    jobs: Annotated[int, Field(ge=1)] = 1
    parallel: Annotated[int, Field(ge=0, le=1024)] | None = None
    buffer_usage_limit: Annotated[str, BeforeValidator(_text)] | None = None
    window: PolicyWindow | None = None


class Shrink(Section):
    """Tables that are rewritten without the empty space in them, while nobody else can use them."""

    tables: Patterns
    live_fraction: Fraction = 0.5
    min_size: Size = "100MB"
    max_rewrite: Size = "1GB"
    max_lock: Interval = "1 minute"
    window: PolicyWindow | None = None


class Lag(Section):
    """When a run holds back: a replica is behind, too much WAL is written, or sessions wait for it."""

    replay: Interval | None = None
    wal: Size | None = None
    waiting: Count = 1


class Guards(Section):
    """What stops every rule."""

    clock: Interval = "5 minutes"
    lag_objective: Interval | None = None


class Bounds(Section):
    """Where the bands of a figure begin."""

    @property
    def limits(self) -> Limits:
        """The same, whatever the figure is counted in."""
        return Limits(**self.model_dump(include={"good", "warning", "crisis"}))

    @model_validator(mode="after")
    def _ascend(self) -> Bounds:
        if not self.limits.ascending:
            raise ValueError("'good', 'warning' and 'crisis' must be above zero and not less than the one before")
        return self


class SizeBounds(Bounds):
    """Of a size."""

    good: Bytes
    warning: Bytes
    crisis: Bytes | None = None


class TimeBounds(Bounds):
    """Of a time."""

    good: Seconds
    warning: Seconds
    crisis: Seconds | None = None


class RowBounds(Bounds):
    """Of the rows of a table."""

    table: PolicyTable
    good: Count
    warning: Count
    crisis: Count | None = None


class Health(Section):
    """What is good, to be watched, a warning or a crisis; nothing is done about it but to say so."""

    database: SizeBounds | None = None
    duration: TimeBounds | None = None
    rows: Annotated[tuple[RowBounds, ...], Field(strict=False)] = ()

    @field_validator("rows")
    @classmethod
    def _tables_once(cls, rows: tuple[RowBounds, ...]) -> tuple[RowBounds, ...]:
        _distinct(tuple(row.table for row in rows))
        return rows


class Policy(Section):
    """One file for one database."""

    retention: Annotated[tuple[Retention, ...], Field(strict=False)] = ()
    duplicates: Annotated[tuple[Duplicates, ...], Field(strict=False)] = ()
    orphans: Annotated[tuple[Orphans, ...], Field(strict=False)] = ()
    unreferenced: Annotated[tuple[Unreferenced, ...], Field(strict=False)] = ()
    vacuum: Vacuum = Vacuum()
    shrink: Annotated[tuple[Shrink, ...], Field(strict=False)] = ()
    lag: Lag = Lag()
    guards: Guards = Guards()
    health: Health = Health()

    def archives(self) -> frozenset[str]:
        """The archives that its rules name."""
        rules: tuple[Rule, ...] = (*self.retention, *self.duplicates, *self.orphans, *self.unreferenced)
        return frozenset(rule.archive for rule in rules if rule.archive is not None)

    def tables(self) -> Iterator[TableName]:
        """Every table that a rule may delete from."""
        yield from (rule.table for rule in self.retention)
        yield from (table for group in self.duplicates for table in group.tables)
        yield from (table for group in self.orphans for table in group.tables)
        yield from (rule.table for rule in self.unreferenced)
