"""Tally: what a step has done in its turn."""

from __future__ import annotations

from dataclasses import dataclass

from maintenance.archive.archiver import Archiver
from maintenance.models import Batch
from maintenance.witness import Outcome


@dataclass(slots=True)
class Tally:
    """Counted while the step is done; the ledger and the witnesses hear of it in the end."""

    rows: int = 0
    updated: int = 0
    batches: int = 0
    before: int = 0
    """Batches of the run's earlier slices."""
    gone_before: int = 0
    """Rows that went in them."""
    paused: float = 0.0
    unwritten: int = 0
    """Batches that the ledger has yet to hear of."""
    size: int | None = None
    """Bytes of the table when the turn began."""
    note: str | None = None
    others: str | None = None
    """Who else deletes from the table."""
    archiver: Archiver | None = None
    """What the rows go through where the step has an archive."""
    lag: float | None = None
    """Retention lag when the turn began."""

    def add(self, batch: Batch) -> None:
        """One batch more."""
        self.rows += batch.rows
        self.updated += batch.updated
        self.batches += 1
        self.note = batch.note or self.note

    def remark(self, text: str | None) -> None:
        """One note more."""
        self.note = "; ".join(filter(None, (self.note, text))) or None

    @property
    def told(self) -> str | None:
        """All notes."""
        return "; ".join(filter(None, (self.note, self.others))) or None

    def outcome(self, seconds: float, size: int | None, lag: float | None) -> Outcome:
        """What the witnesses hear; `size` is that of the table by now, where somebody looked."""
        return Outcome(
            rows=self.rows, updated=self.updated, batches=self.batches, seconds=seconds,
            table_bytes=self.size if size is None else size, lag=lag, lag_before=self.lag,
            paused=self.paused,
        )  # fmt: skip
