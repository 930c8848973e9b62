"""The engine: what can be asked of it, a plan, a run, its next slice. It knows no task by name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from asyncpg import Connection

from maintenance import lag, past, policy_file, switch
from maintenance.approval import approval, numbers
from maintenance.archive.store import required
from maintenance.budget import Budget
from maintenance.clock import astray, utc
from maintenance.conduct import Conduct
from maintenance.database import clock, connected
from maintenance.errors import LeaseHeld, Paused
from maintenance.guards import Guards
from maintenance.lease import lease
from maintenance.ledger import Ledger
from maintenance.models import RunStatus
from maintenance.names import Table
from maintenance.other_deleters import OtherDeleters, cron_jobs
from maintenance.planner import asked, check, plan, scope
from maintenance.runs import Plan, Request, Run
from maintenance.settings import Settings
from maintenance.steps import Step, Stopped
from maintenance.tasks import only_changed, selected
from maintenance.tasks.survey import Survey
from maintenance.witness import Witness, Witnesses

_DYING = 6.0
"""Seconds within which the server notices that the client of a busy session is gone (database.sql, watch_client)."""
_WAITING = 30.0
"""Seconds that a slice waits for another run to end, before its message is sent anew."""


async def planned(
    request: Request, settings: Settings, *, budget: Budget | None = None, now: Callable[[], datetime] = utc
) -> Plan:
    """What a run would do now, with counts. Reads only: the session itself refuses to write.

    Raises:
        MaintenanceError: as for `performed`, but for the ledger, which a plan does not need.
    """
    budget = budget or Budget(settings.budget)
    tasks = selected(request.names)
    policy = policy_file.load(settings.policy)
    required(policy, settings)
    async with connected(settings, name="maintenance plan", read_only=True) as connection:
        ledger = Ledger(connection)
        await lag.judged(connection, policy.lag)
        within = await scope(connection, policy, request.tables, tasks)
        known = await ledger.installed(writable=False)
        survey = Survey(
            connection=connection,
            policy=policy,
            as_of=await clock(connection),
            counting=settings.count_timeout,
            changed_at=await past.changed_at(connection) if known else {},
            took=await past.took(connection, [task.name for task in tasks if task.late]) if known else {},
            only_changed=only_changed(request.names),
        )
        await check(tasks, survey)
        steps = await plan([task for task in tasks if not task.late], survey, within, budget)
        wrong = await astray(connection, policy.guards.clock, now)
        guards = Guards(connection=connection, patience=settings.count_timeout, astray=wrong)
        steps = _unsure([await asked(step, guards) for step in steps])
        others = OtherDeleters(jobs=await cron_jobs(connection))
        steps = [_with_others(step, others) for step in steps]
        word = await approval(connection, policy, [step for step in steps if isinstance(step, Stopped)])
        would_change = {str(step.table): survey.as_of for step in steps if step.rows}
        late = replace(survey, changed_at={**survey.changed_at, **would_change})
        steps += await plan([task for task in tasks if task.late], late, within, budget)
        return Plan(as_of=survey.as_of, steps=tuple(steps), approve=word)


async def performed(
    request: Request, settings: Settings, *, budget: Budget | None = None, witness: Witness | None = None
) -> Run:
    """Do a run, or its first slice, and return it as the ledger has it. `budget` lets the caller cut it short.

    Raises:
        UsageError: no such task, group or table.
        SettingsError: no database is configured.
        PolicyError: the policy is wrong or does not fit the database; nothing was touched.
        DatabaseError: no usable connection, or it was lost.
        LedgerError: this role may not write the ledger; nothing was touched.
    """
    run = await performed_once(replace(request, key=None), settings, budget=budget, witness=witness)
    if run is None:
        raise AssertionError("a request without a key was taken for one that had been done before")
    return run


async def performed_once(
    request: Request, settings: Settings, *, budget: Budget | None = None, witness: Witness | None = None
) -> Run | None:
    """As `performed`, but once for all copies of a message, by the key of the request.

    None where another copy is at work or has done it; the run as it stands where all that is left to do with it is to
    ask for its next slice.

    Raises:
        LeaseHeld: the run of this request died, and another one is at work; worth trying again later.
    """
    selected(request.names)
    async with _conducting(settings, budget, witness) as conduct:
        ledger = conduct.ledger
        try:
            async with lease(conduct.connection):
                run = await conduct.begin(request)
        except LeaseHeld as error:
            await ledger.install()
            known = await ledger.requested(request.key)
            if known is None:
                run = await ledger.known(await ledger.skip(request, str(error)))
                conduct.witness.run_ended(run, None)
                return run
            if await ledger.is_due(known, 0) and (await ledger.known(known)).status is not RunStatus.RUNNING:
                raise
            return None
        if run is None and (known := await ledger.requested(request.key)):
            return await _left_over(ledger, known, 0)
        return run


async def queued(request: Request, settings: Settings) -> Run:
    """Write down that a run is asked for, which `continued` will take up as its slice 1.

    Raises:
        UsageError: no such task, group or table, or nothing that could approve a plan.
        Paused: all runs are paused.
        MaintenanceError: as for `performed`.
    """
    tasks = selected(request.names)
    policy = policy_file.load(settings.policy)
    if request.approve is not None:
        numbers(request.approve)
    async with connected(settings, name="maintenance request") as connection:
        await scope(connection, policy, request.tables, tasks)
        ledger = Ledger(connection)
        await ledger.install()
        paused = await switch.found(connection)
        if paused is not None:
            raise Paused(f"Nothing was begun: {paused}.")
        return await ledger.known(await ledger.queue(request))


async def continued(
    run_id: int, number: int, settings: Settings, *, budget: Budget | None = None, witness: Witness | None = None
) -> Run | None:
    """Do the slice after slice `number` of a run.

    None where that was done before, or a newer run has overtaken it; the run as it stands where that slice was done and
    all that is left to do is to ask for the one after it.

    Raises:
        LeaseHeld: another run is at work; worth trying again later.
        MaintenanceError: as for `performed`.
    """
    async with _conducting(settings, budget, witness) as conduct:
        ledger = conduct.ledger
        if not await ledger.readable():
            return None
        if not await ledger.is_due(run_id, number):
            return await _left_over(ledger, run_id, number)
        # Either the other copy of this message is at work, or its session died and the server has yet to notice.
        running = (await ledger.known(run_id)).status is RunStatus.RUNNING
        try:
            async with lease(conduct.connection, _DYING if running else min(_WAITING, settings.budget / 2)):
                run = await conduct.go_on(run_id, number)
        except LeaseHeld:
            if (await ledger.known(run_id)).status is RunStatus.RUNNING:
                return None
            raise
        return run or await _left_over(ledger, run_id, number)


async def _left_over(ledger: Ledger, run_id: int, number: int) -> Run | None:
    """The run whose slice after `number` was its last and left work: its worker may have died before it said so."""
    return await ledger.known(run_id) if await ledger.is_due(run_id, number + 1) else None


async def abandoned(run_id: int, number: int, why: str, settings: Settings) -> Run | None:
    """Mark a run as failed whose slice after `number` nobody could do; None where it has been done, or is being done.

    Raises:
        MaintenanceError: the ledger cannot be reached.
    """
    async with connected(settings, name="maintenance abandon") as connection:
        return await _abandoned(connection, run_id, number, why)


async def never_begun(request: Request, why: str, settings: Settings) -> Run | None:
    """Write down that a run failed which nobody could begin, or get through its first slice; None as for `abandoned`.

    Raises:
        MaintenanceError: the ledger cannot be reached.
    """
    async with connected(settings, name="maintenance abandon") as connection:
        ledger = Ledger(connection)
        await ledger.install()
        run_id = await ledger.begin(request, await clock(connection))
        if run_id is None:
            known = await ledger.requested(request.key)
            return None if known is None else await _abandoned(connection, known, 0, why)
        await ledger.abandon(run_id, why)
        return await ledger.known(run_id)


async def _abandoned(connection: Connection, run_id: int, number: int, why: str) -> Run | None:
    ledger = Ledger(connection)
    if not await ledger.readable() or not await ledger.is_due(run_id, number):
        return None
    if (await ledger.known(run_id)).status is RunStatus.RUNNING:
        try:
            async with lease(connection, _DYING):
                await ledger.close_dead()
        except LeaseHeld:
            return None
    await ledger.abandon(run_id, why)
    return await ledger.known(run_id)


@asynccontextmanager
async def _conducting(settings: Settings, budget: Budget | None, witness: Witness | None) -> AsyncIterator[Conduct]:
    budget = budget or Budget(settings.budget)
    policy = policy_file.load(settings.policy)
    required(policy, settings)
    async with connected(settings, name="maintenance run") as connection:
        yield Conduct(
            connection=connection, ledger=Ledger(connection), settings=settings, policy=policy, budget=budget,
            witness=Witnesses([] if witness is None else [witness]),
        )  # fmt: skip


def _with_others(step: Step, others: OtherDeleters) -> Step:
    told = others.scheduled(step.table) if step.deletes else None
    return step if told is None else replace(step, summary=f"{step.summary}; {told}")


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
