"""Expired rows: which they are, what would stay without them, and how their deletion is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from asyncpg import Connection

from maintenance.catalog import blocks
from maintenance.models import Cursor, Query
from maintenance.names import Fragment, Table, listed, quoted
from maintenance.sql import statement
from maintenance.steps import Step
from maintenance.tasks import heap
from maintenance.tasks.moment import Moment

NAME = "retention"
ALL = Fragment("true")
NOTHING = Fragment("")
_END = 64
"""Blocks at the end of a heap that are looked at first for a row that stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Which rows of which heap are expired."""

    table: Table
    alias: Fragment
    moment: Moment
    bound: datetime | date
    where: Fragment
    only: Fragment
    indexed: Fragment = ALL
    """The condition again, where the index to be read has only rows of that condition."""

    def sql(self, name: str, **more: Fragment) -> str:
        """A statement of retention.sql for these rows; the bound is its $1."""
        slots = {
            "table": self.table.sql, "alias": self.alias, "column": self.moment.column.sql, "type": self.moment.type,
            "where": self.where, "only": self.only, "indexed": self.indexed, "sample": NOTHING, "what": NOTHING,
        }  # fmt: skip
        return statement(NAME, name, **{**slots, **more})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionStep(Step):
    """What all strategies share: the rows, and the guard against an empty table."""

    task: str = NAME
    expired: Expired
    whole: Expired
    """The rows of the whole table, where `expired` are those of one partition."""
    empties: str | None
    """What to say if nothing would stay; None where the policy allows it."""

    @property
    def root(self) -> Table:
        """The table of the rule."""
        return self.whole.table

    @property
    def deletes(self) -> bool:
        """Yes."""
        return True

    @property
    def ages(self) -> bool:
        """Yes."""
        return True

    def counting(self, sample: Fragment, *, whole: bool) -> Query | None:
        """By the rule's own words."""
        expired = self.whole if whole else self.expired
        return expired.sql("count", sample=sample), (expired.bound,)

    async def guard(self, connection: Connection) -> str | None:
        """Stop if no row of the whole table would stay; asked after the rules before this one have had their share."""
        if self.empties is None or await self._something_stays(connection):
            return None
        return self.empties

    async def lag(self, connection: Connection, *, done: bool) -> float | None:
        """How long the policy has wanted the oldest row gone; 0 after a pass that left none, None if it has no age."""
        if done:
            return 0.0
        overdue: float | None = await connection.fetchval(self.expired.sql("overdue"), self.expired.bound)
        if overdue is None:
            return 0.0
        return overdue if overdue >= 0 else None

    async def _something_stays(self, connection: Connection) -> bool:
        if self.whole.table == self.table:
            # A partitioned table has no blocks of its own.
            end = await blocks(connection, self.oid)
            begin = (max(end - _END, 0), 0)
            if end and await connection.fetchval(self.whole.sql("stays_at_end"), self.whole.bound, begin):
                return True
        return bool(await connection.fetchval(self.whole.sql("something_stays"), self.whole.bound))


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsStep(RetentionStep):
    """Rows of one heap, deleted stretch by stretch; a strategy says what a stretch is."""

    claims: bool
    """Lock the rows before they are judged, as their condition looks at other rows too."""
    lockable: bool
    """Whether this role may lock rows, and so pass over those that others hold."""

    async def take(
        self, connection: Connection, stretch: Fragment, bounds: tuple[object, object], patience: Fragment
    ) -> heap.Share:
        """Judge and delete the rows of a stretch, in one statement if it can be, so that a refreshed row stays."""
        values = (self.expired.bound, *bounds)
        if not self.claims and patience is heap.WAIT:
            return heap.Share(rows=await self.delete(connection, "delete_stretch", *values, stretch=stretch))
        claimed = await connection.fetch(self.expired.sql("claim_stretch", stretch=stretch, patience=patience), *values)
        gone = await self.delete_claimed(connection, heap.addresses(claimed))
        if patience is heap.WAIT:
            return heap.Share(rows=gone)
        held = await connection.fetchval(self.expired.sql("count_stretch", stretch=stretch), *values)
        return heap.Share(rows=gone, held=held)

    async def delete_claimed(self, connection: Connection, rows: list[heap.Tid]) -> int:
        """Judge these rows once more and delete them."""
        return await self.delete(connection, "delete_claimed", self.expired.bound, rows) if rows else 0

    async def delete(self, connection: Connection, name: str, *values: object, **more: Fragment) -> int:
        """Delete by a statement of retention.sql."""
        return await self.deleter.delete(connection, self.expired.sql(name, **more), self.expired.alias, *values)

    def doomed(self, columns: list[str]) -> Query | None:
        """By the rule's own words."""
        what = listed([Fragment(f"{self.expired.alias}.{quoted(column)}") for column in columns])
        return self.expired.sql("find", what=what), (self.expired.bound,)

    def past_locks(self, cursor: Cursor | None) -> Cursor | None:
        """Over rows that others hold, where this role may lock rows at all."""
        return heap.past_locks(cursor) if self.lockable else None
