"""Execution of one step: batches inside the budget, each committed with its checkpoint, and retried."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import asyncpg
from asyncpg import Connection
from asyncpg import exceptions as pg

from maintenance.archive.archiver import Archiver
from maintenance.archive.session import archiving, tidied
from maintenance.budget import Budget
from maintenance.catalog import total_bytes
from maintenance.database import BOOKKEEPING, GLANCE, limit_statements, name_session
from maintenance.errors import ArchiveError, Blocked
from maintenance.gate import Gate, Overrun
from maintenance.guards import Guards
from maintenance.lag import Brake
from maintenance.ledger import Ledger
from maintenance.models import DONE, Batch, Cursor, Settled, Step, StepStatus, StopReason, Verdict
from maintenance.pace import Pace
from maintenance.refusals import first_line
from maintenance.settings import Settings
from maintenance.verdicts import ALMOST_OVER, GONE, OUT_OF_BUDGET, PAUSED, by_guard, failure, held, put_off
from maintenance.witness import Outcome, Witness

_YIELDS = (
    pg.LockNotAvailableError,
    pg.DeadlockDetectedError,
    pg.SerializationError,
    pg.ForeignKeyViolationError,
    pg.RestrictViolationError,
)
"""What the application wins: a lock that it holds, or a row that it has just referred to."""
_ATTEMPTS = 3
_PAUSE = 0.2
_SHORTEST_TURN = 0.05
_SHARE = 0.4
"""Of the budget that is left, what a batch may take that could have been smaller."""


@dataclass(slots=True)
class _Tally:
    rows: int = 0
    updated: int = 0
    batches: int = 0
    before: int = 0
    gone_before: int = 0
    paused: float = 0.0
    unwritten: int = 0
    """Batches that the ledger has yet to hear of."""
    size: int | None = None
    note: str | None = None
    archiver: Archiver | None = None
    """What the rows go through where the step has an archive."""

    def add(self, batch: Batch) -> None:
        """One batch more."""
        self.rows += batch.rows
        self.updated += batch.updated
        self.batches += 1
        self.note = batch.note or self.note


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What every step of a run is done with."""

    connection: Connection
    ledger: Ledger
    settings: Settings
    budget: Budget
    brake: Brake
    guards: Guards
    witness: Witness
    run_id: int
    whole: float
    """Seconds of the budget when the first step had its turn: no later run has more for one, unless it is raised."""

    async def step(
        self, step: Step, step_id: int, cursor: Cursor | None, *, halt: Verdict | None, batches: int, rows: int
    ) -> Verdict:
        """Do a step as far as the budget goes, and write down how it ended.

        `halt` is why it must not even begin; `batches` and `rows` are those of the run's earlier slices.

        Raises:
            PostgresError, InterfaceError, OSError: the connection was lost.
        """
        began = time.monotonic()
        tally = _Tally(before=batches, gone_before=rows)
        size = lag = None
        if isinstance(step, Settled):
            verdict = step.verdict
        elif halt is not None:
            verdict = halt
        elif self.budget.left <= 0:
            verdict = OUT_OF_BUDGET
        elif step.expected is not None and step.expected > self.budget.left:
            verdict = put_off(step, self.budget.left, self.whole)
        else:
            self.witness.began(step)
            verdict = await self._judged(step, step_id, cursor, tally)
            await limit_statements(self.connection, GLANCE, local=False)
            lag = await self._lag(step, verdict)
            if tally.batches:
                size = await self._size(step)
            else:
                await limit_statements(self.connection, BOOKKEEPING, local=False)
        seconds = time.monotonic() - began
        await self.ledger.end_step(
            step_id, verdict, note=tally.note, size=size, seconds=seconds, paused=tally.paused, batches=tally.unwritten
        )
        self.witness.ended(step, verdict, _outcome(tally, seconds, size, lag))
        return verdict

    async def _judged(self, step: Step, step_id: int, cursor: Cursor | None, tally: _Tally) -> Verdict:
        """The work of a step, and its end in words whatever ended it."""
        try:
            return await self._begun(step, step_id, cursor, tally)
        except (Blocked, ArchiveError) as error:
            return Verdict(status=StepStatus.BLOCKED, stop_reason=StopReason.BLOCKED, message=str(error))
        except pg.QueryCanceledError as error:
            return OUT_OF_BUDGET if self.budget.left < ALMOST_OVER else failure(self.connection, error)
        except pg.LockNotAvailableError as error:
            if tally.before + tally.batches == 0:
                return failure(self.connection, error)
            return Verdict(
                status=StepStatus.INTERRUPTED,
                stop_reason=StopReason.LOCK,
                message=f"{first_line(error)}; the application holds what is left, the next run goes on from here",
                sqlstate=error.sqlstate,
            )
        except asyncpg.PostgresError as error:
            return failure(self.connection, error)

    async def _begun(self, step: Step, step_id: int, cursor: Cursor | None, tally: _Tally) -> Verdict:
        if self.budget.left < _SHORTEST_TURN:
            return OUT_OF_BUDGET
        await name_session(self.connection, f"maintenance run {self.run_id} {step.task} {step.table}", self.budget.left)
        hold = await self.brake.before_step(lambda why: self.witness.held(step, why))
        tally.paused += hold.seconds
        if hold.verdict is not None:
            return hold.verdict
        try:
            now = await self.ledger.begin_step(step_id, step)
        except asyncpg.PostgresError:
            # The application's lock keeps even the size from us.
            if self.connection.is_closed():
                raise
            if self.budget.left < _SHORTEST_TURN:
                return OUT_OF_BUDGET
            now = await self.ledger.begin_step(step_id, step, sized=False)
            await limit_statements(self.connection, self.budget.left, local=False)
        if not now["there"]:
            return GONE
        if now["paused"]:
            return PAUSED
        tally.size = now["bytes"]
        stopped = await step.guard(self.connection)
        if stopped is not None:
            return by_guard(stopped)
        gate = Gate(guards=self.guards, step=step, earlier=tally.gone_before, begun=tally.before > 0)
        verdict = await gate.verdict(self.budget.left * _SHARE)
        if verdict is None:
            verdict = await self._worked(step, step_id, cursor, tally, gate)
        return (await gate.kept(self.connection) or DONE) if verdict is DONE else verdict

    async def _worked(self, step: Step, step_id: int, cursor: Cursor | None, tally: _Tally, gate: Gate) -> Verdict:
        """The batches of a step, through its archive where it has one."""
        if step.archive is None:
            return DONE if gate.is_done else await self._batches(step, step_id, cursor, tally, gate)
        async with archiving(self.connection, self.settings, self.run_id, step, step_id) as tally.archiver:
            verdict = DONE if gate.is_done else await self._batches(step, step_id, cursor, tally, gate)
            await limit_statements(self.connection, BOOKKEEPING, local=False)
            told = await tidied(self.connection, tally.archiver, step, done=verdict == DONE)
        tally.note = "; ".join(filter(None, (tally.note, told))) or None
        return verdict

    async def _size(self, step: Step) -> int | None:
        """Bytes of the table, or None where they cannot be told at a glance; then there is time for the ledger."""
        try:
            return await total_bytes(self.connection, step.oid, BOOKKEEPING)
        except asyncpg.PostgresError:
            if self.connection.is_closed():
                raise
            await limit_statements(self.connection, BOOKKEEPING, local=False)
            return None

    async def _lag(self, step: Step, verdict: Verdict) -> float | None:
        """The step's lag, or None where it cannot be told at a glance."""
        if verdict.status is StepStatus.ABSENT:
            return None
        try:
            return await step.lag(self.connection, done=verdict.status is StepStatus.SUCCEEDED)
        except asyncpg.PostgresError:
            if self.connection.is_closed():
                raise
            return None

    async def _batches(self, step: Step, step_id: int, cursor: Cursor | None, tally: _Tally, gate: Gate) -> Verdict:
        pace = Pace(step.limits, self.settings.batch_target)
        while True:
            size = pace.size_within(self.budget.left)
            if size is None:
                return OUT_OF_BUDGET
            began = time.monotonic()
            share = self.budget.left * (_SHARE if step.divides(cursor) and size > step.limits[0] else 1.0)
            try:
                batch, paused = await self._batch(step, step_id, cursor, tally, size, share, gate)
            except (Overrun, pg.QueryCanceledError) as error:
                # Cut off by its own share of the budget, not by an operator: a smaller one may fit.
                fits = isinstance(error, Overrun) or (
                    time.monotonic() - began > share * 0.9 and self.budget.left > ALMOST_OVER / 2
                )
                if fits and step.divides(cursor) and pace.cut(size):
                    continue
                if isinstance(error, Overrun):
                    return gate.overrun()
                raise
            seconds = time.monotonic() - began
            if batch.paced:
                pace.took(size, seconds)
            cursor = batch.cursor
            tally.add(batch)
            self.witness.advanced(step, batch, tally.rows, seconds)
            verdict = await gate.heard(batch) or _ended(batch, paused=paused)
            if verdict is not None:
                return verdict
            hold = await self.brake.after_batch(seconds, lambda why: self.witness.held(step, why))
            tally.paused += hold.seconds
            if hold.verdict is not None:
                return hold.verdict
            if hold.smaller and batch.paced:
                pace.halve(size)

    async def _batch(
        self, step: Step, step_id: int, cursor: Cursor | None, tally: _Tally, size: int, share: float,
        gate: Gate,
    ) -> tuple[Batch, bool]:  # fmt: skip
        """One batch; when the application held what we wanted, we wait a little and try again as the one who yields."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._committed(step, step_id, cursor, tally, size, share, gate)
            except _YIELDS as error:
                if attempt == _ATTEMPTS or self.budget.left < _PAUSE * attempt:
                    raise
                past = step.past_locks(cursor) if isinstance(error, pg.LockNotAvailableError) else None
                cursor = past or cursor
                await asyncio.sleep(_PAUSE * attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _committed(
        self, step: Step, step_id: int, cursor: Cursor | None, tally: _Tally, size: int, share: float,
        gate: Gate,
    ) -> tuple[Batch, bool]:  # fmt: skip
        began = time.monotonic()
        transactional = step.in_transaction(cursor)
        async with AsyncExitStack() as stack:
            if tally.archiver is not None:
                step = replace(step, deleter=tally.archiver)
                await stack.enter_async_context(tally.archiver.batch(self.connection))
            if transactional:
                await stack.enter_async_context(self.connection.transaction())
                await limit_statements(self.connection, min(share, self.budget.left), local=True)
            batch = await step.batch(self.connection, cursor, size)
            if batch.done and not transactional:
                tally.unwritten += 1
                return batch, False
            gate.passes(batch, size)
            paused = await self.ledger.checkpoint(step_id, batch, time.monotonic() - began)
            if not batch.done:
                await self.brake.look(inside=True)
            return batch, paused
        raise AssertionError("unreachable: the block returns or raises")


def _ended(batch: Batch, *, paused: bool) -> Verdict | None:
    """The verdict on a step whose last batch this was; None where another one follows."""
    if batch.done:
        return held(batch.held) if batch.held else DONE
    return PAUSED if paused else None


def _outcome(tally: _Tally, seconds: float, size: int | None, lag: float | None) -> Outcome:
    return Outcome(
        rows=tally.rows, updated=tally.updated, batches=tally.batches, seconds=seconds,
        table_bytes=tally.size if size is None else size, lag=lag, paused=tally.paused,
    )  # fmt: skip
