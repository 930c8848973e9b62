"""A situation in which all is well, for tests to spoil."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.report.situation import Course, Curve, RuleLag, Situation
from maintenance.runs import Run, StepResult

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
_BEGAN = NOW - timedelta(hours=6)
STEP = StepResult(
    id=1, task="retention", table="public.events", strategy="keyset", status=StepStatus.SUCCEEDED,
    stop_reason=StopReason.DONE, rows=1200, updated=0, batches=3, seconds=1.5, paused=0.0, bytes_before=2**30,
    bytes_after=2**30, summary="created_at before then", note=None, error=None, sqlstate=None, rule="r", cursor=None,
)  # fmt: skip
RUN = Run(
    id=7, name="daily-cleanup", status=RunStatus.SUCCEEDED, stop_reason=StopReason.DONE, scheduler="timer",
    as_of=_BEGAN, started_at=_BEGAN, ended_at=_BEGAN + timedelta(seconds=2), rows=1200, error=None, spent=2.0,
    database_bytes=2**31, steps=(STEP,),
)  # fmt: skip
_POINTS = tuple((NOW.date() - timedelta(days=n), 100.0 + n) for n in range(19, -1, -1))
SITUATION = Situation(
    database="reportmate", server="PostgreSQL 17.1 on db", as_of=NOW, ledger=True, budget=480.0, runs=(RUN,),
    latest=(RUN,), begun=(("daily-cleanup", (_BEGAN,)),),
    lags=(RuleLag(task="retention", table="public.events", summary="x", seconds=0.0, at=_BEGAN, run_id=7),),
    unscheduled="this machine has no schedule", course=Course(removed=(Curve(name="retention", points=_POINTS),)),
)  # fmt: skip
