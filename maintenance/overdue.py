"""Overdue: retention lag, for how long the oldest thing that should be gone has been due, before and after a step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg
from asyncpg import Connection

from maintenance.database import GLANCE, limit_statements
from maintenance.models import Carried, StepStatus, Verdict
from maintenance.steps import Settled, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """One step's share of it, in seconds. Where no look at a glance tells, the ledger does: not done since when."""

    step: Step
    past: Carried | None
    """How earlier runs left it; None where none has tried."""
    as_of: datetime

    async def before(self, connection: Connection) -> float | None:
        """The lag as the step begins; None where nobody knows.

        What came to be due since a rule of age was last done is no older than that. Of other rules a violation is known
        only where an earlier run could not mend it, and that there is none is not known at all.
        """
        if self.step.lag_at_a_glance:
            try:
                async with connection.transaction():
                    await limit_statements(connection, GLANCE, local=True)
                    return await self.step.lag(connection, done=False)
            except asyncpg.PostgresError:
                if connection.is_closed():
                    raise
        if not self.step.deletes or self.past is None:
            return None
        return self._standing if self.past.unfinished or self.step.ages else None

    async def after(self, connection: Connection, verdict: Verdict) -> float | None:
        """The lag as the step ended, 0 where it left nothing; None where nobody knows, or no rule stands behind it.

        The session's statements must be limited to a glance.
        """
        if not self.step.deletes or verdict.status is StepStatus.ABSENT:
            return None
        done = verdict.status is StepStatus.SUCCEEDED
        try:
            lag = await self.step.lag(connection, done=done)
        except asyncpg.PostgresError:
            if connection.is_closed():
                raise
            # It wanted to look, so it may have left something, done or not.
            return self._standing
        if lag is not None:
            return lag
        return 0.0 if done else self._standing

    @property
    def left(self) -> float | None:
        """The lag of a step that had no turn, as far as the ledger knows."""
        if isinstance(self.step, Settled) and self.step.verdict.status is StepStatus.SUCCEEDED:
            return 0.0 if self.step.ruled else None
        return self._standing if self.step.deletes or (isinstance(self.step, Settled) and self.step.ruled) else None

    @property
    def _standing(self) -> float | None:
        """Since it was last done or, where it never was, first tried by an earlier run."""
        if self.past is None or self.past.since >= self.as_of:
            return None
        return (self.as_of - self.past.since).total_seconds()
