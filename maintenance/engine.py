"""The engine: a run from the lease to the last line in the ledger. It knows no task by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import asyncpg
from asyncpg import Connection

from maintenance import policy_file
from maintenance.budget import Budget
from maintenance.catalog import database_bytes
from maintenance.database import BOOKKEEPING, GLANCE, clock, connected, limit_statements
from maintenance.errors import LeaseHeld
from maintenance.execution import Execution
from maintenance.lease import lease
from maintenance.ledger import Carried, Ledger
from maintenance.models import Cursor, Plan, Run, RunStatus, Settled, Step, StepStatus, StopReason, Verdict
from maintenance.names import Table
from maintenance.planner import Scope, failure, guarded, plan, scope
from maintenance.policy import Policy
from maintenance.settings import Settings
from maintenance.tasks import DEFAULT_GROUP, only_changed, selected
from maintenance.tasks.survey import Survey, Task
from maintenance.witness import Witness, Witnesses


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody asks for: tasks or groups, perhaps only some tables, and who asks."""

    names: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    scheduler: str = "cli"

    @property
    def name(self) -> str:
        """The run's name in the ledger."""
        return " ".join(self.names) or DEFAULT_GROUP


async def planned(request: Request, settings: Settings, *, budget: Budget | None = None) -> Plan:
    """What a run would do now, with counts. Reads only: the session itself refuses to write.

    Raises:
        MaintenanceError: as for `performed`, but for the ledger, which a plan does not need.
    """
    budget = budget or Budget(settings.budget)
    tasks = selected(request.names)
    policy = policy_file.load(settings.policy)
    async with connected(settings, name="maintenance plan", read_only=True) as connection:
        ledger = Ledger(connection)
        within = await scope(connection, policy, request.tables, tasks)
        survey = Survey(
            connection=connection,
            policy=policy,
            as_of=await clock(connection),
            counting=settings.count_timeout,
            changed_at=await ledger.changed_at() if await ledger.installed(writable=False) else {},
            only_changed=only_changed(request.names),
        )
        steps = await plan([task for task in tasks if not task.late], survey, within, budget)
        steps = _unsure([await _asked(step, connection) for step in steps])
        would_change = {str(step.table): survey.as_of for step in steps if step.rows}
        late = replace(survey, changed_at={**survey.changed_at, **would_change})
        steps += await plan([task for task in tasks if task.late], late, within, budget)
        return Plan(as_of=survey.as_of, steps=tuple(steps))


async def performed(
    request: Request, settings: Settings, *, budget: Budget | None = None, witness: Witness | None = None
) -> Run:
    """Do a run, and return it as the ledger has it. `budget` lets the caller cut the run short.

    Raises:
        UsageError: no such task, group or table.
        SettingsError: no database is configured.
        PolicyError: the policy is wrong or does not fit the database; nothing was touched.
        DatabaseError: no usable connection, or it was lost.
        LedgerError: this role may not write the ledger; nothing was touched.
    """
    budget = budget or Budget(settings.budget)
    witness = Witnesses([] if witness is None else [witness])
    tasks = selected(request.names)
    policy = policy_file.load(settings.policy)
    async with connected(settings, name="maintenance run") as connection:
        ledger = Ledger(connection)
        try:
            async with lease(connection):
                return await _Conduct(connection, ledger, request, settings, policy, budget, witness).run(tasks)
        except LeaseHeld as error:
            run = await _skipped(ledger, request, str(error))
            witness.run_ended(run, None)
            return run


async def _skipped(ledger: Ledger, request: Request, why: str) -> Run:
    await ledger.install()
    run = await ledger.run(await ledger.skip(request.name, request.scheduler, why))
    if run is None:
        raise AssertionError("the ledger lost a row that it has just written")
    return run


@dataclass(frozen=True, slots=True)
class _Conduct:
    """One run, by the holder of the lease."""

    connection: Connection
    ledger: Ledger
    request: Request
    settings: Settings
    policy: Policy
    budget: Budget
    witness: Witness

    async def run(self, tasks: Sequence[Task]) -> Run:
        """Plan, write down, do, write down."""
        early = [task for task in tasks if not task.late]
        late = [task for task in tasks if task.late]
        as_of = await clock(self.connection)
        survey = Survey(
            connection=self.connection, policy=self.policy, as_of=as_of, only_changed=only_changed(self.request.names)
        )
        within = await scope(self.connection, self.policy, self.request.tables, tasks)
        # Before the ledger is touched: a policy that does not fit this database changes nothing in it.
        steps = await plan(early, survey, within, self.budget)
        await limit_statements(self.connection, BOOKKEEPING, local=False)
        await self.ledger.install()
        await self.ledger.close_dead()
        carried = await self.ledger.carried()
        run_id = await self.ledger.begin(self.request.name, self.request.scheduler, as_of)
        self.witness.run_began(run_id, self.request.name, self.request.scheduler)
        execution = Execution(
            connection=self.connection, ledger=self.ledger, settings=self.settings, budget=self.budget,
            witness=self.witness, run_id=run_id,
        )  # fmt: skip
        verdicts = await self._do(execution, steps, carried)
        for task in late:
            verdicts += await self._do(execution, await self._late(task, survey, within), carried)
        await self.ledger.prune(self.settings.ledger_keep)
        size = await self._database_bytes()
        run = await self.ledger.end(run_id, *_concluded(verdicts))
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

    async def _late(self, task: Task, survey: Survey, within: Scope | None) -> list[Step]:
        changed_at = await self.ledger.changed_at()
        steps = await plan([task], replace(survey, changed_at=changed_at), within, self.budget)
        await limit_statements(self.connection, BOOKKEEPING, local=False)
        return steps

    async def _do(
        self, execution: Execution, steps: list[Step], carried: Mapping[tuple[str, str, str], Carried]
    ) -> list[Verdict]:
        def last(step: Step) -> Carried | None:
            return carried.get((step.task, str(step.table), step.rule))

        # What an earlier run never came to goes first, or a large table could starve all those after it for ever.
        ordered = sorted(steps, key=lambda step: _turn(last(step)))
        self.witness.planned(ordered)
        cursors = [_resumed(step, last(step)) for step in ordered]
        ids = [await self.ledger.add(execution.run_id, *pair) for pair in zip(ordered, cursors, strict=True)]
        return [await execution.step(*work) for work in zip(ordered, ids, cursors, strict=True)]


async def _asked(step: Step, connection: Connection) -> Step:
    """The step, or what its guard makes of it."""
    if isinstance(step, Settled):
        return step
    try:
        stopped = await step.guard(connection)
    except asyncpg.PostgresError as error:
        verdict = failure(connection, error)
        return replace(guarded(step, str(error)), summary=f"could not be planned: {error}", verdict=verdict)
    return step if stopped is None else guarded(step, stopped)


def _unsure(steps: list[Step]) -> list[Step]:
    """A count is not exact where a step before it takes rows from the same table, or from one that it looks at."""
    touched: set[Table] = set()
    judged: list[Step] = []
    for step in steps:
        sure = touched.isdisjoint((step.table, *step.depends))
        judged.append(step if sure else replace(step, exact=False))
        if step.rows or step.rows is None:
            touched.add(step.table)
    return judged


def _turn(before: Carried | None) -> tuple[bool, int]:
    """Sorts what an earlier run never came to in front of all else, the one that has waited longest first."""
    return (False, before.last_turn) if before is not None and before.starved else (True, 0)


def _resumed(step: Step, before: Carried | None) -> Cursor | None:
    if before is None or before.cursor is None or before.strategy != step.strategy or isinstance(step, Settled):
        return None
    return step.resume(before.cursor)


def _concluded(verdicts: list[Verdict]) -> tuple[RunStatus, StopReason, str | None]:
    """A run is as good as its worst step: failed before interrupted before succeeded."""
    for statuses, conclusion in (
        ((StepStatus.FAILED, StepStatus.BLOCKED), RunStatus.FAILED),
        ((StepStatus.INTERRUPTED,), RunStatus.INTERRUPTED),
    ):
        for verdict in verdicts:
            if verdict.status in statuses:
                return conclusion, verdict.stop_reason, verdict.message
    return RunStatus.SUCCEEDED, StopReason.DONE, None
