"""Conduct: one slice of a run, by the holder of the lease: plan, write down, do, write down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg
from asyncpg import Connection

from maintenance import lag, past, switch
from maintenance.approval import approved
from maintenance.budget import Budget
from maintenance.catalog import database_bytes, find
from maintenance.clock import astray, utc
from maintenance.database import BOOKKEEPING, GLANCE, clock, limit_statements
from maintenance.errors import PolicyError, UsageError
from maintenance.execution import Execution
from maintenance.guards import Guards
from maintenance.ledger import Ledger
from maintenance.models import RunStatus, StepStatus, StopReason, Verdict
from maintenance.other_deleters import OtherDeleters, cron_jobs
from maintenance.planner import asked, check, plan, scope
from maintenance.policy import Policy
from maintenance.runs import Request, Run, StepResult
from maintenance.settings import Settings
from maintenance.sql import statement
from maintenance.steps import Settled, Step, Stopped
from maintenance.tasks import only_changed, selected
from maintenance.tasks.survey import Survey, Task
from maintenance.turns import Turns
from maintenance.witness import Witness


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """What every slice of a run is done with."""

    connection: Connection
    ledger: Ledger
    settings: Settings
    policy: Policy
    budget: Budget
    witness: Witness
    now: Callable[[], datetime] = utc

    async def begin(self, request: Request) -> Run | None:
        """The first slice of a new run, or again of one that died in it; None where that has been done."""
        began = time.monotonic()
        installed = await self.ledger.installed()
        if installed:
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
        guards = await outlook.guards()
        if not installed:
            await self.ledger.install()
            await self.ledger.close_dead()
        run_id = await self.ledger.begin(request, as_of)
        if run_id is None:
            return None
        await self.ledger.approve(run_id, guards.approved)
        return await self._do(run_id, outlook, early, guards, (), began)

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
        try:
            guards = await outlook.guards()
        except UsageError as error:
            # What was approved when it was asked for is not what would be done by now.
            await self.ledger.abandon(run.id, str(error))
            return await self.ledger.known(run.id)
        await self.ledger.take_up(run.id, number, as_of)
        await self.ledger.approve(run.id, guards.approved)
        guards = replace(guards, approved=await self.ledger.approved(run.id))
        return await self._do(run.id, outlook, early, guards, run.steps, began)

    async def _outlook(self, request: Request, as_of: datetime) -> _Outlook:
        tasks = selected(request.names)
        return _Outlook(
            conduct=self,
            tasks=tasks,
            survey=Survey(
                connection=self.connection, policy=self.policy, as_of=as_of, only_changed=only_changed(request.names)
            ),
            request=request,
            limits=await lag.judged(self.connection, self.policy.lag),
        )

    async def _do(
        self, run_id: int, outlook: _Outlook, early: list[Step], guards: Guards, earlier: tuple[StepResult, ...],
        began: float,
    ) -> Run:  # fmt: skip
        request = outlook.request
        self.witness.run_began(run_id, request.name, request.scheduler)
        await self.connection.execute(statement("database", "commit_without_waiting"))
        execution = Execution(
            connection=self.connection, ledger=self.ledger, settings=self.settings, budget=self.budget,
            brake=await self._brake(run_id, outlook.limits), guards=guards,
            others=OtherDeleters(jobs=await cron_jobs(self.connection), before=await past.deletions(self.connection)),
            witness=self.witness, run_id=run_id, as_of=outlook.survey.as_of, idle=await past.idle(self.connection),
            whole=self.budget.left,
        )  # fmt: skip
        turns = Turns(execution=execution, earlier={step.place: step for step in earlier})
        halt = await switch.halt(self.connection)
        cut = halt is not None
        if not cut:
            turns.carried.update(await past.carried(self.connection))
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
        await self.connection.execute(statement("database", "commit_for_good"))
        concluded = _concluded(steps, halt, turns.missed(steps), cut=cut)
        run = await self.ledger.end(run_id, *concluded, seconds=time.monotonic() - began, size=size)
        self.witness.run_ended(run, size)
        return run

    async def _brake(self, run_id: int, limits: lag.Limits) -> lag.Brake:
        """The brake of a slice; what it cannot see is written down and told."""
        brake = await lag.fitted(self.connection, limits, self.budget)
        if brake.unseen is not None:
            await self.ledger.remark(run_id, brake.unseen)
            self.witness.unseen(brake.unseen)
        return brake

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outlook:
    """What a slice will look at: its tasks on its tables, at its instant."""

    conduct: Conduct
    tasks: tuple[Task, ...]
    survey: Survey
    request: Request
    limits: lag.Limits

    @property
    def late(self) -> list[Task]:
        return [task for task in self.tasks if task.late]

    async def early(self) -> list[Step]:
        """The steps of the tasks that are planned at once.

        Raises:
            PolicyError: the server refuses a value of it, or not one of its tables is there: a green run would clean
                nothing for ever.
        """
        await check(self.tasks, self.survey)
        steps = await self._plan(self._at_once, self.survey)
        gone = all(isinstance(step, Settled) and step.verdict.status is StepStatus.ABSENT for step in steps)
        if steps and gone and not await self._any_table():
            raise PolicyError(
                "Not one table of the policy is in this database, so there is nothing to maintain: check "
                "MAINTENANCE_POLICY, PGDATABASE and the role's search_path."
            )
        return steps

    async def guards(self) -> Guards:
        """The guards of the run, which know what somebody has approved.

        Raises:
            UsageError: what was approved is not what would be done now.
        """
        conduct = self.conduct
        wrong = await astray(conduct.connection, conduct.policy.guards.clock, conduct.now)
        guards = Guards(connection=conduct.connection, patience=conduct.settings.count_timeout, astray=wrong)
        if self.request.approve is None:
            return guards
        survey = replace(self.survey, counting=conduct.settings.count_timeout)
        steps = [await asked(step, guards) for step in await self._plan(self._at_once, survey)]
        stopped = [step for step in steps if isinstance(step, Stopped)]
        return replace(
            guards, approved=await approved(conduct.connection, conduct.policy, stopped, self.request.approve)
        )

    @property
    def _at_once(self) -> list[Task]:
        return [task for task in self.tasks if not task.late]

    async def _any_table(self) -> bool:
        for name in dict.fromkeys(self.survey.policy.tables()):
            if await find(self.survey.connection, name) is not None:
                return True
        return False

    async def planned_late(self, task: Task) -> list[Step]:
        """The steps of a task that looks at what those before it have changed."""
        connection = self.conduct.connection
        changed_at, took = await past.changed_at(connection), await past.took(connection, [task.name])
        return await self._plan([task], replace(self.survey, changed_at=changed_at, took=took))

    async def _plan(self, tasks: Iterable[Task], survey: Survey) -> list[Step]:
        connection = self.conduct.connection
        within = await scope(connection, self.conduct.policy, self.request.tables, self.tasks)
        steps = await plan(tasks, survey, within, self.conduct.budget)
        await limit_statements(connection, BOOKKEEPING, local=False)
        return steps


def _concluded(
    steps: tuple[StepResult, ...], halt: Verdict | None, missed: str | None, *, cut: bool
) -> tuple[RunStatus, StopReason, str | None]:
    """A run is as good as its worst step: failed before interrupted before succeeded; `cut`, there are more to plan.

    Where a step `missed` its objective, that is said even if each statement succeeded.
    """
    failed = (StepStatus.FAILED, StepStatus.BLOCKED)
    unfinished = (StepStatus.INTERRUPTED, StepStatus.PENDING, StepStatus.RUNNING)
    for step in steps:
        if step.status in failed:
            return RunStatus.FAILED, step.stop_reason or StopReason.ERROR, step.error
    if missed is not None:
        return RunStatus.FAILED, StopReason.OBJECTIVE, missed
    if halt is not None and (cut or any(step.status in unfinished for step in steps)):
        return RunStatus.INTERRUPTED, halt.stop_reason, halt.message
    for step in steps:
        if step.status in unfinished:
            return RunStatus.INTERRUPTED, step.stop_reason or StopReason.ERROR, step.error
    return RunStatus.SUCCEEDED, StopReason.DONE, None
