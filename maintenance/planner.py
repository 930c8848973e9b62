"""The planner: asks the tasks what they would do. A rule that cannot be planned fails as a step, not as a run."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import asyncpg
from asyncpg import Connection
from asyncpg import exceptions as pg

from maintenance.budget import Budget
from maintenance.catalog import ancestors, find
from maintenance.database import limit_statements
from maintenance.errors import PolicyError, UsageError
from maintenance.guards import Guards, Measure
from maintenance.names import Table, TableName
from maintenance.policy import Policy
from maintenance.steps import Settled, Step
from maintenance.tasks.survey import Draft, Survey, Task
from maintenance.verdicts import ALMOST_OVER, OUT_OF_BUDGET, blocked, ended, failure, guarded, limited

UNPLANNED = "*"
"""The table of a draft that is about many, where it could not be planned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The tables that a run was asked to keep to."""

    names: frozenset[str]
    tables: frozenset[Table]

    def drafts(self, draft: Draft) -> bool:
        """Whether a draft may have something to do with these tables."""
        return draft.table is None or draft.table.name in self.names

    def steps(self, step: Step) -> bool:
        """Whether a step is about one of these tables."""
        if isinstance(step, Settled) and (step.table.name in self.names or step.table.name == UNPLANNED):
            return True
        return step.table in self.tables


async def scope(connection: Connection, policy: Policy, names: Sequence[str], tasks: Sequence[Task]) -> Scope | None:
    """The tables of `--tables`, with their partitions; None where none was named.

    Raises:
        UsageError: a name is neither in the policy nor in the database, or no rule of these tasks is about it.
    """
    if not names:
        return None
    tables: set[Table] = set()
    parents: set[str] = set()
    ruled = {draft.table.name for task in tasks for draft in task.drafts(policy) if draft.table}
    parsed = [_parsed(name) for name in names]
    for name in parsed:
        relation = await find(connection, name)
        if relation is not None:
            tables.update([relation.table, *(leaf.table for leaf in relation.leaves)])
            own = {relation.table.name, *await ancestors(connection, relation.oid)}
            parents |= own
            if own.isdisjoint(ruled) and {"vacuum", "shrink"}.isdisjoint(task.name for task in tasks):
                raise UsageError(
                    f"--tables: no rule of {', '.join(task.name for task in tasks)} is about {str(name)!r}."
                )
        elif name not in set(policy.tables()):
            near = difflib.get_close_matches(str(name), [str(table) for table in policy.tables()], n=1)
            hint = f"did you mean {near[0]!r}?" if near else "name tables of the policy or of the database."
            raise UsageError(f"--tables: there is no table {str(name)!r}; {hint}")
    return Scope(names=frozenset(name.name for name in parsed) | parents, tables=frozenset(tables))


async def check(tasks: Iterable[Task], survey: Survey) -> None:
    """Let the server judge what only it can judge of the policy, before anything is written.

    Raises:
        PolicyError: it refuses a value.
    """
    for task in tasks:
        if task.check is not None:
            await task.check(survey)


async def plan(tasks: Iterable[Task], survey: Survey, within: Scope | None, budget: Budget) -> list[Step]:
    """All steps of these tasks, each task's neediest first. What the budget does not reach is a step that says so.

    Raises:
        PolicyError: the policy does not fit the database.
        PostgresError: the connection was lost.
    """
    steps: list[Step] = []
    for task in tasks:
        found: list[Step] = []
        for draft in task.drafts(survey.policy):
            if within is None or within.drafts(draft):
                drafted = await _drafted(draft, survey, budget)
                _refuse_parts(drafted, within)
                found += [step for step in drafted if within is None or within.steps(step)]
        refuse_twins(found)
        steps += sorted(found, key=lambda step: -step.need)
    return steps


async def _drafted(draft: Draft, survey: Survey, budget: Budget) -> list[Step]:
    try:
        if budget.left > 0:
            await limit_statements(survey.connection, budget.left, local=False)
            return await draft.plan(survey)
        verdict = OUT_OF_BUDGET
    except asyncpg.PostgresError as error:
        if isinstance(error, pg.QueryCanceledError) and budget.left < ALMOST_OVER:
            verdict = OUT_OF_BUDGET
        else:
            verdict = failure(survey.connection, error)
    name = draft.table or TableName(schema=None, name=UNPLANNED)
    table = Table(schema=name.schema or "", name=name.name)
    return [Settled(task=draft.task, table=table, summary=f"could not be planned: {verdict.message}", verdict=verdict)]


async def asked(step: Step, guards: Guards) -> Step:
    """The step, with what the guards have to say of it, or what they make of it."""
    if isinstance(step, Settled):
        return step
    try:
        stopped = await step.guard(guards.connection)
        if stopped is not None:
            return guarded(step, stopped)
        admission = await guards.admission(step)
        if step.tells and step.reach.limited and step.exact and step.rows is not None:
            cascades = await guards.cascades(step) if step.rows else ()
            admission = await guards.judged(step, Measure(going=step.rows, cascades=cascades), admission.obstacle)
        measure = admission.measure
        cascades = measure.cascades if measure else await guards.cascades(step) if step.rows else ()
    except asyncpg.PostgresError as error:
        verdict = failure(guards.connection, error)
        return ended(step, f"could not be planned: {verdict.message}", verdict)
    if admission.blocked is not None:
        return ended(step, f"blocked: {admission.blocked}", blocked(admission.blocked))
    if admission.stopped is not None:
        stopped = admission.stopped
        return guarded(step, stopped) if measure is None else limited(step, stopped, measure.going)
    along = "".join(f"; {cascade}" for cascade in cascades)
    ramp = f"; at most {step.reach.ramp:,} a run" if admission.ramp else ""
    return replace(
        step, summary=step.summary + along + (admission.obstacle.words() if admission.obstacle else "") + ramp
    )


def _parsed(name: str) -> TableName:
    try:
        return TableName.parse(name)
    except PolicyError as error:
        raise UsageError(f"--tables: {error}") from error


def _refuse_parts(steps: Iterable[Step], within: Scope | None) -> None:
    """A partition that goes with others in a step of the whole table cannot be named alone: nothing would be done."""
    for step in steps:
        if within is not None and not within.steps(step) and not step.covers.isdisjoint(within.tables):
            one = min(step.covers & within.tables)
            raise UsageError(f"--tables: {one} is dropped as a whole by the rule of {step.table}; name {step.table}.")


def refuse_twins(steps: Iterable[Step]) -> None:
    """Let no two steps of one task fight over the same rows.

    Raises:
        PolicyError: two would.
    """
    seen: set[tuple[Table, str]] = set()
    for step in steps:
        if isinstance(step, Settled) or not step.subject:
            continue
        if (step.table, step.subject) in seen:
            raise PolicyError(
                f"Two {step.task} rules are about {step.table} and the same columns ({step.subject}), once with and "
                "once without its schema or by a partition; keep one of them."
            )
        seen.add((step.table, step.subject))
