"""Turns: which steps of a slice have one, in which order, and from where they go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby

from maintenance import switch
from maintenance.budget import spelled
from maintenance.crew import Crew
from maintenance.execution import Execution, Turn
from maintenance.models import Carried, Cursor, StepStatus, StopReason, Verdict
from maintenance.runs import StepResult
from maintenance.steps import Settled, Step
from maintenance.verdicts import OVERDUE

_AGAIN = (StopReason.BUDGET, StopReason.LOCK, StopReason.LAG, StopReason.PAUSED, StopReason.ERROR)
"""Why a step was interrupted that has another turn in the next slice of its run."""
_NOT_NEEDED = Verdict(status=StepStatus.ABSENT, stop_reason=StopReason.DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """The turns of a slice: which steps have one, in which order, from where."""

    execution: Execution
    earlier: Mapping[tuple[str, str, str], StepResult]
    """The run's steps in its slices before."""
    carried: dict[tuple[str, str, str], Carried] = field(default_factory=dict)
    seen: list[Step] = field(default_factory=list)

    async def take(self, steps: list[Step]) -> Verdict | None:
        """Give each step its turn that has not had its last; returns why the run has to stop, or None."""
        self.seen.extend(steps)
        # What an earlier run never came to goes first, or a large table could starve all those after it for ever.
        ordered = sorted(filter(self._has_a_turn, steps), key=lambda step: _turn(self.carried.get(step.place)))
        self.execution.witness.planned(ordered)
        async with self.execution.connection.transaction():
            turns = [await self._written(step) for step in ordered]
        crew = Crew(self.execution)
        for jobs, together in groupby(turns, key=lambda turn: turn.step.jobs):
            await crew.work(together, jobs)
        halt = crew.halt or await switch.halt(self.execution.connection)
        if halt is None:
            await crew.close()
        return halt

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
                await self.execution.ledger.end_step(step.id, _NOT_NEEDED, note=note, size=None, seconds=0)

    def missed(self, steps: tuple[StepResult, ...]) -> str | None:
        """Which of the steps left something for longer than its objective allows, in words; None where none did."""
        objectives = {step.place: step.objective for step in self.seen}
        for step in steps:
            objective = objectives.get(step.place)
            if objective is not None and step.lag_after is not None and step.lag_after > objective:
                said = OVERDUE.format(
                    task=step.task, table=step.table, rule=step.rule,
                    lag=spelled(step.lag_after), allowed=spelled(objective),
                )  # fmt: skip
                return f"{said}; {step.error}" if step.error else said
        return None

    def _resumed(self, step: Step) -> Cursor | None:
        before = self.carried.get(step.place)
        if (
            before is None
            or not before.unfinished
            or before.cursor is None
            or before.strategy != step.strategy
            or isinstance(step, Settled)
        ):
            return None
        return step.go_on(before.cursor) if step.place in self.earlier else step.resume(before.cursor)

    def _has_a_turn(self, step: Step) -> bool:
        before = self.earlier.get(step.place)
        return before is None or _unfinished(before)

    async def _written(self, step: Step) -> Turn:
        """The step's turn, once it is in the ledger."""
        earlier, cursor = self.earlier.get(step.place), self._resumed(step)
        if earlier is None:
            id_, batches, rows = await self.execution.ledger.add(self.execution.run_id, step, cursor), 0, 0
        else:
            id_, batches, rows = earlier.id, earlier.batches, earlier.rows
            await self.execution.ledger.add_again(id_, step, cursor)
        before = self.carried.get(step.place)
        return Turn(step=step, id=id_, cursor=cursor, batches=batches, rows=rows, before=before)


def _unfinished(step: StepResult) -> bool:
    return step.status is StepStatus.INTERRUPTED and step.stop_reason in _AGAIN


def _turn(before: Carried | None) -> tuple[bool, int]:
    """Sorts what an earlier run never came to in front of all else, the one that has waited longest first."""
    return (False, before.last_turn) if before is not None and before.unfinished and before.starved else (True, 0)
