"""Witnesses: whoever wants to see a run while it goes on (a bar, a log, telemetry). They look and do not touch."""

from __future__ import annotations

from collections.abc import Sequence

from maintenance.models import Batch, Step, Verdict


class Witness:
    """Sees nothing; subclasses override what they care about."""

    def planned(self, steps: Sequence[Step]) -> None:
        """Steps are about to be done, in this order."""

    def began(self, step: Step) -> None:
        """A step begins."""

    def advanced(self, step: Step, batch: Batch, rows: int) -> None:
        """A batch is committed; `rows` are those of the step so far in this run."""

    def ended(self, step: Step, verdict: Verdict, rows: int) -> None:
        """A step is over."""
