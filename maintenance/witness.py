"""Witnesses: whoever wants to see a run while it goes on (a bar, a log, telemetry). They look and do not touch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from maintenance.models import Batch, Verdict
from maintenance.runs import Run
from maintenance.steps import Step

_LOG = logging.getLogger("maintenance")


class Event(StrEnum):
    """Names of the log records (their field `event`), for queries and alerts: they stay as they are."""

    TRIGGER_LATE = "trigger_late"
    RUN_BEGAN = "run_began"
    LIMIT_UNSEEN = "limit_unseen"
    HELD_BACK = "held_back"
    STEP_ENDED = "step_ended"
    RUN_ENDED = "run_ended"
    RUN_FAILED = "run_failed"
    TARGET_FAILED = "target_failed"
    SLICES_USED_UP = "slices_used_up"
    MESSAGE_STALE = "message_stale"
    MESSAGE_WAITS = "message_waits"
    MESSAGE_GIVEN_UP = "message_given_up"
    MESSAGE_UNKNOWN = "message_unknown"
    HTTP_REFUSED = "http_refused"
    HTTP_FAILED = "http_failed"
    CONNECTION_MISSED = "connection_missed"
    WITNESS_FAILED = "witness_failed"
    TELEMETRY_FAILED = "telemetry_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a step came to in this run, in figures."""

    rows: int = 0
    """Rows deleted."""
    updated: int = 0
    """Rows rewritten."""
    batches: int = 0
    seconds: float = 0.0
    table_bytes: int | None = None
    """Size of the table with its indexes, after the step; None where nobody could look."""
    lag: float | None = None
    """Seconds for which the oldest thing that should be gone has been due; None where that is not known."""
    lag_before: float | None = None
    """The same when the step began."""
    paused: float = 0.0
    """Of `seconds` those in which the run held back, for replicas, the WAL or sessions that wait."""


class Witness:
    """Sees nothing; subclasses override what they care about."""

    def run_began(self, run_id: int, name: str, scheduler: str) -> None:
        """A run, or the next slice of one, is written down and about to do its steps."""

    def unseen(self, what: str) -> None:
        """A limit of the policy is off in this slice, since our role cannot see what it limits."""

    def planned(self, steps: Sequence[Step]) -> None:
        """Steps are about to be done, in this order."""

    def began(self, step: Step) -> None:
        """A step begins."""

    def advanced(self, step: Step, batch: Batch, rows: int, seconds: float) -> None:
        """A batch is committed and took `seconds`; `rows` are those deleted by the step so far in this run."""

    def held(self, step: Step, why: str) -> None:
        """The run holds back, before a step or between two batches of it, since a limit of the policy is passed."""

    def ended(self, step: Step, verdict: Verdict, outcome: Outcome) -> None:
        """A step is over, also one that never began."""

    def run_ended(self, run: Run, database_bytes: int | None) -> None:
        """A slice is over, or the run was skipped, and the ledger has this; None where the size is not known."""


class Witnesses(Witness):
    """Passes on to several. One that raises is logged once and harms neither the run nor the others."""

    def __init__(self, witnesses: Iterable[Witness]) -> None:
        self._witnesses = tuple(witnesses)
        self._failed: set[int] = set()

    def run_began(self, run_id: int, name: str, scheduler: str) -> None:
        """To each."""
        self._tell(lambda witness: witness.run_began(run_id, name, scheduler))

    def unseen(self, what: str) -> None:
        """To each."""
        self._tell(lambda witness: witness.unseen(what))

    def planned(self, steps: Sequence[Step]) -> None:
        """To each."""
        self._tell(lambda witness: witness.planned(steps))

    def began(self, step: Step) -> None:
        """To each."""
        self._tell(lambda witness: witness.began(step))

    def advanced(self, step: Step, batch: Batch, rows: int, seconds: float) -> None:
        """To each."""
        self._tell(lambda witness: witness.advanced(step, batch, rows, seconds))

    def held(self, step: Step, why: str) -> None:
        """To each."""
        self._tell(lambda witness: witness.held(step, why))

    def ended(self, step: Step, verdict: Verdict, outcome: Outcome) -> None:
        """To each."""
        self._tell(lambda witness: witness.ended(step, verdict, outcome))

    def run_ended(self, run: Run, database_bytes: int | None) -> None:
        """To each."""
        self._tell(lambda witness: witness.run_ended(run, database_bytes))

    def _tell(self, call: Callable[[Witness], None]) -> None:
        for index, witness in enumerate(self._witnesses):
            try:
                call(witness)
            except (Exception, SystemExit) as error:
                if index in self._failed:
                    continue
                self._failed.add(index)
                # SystemExit is how rich ends a program whose reader has closed the pipe: he has seen enough.
                if not isinstance(error, SystemExit):
                    _LOG.warning(
                        "What watches the run is in trouble, the run goes on without it: %s: %r",
                        type(witness).__name__,
                        error,
                        extra={"event": Event.WITNESS_FAILED, "witness": type(witness).__name__},
                    )
