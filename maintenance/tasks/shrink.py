"""shrink: tables of which little is live, to be rewritten where the limits of their rule allow it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import asyncpg
from asyncpg import Record
from asyncpg import exceptions as pg

from maintenance.amounts import size
from maintenance.budget import roughly
from maintenance.database import fetch_one
from maintenance.errors import PolicyError
from maintenance.models import StepStatus, StopReason, Verdict
from maintenance.names import Table
from maintenance.policy import Policy, Shrink
from maintenance.sql import statement
from maintenance.steps import Settled, Step
from maintenance.tasks.expectation import rewriting
from maintenance.tasks.hours import opening
from maintenance.tasks.live import Live, live
from maintenance.tasks.rewrite import PARTS, WORDS, ShrinkStep
from maintenance.tasks.survey import Draft, Survey, Task, span
from maintenance.tasks.upkeep import chosen, upkeep

NAME = "shrink"
CONCURRENT = 19
"""Major from which REPACK (CONCURRENTLY) is there. https://www.postgresql.org/docs/19/sql-repack.html"""
_IN_VAIN = 0.9


def drafts(policy: Policy) -> list[Draft]:
    """One for the whole database, where the policy has a rule at all."""
    return [Draft(task=NAME, table=None, plan=_plan)] if policy.shrink else []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """A rule's limits as the server understands them."""

    min_size: int
    max_rewrite: int
    max_lock: float


async def _check(survey: Survey) -> None:
    """Let the server judge what it alone can.

    Raises:
        PolicyError: a size or an interval is none.
    """
    for number, rule in enumerate(survey.policy.shrink, start=1):
        await _limits(survey, rule, number)


async def _limits(survey: Survey, rule: Shrink, number: int) -> _Limits:
    sizes = []
    for key in ("min_size", "max_rewrite"):
        text = getattr(rule, key)
        try:
            sizes.append(int(await survey.connection.fetchval(statement(NAME, "bytes"), text)))
        except (asyncpg.DataError, pg.InvalidParameterValueError) as error:
            raise PolicyError(f"shrink[{number}].{key} = {text!r} is no size ({error}); write '500MB'.") from error
    seconds = await span(survey.connection, rule.max_lock)
    if seconds is None:
        raise PolicyError(
            f"shrink[{number}].max_lock = {rule.max_lock!r} is no interval above zero; write '30 seconds'."
        )
    return _Limits(min_size=sizes[0], max_rewrite=sizes[1], max_lock=seconds)


async def _plan(survey: Survey) -> list[Step]:
    steps: list[Step] = []
    limits = [await _limits(survey, rule, number) for number, rule in enumerate(survey.policy.shrink, start=1)]
    taken = list(ruled(await upkeep(survey), survey.policy))
    parts = await survey.connection.fetch(statement(NAME, "parts"), [row["oid"] for _, row in taken])
    by_oid = {part["oid"]: part for part in parts}
    for number, row in taken:
        table = Table(schema=row["schema"], name=row["name"])
        part = by_oid.get(row["oid"])
        if part is not None and sum(part[name] for name in PARTS) < limits[number].min_size:
            continue
        steps.append(
            await _Look(survey=survey, rule=survey.policy.shrink[number], limits=limits[number]).step(table, row, part)
        )
    return steps


def ruled(rows: list[Record], policy: Policy) -> Iterator[tuple[int, Record]]:
    """The tables with rows of their own that a rule takes, by its number; the first one that does counts.

    A partition is taken by its own name or by that of a table that it is a part of.
    """
    parents: dict[int, list[Table]] = {}
    for row in rows:
        for leaf in row["leaves"]:
            parents.setdefault(leaf, []).append(Table(schema=row["schema"], name=row["name"]))
    for row in rows:
        if row["partitioned"]:
            continue
        names = [Table(schema=row["schema"], name=row["name"]), *parents.get(row["oid"], [])]
        for number, rule in enumerate(policy.shrink):
            excluded = [p for p in rule.tables if p.startswith("!")]
            if any(chosen(name, rule.tables) for name in names) and all(
                chosen(name, ["*", *excluded]) for name in names
            ):
                yield number, row
                break


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """A look at one table, by a rule that takes it."""

    survey: Survey
    rule: Shrink
    limits: _Limits

    async def step(self, table: Table, row: Record, part: Record | None) -> Step:
        """What is to be done with it, or why nothing is."""
        if part is None:
            return _stopped(table, row, StopReason.LOCK, "somebody has it for himself, so it could not be looked at")
        rows = int(row["rows"] if row["rows"] >= 0 else row["live"])
        try:
            found = await live(self.survey.connection, table, part, rows)
        except pg.LockNotAvailableError:
            return _stopped(table, row, StopReason.LOCK, "somebody has it for himself, so it could not be looked at")
        if found is None:
            return _stopped(
                table, row, StopReason.GUARD,
                "nobody can tell how much of it is live: ANALYZE it, and grant the role SELECT on it, or pgstattuple",
            )  # fmt: skip
        return await self._judged(table, row, part, found)

    async def _judged(self, table: Table, row: Record, part: Record, found: Live) -> Step:
        data = part["heap"] + part["toast"]
        share = found.bytes / max(data, 1)
        about = f"{_sizes(part)}; about {size(found.bytes)} of heap and TOAST is live ({found.how})"
        if share > self.rule.live_fraction:
            return _nothing(table, row, f"{about}, more than live_fraction = {self.rule.live_fraction:g} of it")
        last = self.survey.took.get((NAME, str(table)))
        total = data + part["indexes"]
        if (
            last
            and last.after
            and not last.cut
            and last.after >= _IN_VAIN * last.size
            and total <= last.after / _IN_VAIN
        ):
            return _nothing(table, row, f"{about}, but its last rewrite gave back next to nothing")
        kept = found.bytes + min(part["indexes"], found.bytes)
        others = [took for (task, name), took in self.survey.took.items() if task == NAME and name != str(table)]
        expected = rewriting(kept + part["heap"], last, others)
        ways = await self._other_ways(table, part)
        over = self._over(found, expected)
        if over is not None:
            return _stopped(table, row, StopReason.GUARD, f"{about}; {over}{ways}")
        summary = (
            f"{about}; while it is rewritten nobody can use it, and the disk needs {size(kept)} more, which cannot be "
            f"seen from here{ways}{await opening(self.survey.connection, self.rule.window)}"
        )
        return ShrinkStep(
            table=table, oid=row["oid"], rows=0, exact=True, need=float(total - kept), summary=summary,
            expected=expected, window=self.rule.window, max_lock=self.limits.max_lock,
            live_rows=int(max(row["rows"], 0)),
        )  # fmt: skip

    def _over(self, found: Live, expected: float) -> str | None:
        """Which limit keeps it from being rewritten."""
        if found.bytes > self.limits.max_rewrite:
            return f"that is above max_rewrite = {self.rule.max_rewrite!r}; raise it, if the disk has the room"
        if expected > self.limits.max_lock:
            return (
                f"to rewrite it would lock everybody out for {roughly(expected)}, above max_lock = "
                f"{self.rule.max_lock!r}; raise it, if the application can wait"
            )
        return None

    async def _other_ways(self, table: Table, part: Record) -> str:
        """What an operator may do instead, which locks nobody out for long."""
        connection = self.survey.connection
        ways = []
        if connection.get_server_version().major >= CONCURRENT and part["keyed"]:
            ways.append(f"REPACK (CONCURRENTLY) {table.sql};")
        repack = await fetch_one(connection, statement(NAME, "repack"))
        if repack["installed"] and part["keyed"]:
            ways.append(
                shlex.join(
                    ["pg_repack", "--no-superuser-check", f"--dbname={repack['database']}", f"--table={table.sql}"]
                )
            )
        return "".join(f"; beside the application: {way}" for way in ways)


def _stopped(table: Table, row: Record, reason: StopReason, why: str) -> Settled:
    verdict = Verdict(status=StepStatus.INTERRUPTED, stop_reason=reason, message=f"not rewritten: {why}")
    return Settled(
        task=NAME, table=table, oid=row["oid"], rows=0, exact=True, summary=f"{reason}: {why}", verdict=verdict
    )


def _nothing(table: Table, row: Record, why: str) -> Settled:
    verdict = Verdict(status=StepStatus.SUCCEEDED, stop_reason=StopReason.DONE)
    return Settled(task=NAME, table=table, oid=row["oid"], rows=0, exact=True, summary=why, verdict=verdict)


def _sizes(part: Record) -> str:
    return ", ".join(f"{WORDS[name]} {size(part[name])}" for name in PARTS)


TASK = Task(name=NAME, drafts=drafts, late=True, check=_check)
