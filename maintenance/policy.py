"""The policy: what must be true of one database, as frozen types: rules, upkeep, limits, and what is healthy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from maintenance.bands import Limits
from maintenance.names import TableName
from maintenance.rules import Duplicates, Orphans, Retention, Rule, Unreferenced
from maintenance.section import (
    Bytes,
    Count,
    Fraction,
    Interval,
    Patterns,
    PolicyTable,
    PolicyWindow,
    Seconds,
    Section,
    Size,
    Text,
    distinct,
)


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
    buffer_usage_limit: Text | None = None
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
        distinct(tuple(row.table for row in rows))
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
