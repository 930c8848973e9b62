"""A crew: steps done side by side, each connection busy with one of them, the next in turn going to whoever is free."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import replace

import asyncpg

from maintenance import switch
from maintenance.database import BOOKKEEPING, GLANCE, clock, connected, limit_statements
from maintenance.errors import DatabaseError
from maintenance.execution import Execution, Turn
from maintenance.ledger import Ledger
from maintenance.models import DONE, StopReason, Verdict
from maintenance.sql import statement
from maintenance.verdicts import failure
from maintenance.witness import Event

_LOG = logging.getLogger("maintenance")
_WATCH = 1.0
"""Seconds after which the run's connection, where it has nothing to do, is asked whether it is still there."""


class Crew:
    """The run's connection and those that it calls to its help. Which steps may be done side by side, they say."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._waiting: deque[Turn] = deque()
        self._coming: set[asyncio.Task[None] | None] = set()
        self.halt: Verdict | None = None
        """Why the steps that are left must not begin."""
        self._last: dict[str, Turn] = {}
        """Of each task the last step that was done."""

    async def work(self, turns: Iterable[Turn], jobs: int) -> None:
        """Do these steps in their order, up to `jobs` at a time.

        Raises:
            ConnectionLost, PostgresError, InterfaceError, OSError: one of the connections was lost. All that went on
                beside it has been stopped, and no connection but the run's is left.
        """
        self._waiting.extend(turns)
        lost: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                others = [group.create_task(self._help()) for _ in range(1, min(jobs, len(self._waiting)))]
                self._coming.update(others)
                await self._serve(self._execution)
                await self._watch(others)
        except BaseExceptionGroup as errors:
            lost = errors.exceptions[0]
        if lost is not None:
            raise lost

    async def close(self) -> None:
        """Do what is to be done once for all steps of a task; where it fails, the note of the last of them says so.

        Raises:
            PostgresError, InterfaceError, OSError: the connection was lost.
        """
        connection = self._execution.connection
        for turn in self._last.values():
            if turn.step.closing is None:
                continue
            try:
                await limit_statements(connection, max(self._execution.budget.left, GLANCE), local=False)
                await connection.execute(turn.step.closing)
            except asyncpg.PostgresError as error:
                said = failure(connection, error).message
                note = f"what is done once after all steps of {turn.step.task} failed, a later run does it: {said}"
                await self._execution.ledger.remark_step(turn.id, note)
            await limit_statements(connection, BOOKKEEPING, local=False)

    async def _help(self) -> None:
        """Open one more connection, and take turns until there are none."""
        settings = self._execution.settings
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(connected(settings, name="maintenance run"))
            except DatabaseError as error:
                _LOG.warning(
                    "One connection less than wanted, the run goes on with those it has: %s",
                    error,
                    extra={"event": Event.CONNECTION_MISSED, "run_id": self._execution.run_id},
                )
                return
            finally:
                self._coming.discard(asyncio.current_task())
            await connection.execute(statement("database", "commit_without_waiting"))
            own = replace(
                self._execution,
                connection=connection,
                ledger=Ledger(connection),
                brake=self._execution.brake.on(connection),
            )
            await self._serve(own)

    async def _serve(self, execution: Execution) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            verdict = await execution.step(turn, halt=self.halt)
            if verdict.stop_reason is StopReason.PAUSED:
                self.halt = self.halt or await switch.halt(execution.connection)
            if verdict == DONE:
                self._last[turn.step.task] = turn

    async def _watch(self, others: Iterable[asyncio.Task[None]]) -> None:
        """Wait for the others, and see that the lease, which the run's connection holds, is not lost meanwhile."""
        for task in self._coming:
            if task is not None:
                task.cancel()
        pending = set(others)
        while pending:
            _, pending = await asyncio.wait(pending, timeout=_WATCH)
            if pending:
                await clock(self._execution.connection)
