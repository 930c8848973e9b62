"""Guards: how much a step may take, measured before its first row goes, and watched while they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from asyncpg import Connection
from asyncpg import exceptions as pg

from maintenance.cascades import Cascade, ForeignKey, followed, foreign_keys
from maintenance.database import limit_statements
from maintenance.models import Query
from maintenance.names import Fragment, Table
from maintenance.obstacles import Obstacle, obstacles
from maintenance.sql import statement
from maintenance.steps import Step
from maintenance.tasks.survey import nodes
from maintenance.verdicts import way_on

_FILE = "guards"
_MARGIN = 1.1
_SLACK = 1000
"""A step may take so many times as much as was measured, and so many rows more: the application goes on working."""
_SAMPLE = 50_000
"""Rows that are looked at where to count all of them takes too long."""
_ALL = Fragment("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What a rule would take of its whole table."""

    going: int
    exact: bool = True
    whole: int | None = None
    """Rows of the table when they were counted; None where nobody has looked."""
    cascades: tuple[Cascade, ...] = ()

    @property
    def total(self) -> int:
        """With what foreign keys take along."""
        return self.going + sum(cascade.rows or 0 for cascade in self.cascades)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Whether a step may begin, and how far it may go."""

    stopped: str | None = None
    """Why not; an approval lets it begin all the same."""
    blocked: str | None = None
    """Why nobody can let it begin."""
    most: int | None = None
    """Rows that it may delete; None where nobody counts."""
    ramp: bool = False
    """Whether `most` is a share for today, and not a sign that something is wrong."""
    measure: Measure | None = None
    obstacle: Obstacle | None = None


def margin(rows: int) -> int:
    """What may go where so many rows were measured."""
    return int(rows * _MARGIN) + _SLACK


@dataclass(slots=True)
class _Seen:
    """What was looked at once."""

    obstacles: Mapping[int, Obstacle] | None = None
    keys: tuple[ForeignKey, ...] | None = None
    counted: dict[str, Measure | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """The guards of one plan or run; they look at the database's foreign keys and triggers once."""

    connection: Connection
    patience: float
    """Seconds that a count may take."""
    approved: Mapping[str, int] = field(default_factory=dict)
    """Rows that somebody has approved, by the rule."""
    astray: str | None = None
    """Why the clocks let nothing be called old."""
    seen: _Seen = field(default_factory=_Seen)

    async def admission(self, step: Step, *, begun: bool = False) -> Admission:
        """Whether the step may begin; one that an earlier slice has `begun` may go on."""
        if not step.deletes:
            return Admission()
        if self.astray is not None:
            return Admission(stopped=self.astray)
        obstacle = (await self._obstacles()).get(step.oid)
        blocked = None if obstacle is None else obstacle.stop(step)
        ramp = step.reach.ramp
        if blocked is not None or begun or step.tells or not step.reach.limited:
            return Admission(blocked=blocked, obstacle=obstacle, most=ramp, ramp=ramp is not None)
        measure = await self.measured(step)
        if measure is None:
            return Admission(obstacle=obstacle, most=ramp, ramp=ramp is not None)
        return await self.judged(step, measure, obstacle)

    async def judged(self, step: Step, measure: Measure, obstacle: Obstacle | None = None) -> Admission:
        """Whether a step may go on that would take so much."""
        excess = await self._excess(step, measure)
        ramp = step.reach.ramp
        allowed = self.approved.get(subject(step))
        stopped = None
        if excess is not None and ramp is None and (allowed is None or measure.going > margin(allowed)):
            stopped = f"{excess}, so nothing was deleted; {way_on(step.task)}"
        most = ramp
        if ramp is None and measure.exact:
            most = margin(measure.going)
        return Admission(stopped=stopped, most=most, ramp=ramp is not None, measure=measure, obstacle=obstacle)

    async def measured(self, step: Step) -> Measure | None:
        """What the rule of a step would take; None where nobody can tell in time."""
        measure = await self._counted(step)
        if measure is None or not measure.going:
            return measure
        return replace(measure, cascades=await self.cascades(step))

    async def cascades(self, step: Step) -> tuple[Cascade, ...]:
        """What foreign keys would take along."""
        keys = await self._foreign_keys()
        if not keys:
            return ()
        rows = await self.connection.fetch(statement(_FILE, "family"), step.oid)
        parents = {row["oid"] for row in rows}
        found: dict[int, Cascade] = {}
        for key, query in followed(keys, parents, step):
            seen = await self._seen(query)
            before = found.get(key.oid)
            both = seen if before is None or seen is None or before.rows is None else seen + before.rows
            found[key.oid] = Cascade(key=key, rows=both)
        return tuple(found.values())

    async def _counted(self, step: Step) -> Measure | None:
        """Rows of the whole rule; where that takes too long, from a sample. Its partitions share one count.

        And the size of the table by then: what has gone from the first ones must not make a share of the rest larger.
        """
        if step.root == step.table:
            return await self._count_or_sample(step)
        place = subject(step)
        if place not in self.seen.counted:
            measure = await self._count_or_sample(step)
            if measure is not None and measure.going and _shares(step):
                measure = replace(measure, whole=await self._how_many(step.root))
            self.seen.counted[place] = measure
        return self.seen.counted[place]

    async def _count_or_sample(self, step: Step) -> Measure | None:
        query = step.counting(_ALL, whole=True)
        if query is None:
            return None
        rows = await self._count(query)
        if rows is not None:
            return Measure(going=rows)
        whole = await self._estimate(step)
        percent = min(100.0, 100.0 * _SAMPLE / max(whole, 1))
        sample = statement(_FILE, "sample", percent=Fragment(f"{percent:.6f}"))
        sampled = step.counting(Fragment(sample), whole=True)
        if percent == 100 or sampled is None or sampled == query:
            return None
        rows = await self._count(sampled)
        return None if rows is None else Measure(going=round(rows * 100 / percent), exact=False)

    async def _excess(self, step: Step, measure: Measure) -> str | None:
        """By how much the rule is over its limits, in words; None where it is within."""
        reach = step.reach
        rows = f"{'' if measure.exact else 'about '}{measure.going:,}"
        along = "".join(f"; {cascade}" for cascade in measure.cascades)
        if reach.max_rows is not None and measure.total > reach.max_rows:
            return f"{rows} rows of {step.root} would go{along}, and max_rows = {reach.max_rows} allows no more"
        if reach.max_fraction is None or not _shares(step) or not measure.going:
            return None
        limit = f"max_fraction = {reach.max_fraction:g} allows no more"
        whole = await self._how_many(step.root) if measure.whole is None else measure.whole
        if measure.going > reach.max_fraction * whole:
            share = min(1.0, measure.going / max(whole, 1))
            return f"{rows} of the {whole:,} rows of {step.root} would go ({share:.0%}){along}, and {limit}"
        for cascade in measure.cascades:
            whole = await self._how_many(cascade.key.table) if cascade.rows else 0
            if cascade.rows and cascade.rows > reach.max_fraction * whole:
                return f"{cascade}, which has {whole:,}, and {limit}"
        return None

    async def _how_many(self, table: Table) -> int:
        """Rows of a table, with its partitions; as the planner thinks where to count them takes too long."""
        row = await self.connection.fetchrow(statement(_FILE, "relation"), table.schema, table.name)
        only = Fragment("" if row and row["partitioned"] else "only")
        rows = await self._count((statement(_FILE, "how_many", only=only, table=table.sql), ()))
        if rows is not None:
            return rows
        root, *_ = await nodes(self.connection, statement(_FILE, "all_rows", only=only, table=table.sql))
        return int(str(root["Plan Rows"]))

    async def _estimate(self, step: Step) -> int:
        root, *_ = await nodes(self.connection, statement(_FILE, "all_rows", only=_ALL, table=step.root.sql))
        return int(str(root["Plan Rows"]))

    async def _count(self, query: Query) -> int | None:
        sql, values = query
        try:
            async with self.connection.transaction():
                await limit_statements(self.connection, self.patience, local=True)
                return int(await self.connection.fetchval(sql, *values) or 0)
        except pg.QueryCanceledError:
            return None

    async def _seen(self, query: Query) -> int | None:
        """As counted, or None where this role may not read: to delete along, the server asks nobody for that right."""
        try:
            return await self._count(query)
        except pg.InsufficientPrivilegeError:
            return None

    async def _obstacles(self) -> Mapping[int, Obstacle]:
        if self.seen.obstacles is None:
            self.seen.obstacles = await obstacles(self.connection)
        return self.seen.obstacles

    async def _foreign_keys(self) -> tuple[ForeignKey, ...]:
        if self.seen.keys is None:
            self.seen.keys = await foreign_keys(self.connection)
        return self.seen.keys


def subject(step: Step) -> str:
    """What an approval is about: the rule on its table, whatever partitions that has."""
    return f"{step.task} {step.root} {step.rule}"


def _shares(step: Step) -> bool:
    """Whether the rule has a limit of its table's share."""
    return step.reach.max_fraction is not None and step.reach.max_fraction < 1
