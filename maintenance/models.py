"""The vocabulary of a run: what a batch did, how a step and a run ended, and what earlier ones left."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime


Cursor: TypeAlias = dict[str, int | str | None]
"""How far a step has come, in the words of its strategy; stored as JSON beside the batch's work."""


class RunStatus(StrEnum):
    """How a run stands. `interrupted` left work for the next run; it did not fail."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"


class StepStatus(StrEnum):
    """How a step stands. Only `succeeded` and `absent` count as nothing left to do."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    BLOCKED = "blocked"
    ABSENT = "absent"


class StopReason(StrEnum):
    """Why a run or a step ended."""

    DONE = "done"
    BUDGET = "budget"
    LOCK = "lock"
    LAG = "lag"
    GUARD = "guard"
    BLOCKED = "blocked"
    PAUSED = "paused"
    OBJECTIVE = "objective"
    LEASE = "lease"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An end that needs no batch, or cut the batches short: why, in words, and the server's SQLSTATE if it gave one."""

    status: StepStatus
    stop_reason: StopReason
    message: str | None = None
    sqlstate: str | None = None


DONE = Verdict(status=StepStatus.SUCCEEDED, stop_reason=StopReason.DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How much of its table a rule may take in one run; None where there is no limit."""

    max_rows: int | None = None
    max_fraction: float | None = None
    ramp: int | None = None
    """Rows a run for a rule that would take more; without it such a rule is stopped."""

    @property
    def limited(self) -> bool:
        """Whether anything has to be measured before the first row goes."""
        return self.max_rows is not None or (self.max_fraction is not None and self.max_fraction < 1)


UNLIMITED = Reach()


Query: TypeAlias = tuple[str, tuple[object, ...]]
"""A statement and its values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one bounded unit of work did, and where the next one starts."""

    rows: int = 0
    """Rows deleted."""
    updated: int = 0
    """Rows rewritten."""
    found: int | None = None
    """Rows that the step would delete in all, once it knows."""
    coming: int = 0
    """Rows, as far as is known, that the batches after it cannot but take once it is committed."""
    sure: bool = True
    """False where its rows are a guess, or left the table in an earlier batch: no limit is held against them."""
    held: int = 0
    """Rows that the step has passed over up to here, since others hold them."""
    cursor: Cursor | None = None
    done: bool
    progress: float | None = None
    """Share of the step's way that lies behind, 0 to 1; None where nobody can tell."""
    note: str | None = None
    """What a person should know of it, when rows do not tell."""
    paced: bool = True
    """False where its time says nothing of the next batch's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """How earlier attempts at a step ended, as far as the next one needs to know."""

    strategy: str
    cursor: Cursor | None
    starved: bool
    """Its run ended before it got its turn."""
    last_turn: int
    """Grows with the time of the last turn that it had; 0 where it never had one."""
    since: datetime
    """When it was last done; where it never was, when it was first tried."""
    unfinished: bool
    """The last attempt left something to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """How long a step took the last time that it had its turn."""

    seconds: float
    size: int
    """Bytes of its table, with indexes and TOAST, when it began."""
    cut: bool = False
    """It was not over by then: the budget was."""
    after: int | None = None
    """Bytes of the same when it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Where the rows of a step are stored before they go."""

    where: str
    """As the policy has it."""
    before: datetime | None
    """Archives of the same place that are older are removed; None where none is."""
