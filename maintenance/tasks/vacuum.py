"""vacuum: tables with dead rows, new inserts or old transaction IDs, neediest first, a VACUUM and an ANALYZE each."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg
from asyncpg import Connection, Record
from asyncpg import exceptions as pg

from maintenance.errors import GaveWay, PolicyError
from maintenance.horizon import Changes, Holder, Kind, holders
from maintenance.models import Batch, Cursor
from maintenance.names import Fragment, Table, listed, literal
from maintenance.policy import Policy, Vacuum
from maintenance.refusals import first_line
from maintenance.sql import statement
from maintenance.steps import Step
from maintenance.tasks.expectation import expected, speed
from maintenance.tasks.hours import Term, opening, shut, until_closed
from maintenance.tasks.pinned import pin, unpinned, vacuumed
from maintenance.tasks.stamp import stamped
from maintenance.tasks.survey import Draft, Survey, Task
from maintenance.tasks.upkeep import chosen, upkeep
from maintenance.window import Window

NAME = "vacuum"
UPKEEP = "upkeep"
NEWER_OPTIONS = 16
"""Major from which VACUUM has BUFFER_USAGE_LIMIT and leaves the database's own statistics for later.
https://www.postgresql.org/docs/release/16.0/"""


@dataclass(frozen=True, slots=True, kw_only=True)
class VacuumStep(Step):
    """One VACUUM, which cannot run inside a transaction and is done when its time stamp has moved."""

    transactional = False

    task: str = NAME
    strategy: str = "vacuum"
    options: Fragment
    analyze: Fragment
    """The options of the ANALYZE after it."""
    max_age: int | None
    """Of a table that is there to be frozen, whatever can be removed, the age that it is above; None of any other."""
    window: Window | None

    async def guard(self, connection: Connection) -> str | None:
        """Why it must wait for its window, or None."""
        return await shut(connection, self.window, self.expected)

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """VACUUM the table unless its horizon is pinned, and look whether the server really did.

        Raises:
            Blocked: somebody keeps its dead rows, or keeps it from being frozen; or the server skipped the table, as it
                does with no more than a warning where a privilege is missing.
            GaveWay: its window closed, or what is left of the budget is too short.
        """
        command = statement(UPKEEP, "vacuum", options=self.options, table=self.table.sql)
        look = statement(UPKEEP, "last_vacuum")
        async with until_closed(connection, self.window) as term:
            await unpinned(term, self.table, self.oid, "VACUUM", max_age=self.max_age)

            async def vacuum() -> tuple[Record, Record]:
                await term.limit()
                return await stamped(connection, self.table, self.oid, command, look)

            was, left = await vacuumed(term, self.table, vacuum, (look, self.oid), max_age=self.max_age)
            told = await self._analyzed(term)
        note = f"{max(was - left, 0):,} dead rows removed{told}"
        if left > was * 0.5:
            found = await holders(connection)
            known = found and found[0].age is not None
            who = found[0] if known else "an old transaction, a replication slot or a standby"
            note += f", {left:,} could not be: {who} may still need them"
        return Batch(done=True, note=note)

    async def _analyzed(self, term: Term) -> str:
        """Statistics, in a statement of its own; what to add to the note where there are none.

        Together with VACUUM it would hide what that has left: it counts as dead what stands for rows that are gone,
        where VACUUM has spared itself the indexes. https://www.postgresql.org/docs/current/sql-vacuum.html
        """
        try:
            await term.limit()
            await term.connection.execute(
                statement(UPKEEP, "analyze_after", options=self.analyze, table=self.table.sql)
            )
        except GaveWay as error:
            why = str(error)
        except asyncpg.PostgresError as error:
            if term.connection.is_closed():
                raise
            why = first_line(error)
        else:
            return ""
        return f"; the ANALYZE after it was not made ({why}), autovacuum or the next run does it"


def drafts(policy: Policy) -> list[Draft]:
    """One for the whole database: what needs it, its statistics tell."""
    return [Draft(task=NAME, table=None, plan=_plan)]


async def _check(survey: Survey) -> None:
    """Let the server judge what it alone can.

    Raises:
        PolicyError: the ring of buffers cannot have that size.
    """
    limit = survey.policy.vacuum.buffer_usage_limit
    if limit is None or _major(survey) < NEWER_OPTIONS:
        return
    try:
        await survey.connection.execute(statement(UPKEEP, "take_buffer_usage_limit"), limit)
    except pg.InvalidParameterValueError as error:
        raise PolicyError(
            f"[vacuum] buffer_usage_limit = {limit!r} is no size that VACUUM takes ({first_line(error)}); write '0' or "
            "one from '128kB' to '16GB'."
        ) from error


async def _plan(survey: Survey) -> list[Step]:
    rule = survey.policy.vacuum
    needy: list[tuple[float, str, Table, Record]] = []
    for row in await upkeep(survey):
        table = Table(schema=row["schema"], name=row["name"])
        reasons = _reasons(rule, row, survey)
        if reasons and not row["partitioned"] and chosen(table, rule.tables):
            why = ", ".join(text for _, text in sorted(reasons, reverse=True))
            # To two digits: of what needs it about as much, the largest comes first, which packs best side by side.
            needy.append((float(f"{max(score for score, _ in reasons):.2g}"), why, table, row))
    if not needy:
        return []
    major = _major(survey)
    sizes = await _sizes(survey, [row["oid"] for *_, row in needy])
    took = {table: last for (task, table), last in survey.took.items() if task == NAME}
    others = speed(took.values())
    needy.sort(key=lambda one: (-one[0], -sizes.get(one[3]["oid"], 0)))
    remarks = await _remarks(survey, major)
    in_the_way = await holders(survey.connection)
    return [
        VacuumStep(
            table=table, rows=0, exact=True, need=need, oid=row["oid"], jobs=rule.jobs,
            summary=why + remarks + _held(in_the_way, row, survey, rule),
            options=options(rule, major, aged=_is_aged(rule, row)), analyze=_ring(rule, major),
            max_age=rule.xid_age if _is_aged(rule, row) else None, window=rule.window,
            expected=expected(sizes.get(row["oid"]), took.get(str(table)), others),
            closing=statement(UPKEEP, "vacuum_database") if major >= NEWER_OPTIONS else None,
        )
        for need, why, table, row in needy
    ]  # fmt: skip


async def _remarks(survey: Survey, major: int) -> str:
    """What a reader should know of all its steps."""
    rule = survey.policy.vacuum
    # Without it the limit would silently not be one.
    lacking = rule.buffer_usage_limit is not None and major < NEWER_OPTIONS
    told = "; without buffer_usage_limit, which came with PostgreSQL 16" if lacking else ""
    return told + await opening(survey.connection, rule.window)


def _held(in_the_way: tuple[Holder, ...], row: Record, survey: Survey, rule: Vacuum) -> str:
    """Who would be in the way if it were begun now."""
    seconds = None if row["last_vacuum"] is None else (survey.as_of - row["last_vacuum"]).total_seconds()
    table = Changes(
        dead=row["dead"], age=row["xid_age"], multixact_age=row["multixact_age"], seconds=seconds
    )  # fmt: skip
    # Autovacuum's own ANALYZE is over soon, and never blocks one.
    found = [holder for holder in in_the_way if holder.kind is not Kind.AUTOVACUUM]
    pinned = pin(found, table, max_age=rule.xid_age if _is_aged(rule, row) else None)
    if pinned is None:
        return ""
    sees = "look back nearly as far" if pinned.freezing else "still look at them"
    return f"; blocked while {pinned.holders[0]} may {sees}"


async def _sizes(survey: Survey, oids: list[int]) -> dict[int, int]:
    """Bytes of these tables, as far as nobody's lock is in the way: they are only for an estimate."""
    try:
        rows = await survey.connection.fetch(statement(UPKEEP, "sizes"), oids)
    except pg.LockNotAvailableError:
        return {}
    return {row["oid"]: row["bytes"] for row in rows if row["bytes"] is not None}


def _reasons(rule: Vacuum, row: Record, survey: Survey) -> list[tuple[float, str]]:
    """Why a table needs VACUUM, each with a score of 1 where a threshold is just reached."""
    rows = max(row["rows"], 0)
    measures = (
        (row["dead"], rule.dead_rows + rule.dead_fraction * rows, "dead rows"),
        (row["inserted"], rule.insert_rows + rule.insert_fraction * rows, "rows inserted since the last vacuum"),
        (row["xid_age"], rule.xid_age, "transactions since the last freeze"),
        (row["multixact_age"], rule.xid_age, "multixacts since the last freeze"),
    )
    reasons = [(float(is_ / max(limit, 1)), f"{is_:,} {what}") for is_, limit, what in measures if is_ > limit]
    table = Table(schema=row["schema"], name=row["name"])
    changed = survey.changed_at.get(str(table))
    vacuumed = row["last_vacuum"]
    if changed and (vacuumed is None or vacuumed < changed):
        reasons.append((1.0, f"a run deleted from it, {row['dead']:,} dead rows"))
    return reasons


def _is_aged(rule: Vacuum, row: Record) -> bool:
    return bool(max(row["xid_age"], row["multixact_age"]) > rule.xid_age)


def options(rule: Vacuum, major: int, *, aged: bool, alone: bool = False) -> Fragment:
    """The options of a VACUUM; one that is made `alone` sees to statistics and the database's horizon itself."""
    found = [Fragment("analyze")] if alone else []
    found.append(Fragment(f"truncate {'true' if rule.truncate else 'false'}"))
    if aged:
        found.append(Fragment("freeze"))
    if rule.parallel is not None:
        found.append(Fragment(f"parallel {rule.parallel:d}"))
    if major >= NEWER_OPTIONS:
        if not alone:
            found.append(Fragment("skip_database_stats"))
        if rule.buffer_usage_limit is not None:
            found.append(Fragment(f"buffer_usage_limit {literal(rule.buffer_usage_limit)}"))
    return listed(found)


def _ring(rule: Vacuum, major: int) -> Fragment:
    """The options of ANALYZE, in brackets; empty where there are none."""
    if major < NEWER_OPTIONS or rule.buffer_usage_limit is None:
        return Fragment("")
    return Fragment(f"(buffer_usage_limit {literal(rule.buffer_usage_limit)})")


def _major(survey: Survey) -> int:
    return int(survey.connection.get_server_version().major)


TASK = Task(name=NAME, drafts=drafts, late=True, check=_check)
