"""Spans of a run and its steps, and with them its metrics and its log records."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

from opentelemetry.trace import Span, Status, StatusCode, Tracer, set_span_in_context, use_span

from maintenance import __version__
from maintenance.errors import UsageError
from maintenance.models import Batch, RunStatus, StepStatus, Verdict
from maintenance.runs import Run
from maintenance.settings import Settings
from maintenance.steps import Step
from maintenance.target import Target
from maintenance.telemetry import instruments as metrics
from maintenance.telemetry.events import About, Events
from maintenance.telemetry.exporters import Pipelines, configured
from maintenance.telemetry.instruments import Instruments
from maintenance.witness import Outcome

SCOPE = "maintenance"
_NOT_GOOD = (StepStatus.FAILED, StepStatus.BLOCKED)


def telemetry(settings: Settings, about: About) -> TelemetryWitness:
    """What sends the telemetry of a slice; OpenTelemetry is set up at the first call in a process, if that is ours."""
    pipelines = configured(settings.telemetry)
    database = _database(settings.target)
    tracer = pipelines.tracers.get_tracer(SCOPE, __version__)
    meter = pipelines.meters.get_meter(SCOPE, __version__)
    return TelemetryWitness(about, pipelines, tracer, Instruments(meter, database), database)


def _database(target: Target | None) -> dict[str, str | int]:
    """The database, by the semantic conventions.

    https://opentelemetry.io/docs/specs/semconv/database/postgresql/
    """
    attributes: dict[str, str | int] = {"db.system.name": "postgresql"}
    if target is not None:
        attributes["server.address"] = target.host
        attributes["server.port"] = target.port or 5432
        if target.database or target.user:
            attributes["db.namespace"] = target.database or target.user or ""
    return attributes


class TelemetryWitness(Events):
    """A slice of a run as spans, metrics and log records. Its span has connecting and planning in it, too."""

    def __init__(
        self,
        about: About,
        pipelines: Pipelines,
        tracer: Tracer,
        instruments: Instruments,
        database: dict[str, str | int],
    ) -> None:
        super().__init__(about)
        self._pipelines = pipelines
        self._tracer = tracer
        self._instruments = instruments
        self._database = database
        self._began = time.monotonic()
        self._began_at = time.time_ns()
        self._lags: dict[str, float] = {}
        self._steps: dict[tuple[str, str, str], Span] = {}
        self._span: Span | None = None

    def run_began(self, run_id: int, name: str, scheduler: str) -> None:
        """The run's span is named after the ledger's row."""
        self._run.set_attributes(
            {metrics.RUN_NAME: name, "maintenance.run.id": run_id, "maintenance.run.scheduler": scheduler}
        )
        with _within(self._run):
            super().run_began(run_id, name, scheduler)

    def began(self, step: Step) -> None:
        """The step's span begins."""
        self._steps[step.place] = self._started(step)

    def unseen(self, what: str) -> None:
        """Belongs to the run's span."""
        with _within(self._run):
            super().unseen(what)

    def held(self, step: Step, why: str) -> None:
        """Belongs to the step's span."""
        with _within(self._steps.get(step.place) or self._run):
            super().held(step, why)

    def advanced(self, step: Step, batch: Batch, rows: int, seconds: float) -> None:
        """Counted at once, so that a long step is seen to move."""
        about = (step.task, str(step.table))
        self._instruments.record(metrics.BATCHES, 1, *about)
        self._instruments.record(metrics.BATCH_DURATION, seconds, *about)
        for operation, amount in (("delete", batch.rows), ("update", batch.updated)):
            if amount:
                self._instruments.record(metrics.ROWS, amount, *about, operation)

    def ended(self, step: Step, verdict: Verdict, outcome: Outcome) -> None:
        """The step's span ends, and its figures are measured."""
        span = self._steps.pop(step.place, None) or self._started(step)
        with _within(span):
            super().ended(step, verdict, outcome)
        span.set_attributes(
            {
                metrics.STATUS: str(verdict.status),
                metrics.STOP_REASON: str(verdict.stop_reason),
                "maintenance.rows": outcome.rows,
                "maintenance.updated": outcome.updated,
                "maintenance.batches": outcome.batches,
                "maintenance.paused": outcome.paused,
            }
        )
        if verdict.sqlstate:
            span.set_attribute("db.response.status_code", verdict.sqlstate)
        if verdict.status in _NOT_GOOD:
            span.set_status(Status(StatusCode.ERROR, verdict.message))
        span.end()
        self._measure(step, verdict, outcome)

    def _measure(self, step: Step, verdict: Verdict, outcome: Outcome) -> None:
        table = str(step.table)
        record = self._instruments.record
        record(metrics.STOPS, 1, step.task, str(verdict.stop_reason))
        record(metrics.STEP_DURATION, outcome.seconds, step.task, table, str(verdict.status))
        record(metrics.PAUSED, outcome.paused, step.task, table)
        if outcome.table_bytes is not None:
            record(metrics.TABLE_SIZE, outcome.table_bytes, table)
        if outcome.lag is not None:
            # Of several rules on one table the worst counts.
            self._lags[table] = max(self._lags.get(table, 0.0), outcome.lag)
            record(metrics.LAG, self._lags[table], table)

    def run_ended(self, run: Run, database_bytes: int | None) -> None:
        """The run's span gets its end; it is closed with the block of the run."""
        self._run.set_attributes(
            {
                metrics.RUN_NAME: run.name,
                "maintenance.run.id": run.id,
                "maintenance.run.slice": run.slices,
                "maintenance.run.scheduler": run.scheduler,
                metrics.STATUS: str(run.status),
                metrics.STOP_REASON: str(run.stop_reason or ""),
                "maintenance.rows": run.rows,
            }
        )
        if run.status is RunStatus.FAILED:
            self._run.set_status(Status(StatusCode.ERROR, run.error))
        with _within(self._run):
            super().run_ended(run, database_bytes)
        self._counted(run.status)
        if database_bytes is not None:
            self._instruments.record(metrics.DATABASE_SIZE, database_bytes)

    def run_failed(self, error: BaseException) -> None:
        """Ends the steps that were going on; words that name no task are not a run, and not counted as one."""
        if self._about.run_id is not None:
            self._run.set_attribute("maintenance.run.id", self._about.run_id)
        going_on = [*self._steps.values(), self._run]
        for span in going_on:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR, str(error)))
        self._run.set_attribute(metrics.STATUS, str(RunStatus.FAILED))
        with _within(going_on[0]):
            super().run_failed(error)
        if not isinstance(error, UsageError):
            self._counted(RunStatus.FAILED)

    async def close(self) -> None:
        """End what is open and deliver, in 5 s at most: the process may be frozen or gone a moment later."""
        for span in self._steps.values():
            span.end()
        if self._span is not None:
            self._span.end()
        await self._pipelines.flush()

    @property
    def _run(self) -> Span:
        """Made when there is something to tell of: a message that came twice is no run."""
        if self._span is None:
            attributes = {metrics.RUN_NAME: self._about.name, **self._database}
            self._span = self._tracer.start_span("maintenance.run", start_time=self._began_at, attributes=attributes)
        return self._span

    def _started(self, step: Step) -> Span:
        about: dict[str, str | int] = {
            metrics.TASK: step.task,
            metrics.TABLE: str(step.table),
            "maintenance.strategy": step.strategy,
        }
        about |= self._database
        return self._tracer.start_span("maintenance.step", set_span_in_context(self._run), attributes=about)

    def _counted(self, status: RunStatus) -> None:
        self._instruments.record(metrics.RUNS, 1, self._about.name, str(status))
        self._instruments.record(metrics.RUN_DURATION, time.monotonic() - self._began, self._about.name, str(status))


def _within(span: Span) -> AbstractContextManager[Span]:
    """Log records written in the block belong to the span."""
    return use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False)
