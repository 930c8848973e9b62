"""The batches of one step: inside the budget, each committed with its checkpoint, and retried."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from asyncpg import Connection
from asyncpg import exceptions as pg

from maintenance.budget import Budget
from maintenance.database import limit_statements
from maintenance.gate import Gate, Overrun
from maintenance.lag import Brake
from maintenance.ledger import Ledger
from maintenance.models import DONE, Batch, Cursor, Verdict
from maintenance.pace import Pace
from maintenance.steps import Step
from maintenance.tally import Tally
from maintenance.verdicts import ALMOST_OVER, OUT_OF_BUDGET, PAUSED, held
from maintenance.witness import Witness

SHARE = 0.4
"""Of the budget that is left, what a statement may take that could have been smaller."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """What the batches of one step are done with."""

    connection: Connection
    ledger: Ledger
    budget: Budget
    brake: Brake
    witness: Witness
    target: float
    """Seconds that a batch should take."""
    step: Step
    step_id: int
    tally: Tally
    gate: Gate

    async def done(self, cursor: Cursor | None) -> Verdict:
        """Do them as far as the budget goes and the gate lets them; how that ended.

        Raises:
            PostgresError, InterfaceError, OSError: the server refused one, or the connection was lost.
        """
        step, pace = self.step, Pace(self.step.limits, self.target)
        while True:
            size = pace.size_within(self.budget.left)
            if size is None:
                return OUT_OF_BUDGET
            began = time.monotonic()
            share = self.budget.left * (SHARE if step.divides(cursor) and size > step.limits[0] else 1.0)
            try:
                batch, paused = await self._batch(cursor, size, share)
            except (Overrun, pg.QueryCanceledError) as error:
                over = isinstance(error, Overrun)
                # Cut off by its own share of the budget, not by an operator: a smaller one may fit.
                cut_off = time.monotonic() - began > share * 0.9 and self.budget.left > ALMOST_OVER / 2
                if (over or cut_off) and step.divides(cursor) and pace.cut(size):
                    continue
                if over:
                    return self.gate.overrun()
                raise
            cursor = batch.cursor
            verdict = await self._counted(batch, pace, size, time.monotonic() - began) or _ended(batch, paused=paused)
            verdict = verdict or await self._held_back(batch, pace, size, time.monotonic() - began)
            if verdict is not None:
                return verdict

    async def _counted(self, batch: Batch, pace: Pace, size: int, seconds: float) -> Verdict | None:
        """Count a batch that was committed; why the step must not go on, or None."""
        if batch.paced:
            pace.took(size, seconds)
        self.tally.add(batch)
        self.witness.advanced(self.step, batch, self.tally.rows, seconds)
        return await self.gate.heard(batch)

    async def _held_back(self, batch: Batch, pace: Pace, size: int, seconds: float) -> Verdict | None:
        """Wait where others have to go first; the verdict where that took all the time that was left."""
        hold = await self.brake.after_batch(seconds, lambda why: self.witness.held(self.step, why))
        self.tally.paused += hold.seconds
        if hold.smaller and batch.paced:
            pace.halve(size)
        return hold.verdict

    async def _batch(self, cursor: Cursor | None, size: int, share: float) -> tuple[Batch, bool]:
        """One batch; when the application held what we wanted, we wait a little and try again as the one who yields."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._committed(cursor, size, share)
            except _YIELDS as error:
                if attempt == _ATTEMPTS or self.budget.left < _PAUSE * attempt:
                    raise
                past = self.step.past_locks(cursor) if isinstance(error, pg.LockNotAvailableError) else None
                cursor = past or cursor
                await asyncio.sleep(_PAUSE * attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _committed(self, cursor: Cursor | None, size: int, share: float) -> tuple[Batch, bool]:
        """One attempt at a batch, and whether somebody has paused all runs."""
        began = time.monotonic()
        step, archiver = self.step, self.tally.archiver
        transactional = step.in_transaction(cursor)
        async with AsyncExitStack() as stack:
            if archiver is not None:
                step = replace(step, deleter=archiver)
                await stack.enter_async_context(archiver.batch(self.connection))
            if transactional:
                await stack.enter_async_context(self.connection.transaction())
            # Outside a transaction too: time has gone since the step was given what was left.
            await limit_statements(self.connection, min(share, self.budget.left), local=transactional)
            batch = await step.batch(self.connection, cursor, size)
            if batch.done and not transactional:
                self.tally.unwritten += 1
                return batch, False
            self.gate.passes(batch, size)
            paused = await self.ledger.checkpoint(self.step_id, batch, time.monotonic() - began)
            if not batch.done:
                await self.brake.look(inside=True)
            return batch, paused
        raise AssertionError("unreachable: the block returns or raises")


def _ended(batch: Batch, *, paused: bool) -> Verdict | None:
    """The verdict on a step whose last batch this was; None where another one follows."""
    if batch.done:
        return held(batch.held) if batch.held else DONE
    return PAUSED if paused else None
