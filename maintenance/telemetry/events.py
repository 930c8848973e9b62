"""Log records of a run: a sentence for people, and an event name with typed fields for queries."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from maintenance.models import RunStatus, StepStatus, Verdict
from maintenance.runs import Run
from maintenance.steps import Step
from maintenance.witness import Event, Outcome, Witness

_LOG = logging.getLogger("maintenance")
_STEP_LEVELS = {
    StepStatus.FAILED: logging.ERROR,
    StepStatus.BLOCKED: logging.ERROR,
    StepStatus.INTERRUPTED: logging.WARNING,
}
_RUN_LEVELS = {RunStatus.SUCCEEDED: logging.INFO, RunStatus.FAILED: logging.ERROR}


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Which run is watched, as far as that is known."""

    name: str
    run_id: int | None = None
    target: str | None = None
    """What a fleet's file calls the database."""


class Events(Witness):
    """Writes them to the logger `maintenance`."""

    def __init__(self, about: About) -> None:
        self._about = about
        self._held: set[tuple[str, str, str]] = set()

    def run_began(self, run_id: int, name: str, scheduler: str) -> None:
        """The run has an id from now on."""
        self._about = replace(self._about, run_id=run_id, name=name)
        self._log(logging.INFO, Event.RUN_BEGAN, f"Run {run_id} {name} began", scheduler=scheduler)

    def unseen(self, what: str) -> None:
        """A warning, as the policy asks for what is not done."""
        self._log(logging.WARNING, Event.LIMIT_UNSEEN, what)

    def held(self, step: Step, why: str) -> None:
        """One record a step, at the first time; how long it was in all, its last record says."""
        if step.place not in self._held:
            self._held.add(step.place)
            sentence = f"{step.task} {step.table} holds back: {why}"
            self._log(logging.INFO, Event.HELD_BACK, sentence, task=step.task, table=str(step.table))

    def ended(self, step: Step, verdict: Verdict, outcome: Outcome) -> None:
        """One record a step."""
        self._log(
            _STEP_LEVELS.get(verdict.status, logging.INFO),
            Event.STEP_ENDED,
            f"{step.task} {step.table} {verdict.status}: {outcome.rows} rows deleted. {verdict.message or ''}".rstrip(),
            task=step.task,
            table=str(step.table),
            strategy=step.strategy,
            status=str(verdict.status),
            stop_reason=str(verdict.stop_reason),
            rows=outcome.rows,
            updated=outcome.updated,
            batches=outcome.batches,
            seconds=outcome.seconds,
            paused=outcome.paused,
            table_bytes=outcome.table_bytes,
            lag_before=outcome.lag_before,
            lag=outcome.lag,
            sqlstate=verdict.sqlstate,
        )

    def run_ended(self, run: Run, database_bytes: int | None) -> None:
        """The last record of a run."""
        self._about = replace(self._about, run_id=run.id, name=run.name)
        self._log(
            _RUN_LEVELS.get(run.status, logging.WARNING),
            Event.RUN_ENDED,
            f"Run {run.id} {run.name} {run.status}: {run.rows} rows deleted. {run.error or ''}".rstrip(),
            scheduler=run.scheduler,
            status=str(run.status),
            stop_reason=str(run.stop_reason) if run.stop_reason else None,
            rows=run.rows,
            slice=run.slices,
            database_bytes=database_bytes,
        )

    def run_failed(self, error: BaseException) -> None:
        """The run could not begin, or broke off without an end in the ledger."""
        run = f"Run {self._about.run_id or '(not begun)'} {self._about.name}"
        sentence = f"{run} broke off: {str(error) or type(error).__name__}"
        self._log(logging.ERROR, Event.RUN_FAILED, sentence, error_type=type(error).__name__)

    async def close(self) -> None:
        """The block of the run is left."""

    def _log(self, level: int, event: Event, sentence: str, **fields: str | float | None) -> None:
        about = {"run_id": self._about.run_id, "run_name": self._about.name, "target": self._about.target}
        known = {key: value for key, value in {**about, **fields}.items() if value is not None}
        _LOG.log(level, "%s", sentence, extra={"event": str(event), **known})
