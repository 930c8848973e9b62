"""The gate of a step: what the guards say before its first row goes, while rows go, and when none is left."""

from __future__ import annotations

from dataclasses import dataclass, replace

from asyncpg import Connection

from maintenance.guards import Admission, Guards, Measure
from maintenance.models import Batch, Verdict
from maintenance.names import Fragment
from maintenance.sql import statement
from maintenance.steps import Step
from maintenance.verdicts import blocked, by_guard

_FILE = "guards"
_OPEN = Admission()


class Overrun(Exception):
    """A batch would go beyond what the step may delete; raised inside its transaction, so that it never was."""


@dataclass(slots=True, kw_only=True)
class Gate:
    """One step in its turn."""

    guards: Guards
    step: Step
    earlier: int
    """Rows that the run's earlier slices deleted in this step."""
    begun: bool
    """Whether there were any: one that has deleted nothing may have died before it knew how much would go."""
    gone: int = 0
    admission: Admission = _OPEN

    async def verdict(self, patience: float) -> Verdict | None:
        """Why the step must not begin, or None; `patience` is how long a count may take, in seconds."""
        guards = replace(self.guards, patience=min(self.guards.patience, patience))
        return self._said(await guards.admission(self.step, begun=self.begun))

    @property
    def is_done(self) -> bool:
        """Whether it is certain that nothing would go, so that the step need not look for it again."""
        measure = self.admission.measure
        none = measure is not None and measure.exact and not measure.going
        return none and self.step.only_deletes

    def passes(self, batch: Batch, size: int) -> None:
        """Look at a batch of a `size` that is about to be committed.

        Raises:
            Overrun: it goes too far.
        """
        most, behind = self.admission.most, self.gone + (self.earlier if self.admission.ramp else 0)
        rows = (batch.rows if batch.sure else 0) + (batch.coming if self.admission.ramp else 0)
        too_far = most is not None and rows > 0 and behind + rows > most
        # Else a ramp that is less than the smallest batch would never get anywhere.
        at_least_one = self.admission.ramp and not behind and size <= self.step.limits[0]
        if too_far and not at_least_one:
            raise Overrun

    async def heard(self, batch: Batch) -> Verdict | None:
        """Count a batch that was committed; why the step must not go on that has just found out how much would go."""
        self.gone += batch.rows
        if batch.found is None or self.begun or not self.step.reach.limited:
            return None
        cascades = await self.guards.cascades(self.step) if batch.found else ()
        measure = Measure(going=batch.found, cascades=cascades)
        return self._said(await self.guards.judged(self.step, measure, self.admission.obstacle))

    def overrun(self) -> Verdict:
        """The verdict on a step that came to the end of what it may delete."""
        if self.admission.ramp:
            return by_guard(
                f"{self.earlier + self.gone:,} rows went, and the rule has ramp = {self.step.reach.ramp}: the next "
                "run takes as many"
            )
        measured = self.admission.measure.going if self.admission.measure else 0
        return by_guard(
            f"{self.gone:,} rows went where {measured:,} were measured, and still more would have gone: something "
            "makes more of them while they are deleted; look at what has changed, the next run measures anew"
        )

    async def kept(self, connection: Connection) -> Verdict | None:
        """Why the step is not done although it came to its end: something has kept its rows."""
        obstacle = self.admission.obstacle
        if obstacle is None or not obstacle.triggers:
            return None
        query = self.step.counting(Fragment(""), whole=False)
        left = await connection.fetchval(query[0], *query[1]) if query else 0
        if not left or not await self._stays(connection):
            return None
        return blocked(
            f"{left:,} rows that should be gone are still there: the trigger {', '.join(obstacle.triggers)} runs "
            f"before each delete on {self.step.table} and keeps them; change the trigger, or give the rule a `where`"
        )

    async def _stays(self, connection: Connection) -> bool:
        """Whether a delete leaves some of what is left where it is; what the application has just written, it does not.

        That delete is rolled back.
        """
        doomed = self.step.doomed(["ctid"])
        if doomed is None:
            return True
        some = await connection.fetch(statement(_FILE, "some_left", doomed=Fragment(doomed[0])), *doomed[1])
        places = [row["address"] for row in some]
        table = self.step.table.sql
        probe = connection.transaction()
        await probe.start()
        try:
            await connection.execute(statement(_FILE, "probe", table=table), places)
            return bool(await connection.fetchval(statement(_FILE, "still_there", table=table), places))
        finally:
            await probe.rollback()

    def _said(self, admission: Admission) -> Verdict | None:
        self.admission = admission
        if admission.blocked is not None:
            return blocked(admission.blocked)
        return None if admission.stopped is None else by_guard(admission.stopped)
