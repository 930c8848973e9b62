"""Execution of one step: whether it begins, its batches, and how it ends, in words whatever ended it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from asyncpg import Connection
from asyncpg import exceptions as pg

from maintenance.archive.session import archiving, tidied
from maintenance.batches import SHARE, Batches
from maintenance.budget import Budget
from maintenance.catalog import total_bytes
from maintenance.database import BOOKKEEPING, GLANCE, limit_statements, name_session
from maintenance.errors import ArchiveError, Blocked, GaveWay
from maintenance.gate import Gate
from maintenance.guards import Guards
from maintenance.lag import Brake
from maintenance.ledger import Ledger
from maintenance.models import DONE, Carried, Cursor, StepStatus, StopReason, Verdict
from maintenance.other_deleters import OtherDeleters
from maintenance.overdue import Overdue
from maintenance.refusals import first_line
from maintenance.settings import Settings
from maintenance.steps import Settled, Step
from maintenance.tally import Tally
from maintenance.verdicts import ALMOST_OVER, GONE, OUT_OF_BUDGET, PAUSED, by_guard, failure, put_off
from maintenance.witness import Witness

_SHORTEST_TURN = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A step that is to have its turn, as the ledger has it."""

    step: Step
    id: int
    cursor: Cursor | None
    batches: int
    """Those of the run's earlier slices."""
    rows: int
    """Those that went in them."""
    before: Carried | None
    """How earlier runs left it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What every step of a run is done with."""

    connection: Connection
    ledger: Ledger
    settings: Settings
    budget: Budget
    brake: Brake
    guards: Guards
    others: OtherDeleters
    witness: Witness
    run_id: int
    as_of: datetime
    idle: Mapping[tuple[str, str, str], str]
    """Rules that have deleted nothing for long, in words."""
    whole: float
    """Seconds of the budget when the first step had its turn: no later run has more for one, unless it is raised."""

    async def step(self, turn: Turn, *, halt: Verdict | None) -> Verdict:
        """Do a step as far as the budget goes, and write down how it ended; `halt` is why it must not even begin.

        Raises:
            PostgresError, InterfaceError, OSError: the connection was lost.
        """
        began, step = time.monotonic(), turn.step
        tally = Tally(before=turn.batches, gone_before=turn.rows)
        overdue = Overdue(step=step, past=turn.before, as_of=self.as_of)
        size, lag = None, overdue.left
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
            verdict = await self._judged(turn, tally, overdue)
            await limit_statements(self.connection, GLANCE, local=False)
            lag = await overdue.after(self.connection, verdict)
            if tally.batches:
                size = await self._size(step)
            else:
                await limit_statements(self.connection, BOOKKEEPING, local=False)
        if step.place in self.idle and verdict == DONE and not tally.rows:
            tally.remark(self.idle[step.place])
        seconds = time.monotonic() - began
        deleted = await self.ledger.deleted(step.oid) if tally.rows else None
        await self.ledger.end_step(
            turn.id, verdict, note=tally.told, deleted=deleted, size=size, seconds=seconds, paused=tally.paused,
            batches=tally.unwritten, lags=(tally.lag, lag),
        )  # fmt: skip
        self.witness.ended(step, verdict, tally.outcome(seconds, size, lag))
        return verdict

    async def _judged(self, turn: Turn, tally: Tally, overdue: Overdue) -> Verdict:
        """The work of a step, and its end in words whatever ended it."""
        try:
            return await self._begun(turn, tally, overdue)
        except (Blocked, ArchiveError) as error:
            return Verdict(status=StepStatus.BLOCKED, stop_reason=StopReason.BLOCKED, message=str(error))
        except GaveWay as error:
            reason = StopReason(error.reason)
            if reason is StopReason.BUDGET and not error.cut:
                await limit_statements(self.connection, BOOKKEEPING, local=False)
                await self.ledger.unbegin_step(turn.id)
            return Verdict(status=StepStatus.INTERRUPTED, stop_reason=reason, message=str(error))
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

    async def _begun(self, turn: Turn, tally: Tally, overdue: Overdue) -> Verdict:
        step = turn.step
        if self.budget.left < _SHORTEST_TURN:
            return OUT_OF_BUDGET
        await name_session(self.connection, f"maintenance run {self.run_id} {step.task} {step.table}", self.budget.left)
        hold = await self.brake.before_step(lambda why: self.witness.held(step, why))
        tally.paused += hold.seconds
        if hold.verdict is not None:
            return hold.verdict
        verdict = await self._written_down(turn, tally)
        if verdict is not None:
            return verdict
        tally.lag = await overdue.before(self.connection)
        stopped = await step.guard(self.connection)
        if stopped is not None:
            return by_guard(stopped)
        gate = Gate(guards=self.guards, step=step, earlier=tally.gone_before, begun=tally.gone_before > 0)
        verdict = await gate.verdict(self.budget.left * SHARE)
        if verdict is None:
            verdict = await self._worked(turn, tally, gate)
        return (await gate.kept(self.connection) or DONE) if verdict is DONE else verdict

    async def _written_down(self, turn: Turn, tally: Tally) -> Verdict | None:
        """Write down that the step begins, and look at its table; why it must not begin, or None."""
        try:
            now = await self.ledger.begin_step(turn.id, turn.step)
        except asyncpg.PostgresError:
            # The application's lock keeps even the size from us.
            if self.connection.is_closed():
                raise
            if self.budget.left < _SHORTEST_TURN:
                return OUT_OF_BUDGET
            now = await self.ledger.begin_step(turn.id, turn.step, sized=False)
            await limit_statements(self.connection, self.budget.left, local=False)
        if not now["there"]:
            return GONE
        tally.size = now["bytes"]
        if turn.step.deletes:
            tally.others = self.others.told(turn.step.table, now["deleted"])
        return PAUSED if now["paused"] else None

    async def _worked(self, turn: Turn, tally: Tally, gate: Gate) -> Verdict:
        """The batches of a step, through its archive where it has one."""
        step, cursor = turn.step, turn.cursor
        batches = Batches(
            connection=self.connection, ledger=self.ledger, budget=self.budget, brake=self.brake, witness=self.witness,
            target=self.settings.batch_target, step=step, step_id=turn.id, tally=tally, gate=gate,
        )  # fmt: skip
        if step.archive is None:
            return DONE if gate.is_done else await batches.done(cursor)
        async with archiving(self.connection, self.settings, self.run_id, step, turn.id) as tally.archiver:
            verdict = DONE if gate.is_done else await batches.done(cursor)
            await limit_statements(self.connection, BOOKKEEPING, local=False)
            told = await tidied(self.connection, tally.archiver, step, done=verdict == DONE)
        tally.remark(told)
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
