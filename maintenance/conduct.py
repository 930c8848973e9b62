"""Conduct: one slice of a run, by the holder of the lease: plan, write down, do, write down."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import asyncpg
from asyncpg import Connection

from maintenance import switch
from maintenance.budget import Budget
from maintenance.catalog import database_bytes, find
from maintenance.database import BOOKKEEPING, GLANCE, clock, limit_statements
from maintenance.errors import PolicyError
from maintenance.execution import Execution
from maintenance.ledger import Carried, Ledger
from maintenance.models import Cursor, RunStatus, Settled, Step, StepStatus, StopReason, Verdict
from maintenance.planner import plan, scope
from maintenance.policy import Policy
from maintenance.runs import Request, Run, StepResult
from maintenance.settings import Settings
from maintenance.tasks import only_changed, selected
from maintenance.tasks.survey import Survey, Task
from maintenance.witness import Witness

_AGAIN = (StopReason.BUDGET, StopReason.LOCK, StopReason.LAG, StopReason.PAUSED, StopReason.ERROR)
"""Why a step was interrupted that has another turn in the next slice of its run."""
_NOT_NEEDED = Verdict(status=StepStatus.ABSENT, stop_reason=StopReason.DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """What every slice of a run is done with."""

    connection: Connection
    ledger: Ledger
    settings: Settings
    policy: Policy
    budget: Budget
    witness: Witness

    async def begin(self, request: Request) -> Run | None:
        """The first slice of a new run, or again of one that died in it; None where that has been done."""
        began = time.monotonic()
        if await self.ledger.installed():
            await self.ledger.close_dead()
            known = await self.ledger.requested(request.key)
            if known is not None:
                return await self.go_on(known, 0)
        if request.budget is not None:
            self.budget.limit(request.budget)
        as_of = await clock(self.connection)
        # Before the ledger is touched: a policy that does not fit this database changes nothing in it.
        outlook = await self._outlook(request, as_of)
        early = await outlook.early()
        await self.ledger.install()
        await self.ledger.close_dead()
        run_id = await self.ledger.begin(request, as_of)
        return None if run_id is None else await self._do(run_id, outlook, early, (), began)

    async def go_on(self, run_id: int, number: int) -> Run | None:
        """The slice after `number` of a run in the ledger; None where it has been done, or a newer run has begun."""
        began = time.monotonic()
        await self.ledger.close_dead()
        if not await self.ledger.is_due(run_id, number):
            return None
        run = await self.ledger.known(run_id)
        if run.budget is not None:
            self.budget.limit(run.budget - run.spent)
        as_of = await clock(self.connection) if run.status is RunStatus.QUEUED else run.as_of
        outlook = await self._outlook(run.request, as_of)
        early = await outlook.early()
        await self.ledger.take_up(run.id, number, as_of)
        return await self._do(run.id, outlook, early, run.steps, began)

    async def _outlook(self, request: Request, as_of: datetime) -> _Outlook:
        tasks = selected(request.names)
        return _Outlook(
            conduct=self,
            tasks=tasks,
            survey=Survey(
                connection=self.connection, policy=self.policy, as_of=as_of, only_changed=only_changed(request.names)
            ),
            request=request,
        )

    async def _do(
        self, run_id: int, outlook: _Outlook, early: list[Step], earlier: tuple[StepResult, ...], began: float
    ) -> Run:
        request = outlook.request
        self.witness.run_began(run_id, request.name, request.scheduler)
        turns = _Turns(conduct=self, run_id=run_id, earlier={step.place: step for step in earlier})
        halt = await self.paused()
        cut = halt is not None
        if not cut:
            turns.carried.update(await self.ledger.carried())
            halt = await turns.take(early)
        for task in outlook.late:
            cut = cut or halt is not None
            if not cut:
                halt = await turns.take(await outlook.planned_late(task))
        if halt is None:
            await turns.settle_vanished()
        await self.ledger.prune(self.settings.ledger_keep)
        steps = (await self.ledger.known(run_id)).steps
        size = await self._database_bytes()
        run = await self.ledger.end(run_id, *_concluded(steps, halt, cut=cut), seconds=time.monotonic() - began)
        self.witness.run_ended(run, size)
        return run

    async def _database_bytes(self) -> int | None:
        """Size of the database, or None where it cannot be told at a glance."""
        await limit_statements(self.connection, GLANCE, local=False)
        try:
            return await database_bytes(self.connection)
        except asyncpg.PostgresError:
            if self.connection.is_closed():
                raise
            return None
        finally:
            if not self.connection.is_closed():
                await limit_statements(self.connection, BOOKKEEPING, local=False)

    async def paused(self) -> Verdict | None:
        """What becomes of the steps that are left, where somebody has paused all runs."""
        found = await switch.found(self.connection)
        if found is None:
            return None
        return Verdict(status=StepStatus.INTERRUPTED, stop_reason=StopReason.PAUSED, message=str(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outlook:
    """What a slice will look at: its tasks on its tables, at its instant."""

    conduct: Conduct
    tasks: tuple[Task, ...]
    survey: Survey
    request: Request

    @property
    def late(self) -> list[Task]:
        return [task for task in self.tasks if task.late]

    async def early(self) -> list[Step]:
        """The steps of the tasks that are planned at once.

        Raises:
            PolicyError: not one table of the policy is there: a green run would clean nothing for ever.
        """
        steps = await self._plan([task for task in self.tasks if not task.late], self.survey)
        gone = all(isinstance(step, Settled) and step.verdict.status is StepStatus.ABSENT for step in steps)
        if steps and gone and not await self._any_table():
            raise PolicyError(
                "Not one table of the policy is in this database, so there is nothing to maintain: check "
                "MAINTENANCE_POLICY, PGDATABASE and the role's search_path."
            )
        return steps

    async def _any_table(self) -> bool:
        for name in dict.fromkeys(self.survey.policy.tables()):
            if await find(self.survey.connection, name) is not None:
                return True
        return False

    async def planned_late(self, task: Task) -> list[Step]:
        """The steps of a task that looks at what those before it have changed."""
        changed_at = await self.conduct.ledger.changed_at()
        return await self._plan([task], replace(self.survey, changed_at=changed_at))

    async def _plan(self, tasks: Iterable[Task], survey: Survey) -> list[Step]:
        connection = self.conduct.connection
        within = await scope(connection, self.conduct.policy, self.request.tables, self.tasks)
        steps = await plan(tasks, survey, within, self.conduct.budget)
        await limit_statements(connection, BOOKKEEPING, local=False)
        return steps


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turns:
    """The turns of a slice: which steps have one, in which order, from where."""

    conduct: Conduct
    run_id: int
    earlier: Mapping[tuple[str, str, str], StepResult]
    """The run's steps in its slices before."""
    carried: dict[tuple[str, str, str], Carried] = field(default_factory=dict)
    seen: list[Step] = field(default_factory=list)

    async def take(self, steps: list[Step]) -> Verdict | None:
        """Give each step its turn that has not had its last; returns why the run has to stop, or None."""
        conduct = self.conduct
        self.seen.extend(steps)
        # What an earlier run never came to goes first, or a large table could starve all those after it for ever.
        ordered = sorted(filter(self._has_a_turn, steps), key=lambda step: _turn(self.carried.get(step.place)))
        conduct.witness.planned(ordered)
        cursors = [self._resumed(step) for step in ordered]
        ids = [await self._written(*pair) for pair in zip(ordered, cursors, strict=True)]
        execution = Execution(
            connection=conduct.connection, ledger=conduct.ledger, settings=conduct.settings, budget=conduct.budget,
            witness=conduct.witness, run_id=self.run_id,
        )  # fmt: skip
        halt = None
        for step, step_id, cursor in zip(ordered, ids, cursors, strict=True):
            # A step of one batch, as a VACUUM is, would not hear of it in between.
            halt = halt or await conduct.paused()
            before = self.earlier.get(step.place)
            await execution.step(step, step_id, cursor, halt=halt, batches=before.batches if before else 0)
        return halt or await conduct.paused()

    async def settle_vanished(self) -> None:
        """Close the steps of earlier slices that need no more work, as planning them again has shown."""
        planned = {step.place for step in self.seen}
        looked_at = {(step.task, step.table.name) for step in self.seen if not isinstance(step, Settled)}
        # A task that time did not suffice to plan has shown nothing.
        unsure = {step.task for step in self.seen if isinstance(step, Settled) and step.verdict.stop_reason in _AGAIN}
        for place, step in self.earlier.items():
            # What could not be planned then, and could be now, has its own step by now.
            resolved = not step.rule and (step.task, step.table.rpartition(".")[2]) in looked_at
            if place not in planned and (resolved or (step.task not in unsure and _unfinished(step))):
                note = "planned again, there was nothing left to do"
                await self.conduct.ledger.end_step(step.id, _NOT_NEEDED, note=note, size=None, seconds=0)

    def _resumed(self, step: Step) -> Cursor | None:
        before = self.carried.get(step.place)
        if before is None or before.cursor is None or before.strategy != step.strategy or isinstance(step, Settled):
            return None
        return step.go_on(before.cursor) if step.place in self.earlier else step.resume(before.cursor)

    def _has_a_turn(self, step: Step) -> bool:
        before = self.earlier.get(step.place)
        return before is None or _unfinished(before)

    async def _written(self, step: Step, cursor: Cursor | None) -> int:
        before = self.earlier.get(step.place)
        if before is None:
            return await self.conduct.ledger.add(self.run_id, step, cursor)
        await self.conduct.ledger.add_again(before.id, step, cursor)
        return before.id


def _unfinished(step: StepResult) -> bool:
    return step.status is StepStatus.INTERRUPTED and step.stop_reason in _AGAIN


def _turn(before: Carried | None) -> tuple[bool, int]:
    """Sorts what an earlier run never came to in front of all else, the one that has waited longest first."""
    return (False, before.last_turn) if before is not None and before.starved else (True, 0)


def _concluded(
    steps: tuple[StepResult, ...], halt: Verdict | None, *, cut: bool
) -> tuple[RunStatus, StopReason, str | None]:
    """A run is as good as its worst step: failed before interrupted before succeeded; `cut`, there are more to plan."""
    failed = (StepStatus.FAILED, StepStatus.BLOCKED)
    unfinished = (StepStatus.INTERRUPTED, StepStatus.PENDING, StepStatus.RUNNING)
    for step in steps:
        if step.status in failed:
            return RunStatus.FAILED, step.stop_reason or StopReason.ERROR, step.error
    if halt is not None and (cut or any(step.status in unfinished for step in steps)):
        return RunStatus.INTERRUPTED, halt.stop_reason, halt.message
    for step in steps:
        if step.status in unfinished:
            return RunStatus.INTERRUPTED, step.stop_reason or StopReason.ERROR, step.error
    return RunStatus.SUCCEEDED, StopReason.DONE, None
