"""Runs: what is asked for, what it would do, and what the ledger has of it in the end."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.steps import Step

DEFAULT_GROUP = "daily-cleanup"
"""What is done where nobody names a task or a group."""


class Scheduler(StrEnum):
    """Who began a run, as the ledger's column `scheduler` has it; the procedures of pg_cron write theirs themselves."""

    FUNCTIONS = "functions"
    HTTP = "http"
    CONTAINER_JOB = "container_job"
    GITHUB_ACTIONS = "github_actions"
    PG_CRON = "pg_cron"
    CLI = "cli"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody asks for: tasks or groups, perhaps only some tables, and who asks."""

    names: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    scheduler: str = Scheduler.CLI
    requested_by: str | None = None
    """Who asked, as far as somebody vouches for it."""
    key: str | None = None
    """The same for all copies of one message, so that only one of them is taken up."""
    approve: str | None = None
    """The word that a plan ended with, which lets pass what limits would stop."""
    budget: float | None = None
    """Seconds that all slices of the run may take together; None where only their number is bounded."""

    @property
    def name(self) -> str:
        """The run's name in the ledger."""
        return " ".join(self.names) or DEFAULT_GROUP


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """A step as the ledger has it in the end."""

    id: int
    task: str
    table: str
    strategy: str
    status: StepStatus
    stop_reason: StopReason | None
    rows: int
    updated: int
    batches: int
    seconds: float
    paused: float
    """Of `seconds` those in which the run held back by the policy's [lag]."""
    bytes_before: int | None
    bytes_after: int | None
    summary: str
    note: str | None
    error: str | None
    sqlstate: str | None
    rule: str
    cursor: str | None
    lag_before: float | None = None
    """Seconds for which the oldest thing that should be gone had been due when the step began; None if not known."""
    lag_after: float | None = None
    """The same when it ended; 0 where nothing is left."""

    @property
    def place(self) -> tuple[str, str, str]:
        """What finds the same step in another slice or run."""
        return self.task, self.table, self.rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as the ledger has it."""

    id: int
    name: str
    status: RunStatus
    stop_reason: StopReason | None
    scheduler: str
    as_of: datetime
    started_at: datetime
    ended_at: datetime | None
    rows: int
    error: str | None
    tables: tuple[str, ...] = ()
    requested_by: str | None = None
    slices: int = 1
    """Turns that it had; a run longer than one budget goes on in another."""
    budget: float | None = None
    spent: float = 0.0
    """Seconds of its slices that have ended."""
    note: str | None = None
    """What a person should know of it that is no error."""
    approve: str | None = None
    """The word by which somebody let pass what limits would have stopped."""
    database_bytes: int | None = None
    """Size of the database when the run ended."""
    steps: tuple[StepResult, ...] = ()

    @property
    def request(self) -> Request:
        """What was asked for."""
        return Request(
            names=tuple(self.name.split()), tables=self.tables, scheduler=self.scheduler,
            requested_by=self.requested_by, budget=self.budget,
            # Its first slice has looked at it and written down what it is good for; the counts are others by now.
            approve=None if self.steps else self.approve,
        )  # fmt: skip

    @property
    def title(self) -> str:
        """Its name and, where it was for some tables only, the first of them."""
        if not self.tables:
            return self.name
        more = f" and {len(self.tables) - 2} more" if len(self.tables) > 2 else ""
        return f"{self.name} of {', '.join(self.tables[:2])}{more}"

    @property
    def progress(self) -> str:
        """Changes with whatever its steps get done; that a step was planned and had no time is nothing done."""
        state = [
            (step.id, step.status, step.rows, step.updated, step.cursor)
            for step in self.steps
            if step.batches or step.status is not StepStatus.INTERRUPTED
        ]
        return f"{zlib.crc32(repr(state).encode()):08x}"

    @property
    def left_over(self) -> bool:
        """Whether a step waits only for more time, or for a replica to catch up."""
        waits = (StopReason.BUDGET, StopReason.LAG)
        return any(step.status is StepStatus.INTERRUPTED and step.stop_reason in waits for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do at an instant."""

    as_of: datetime
    steps: tuple[Step, ...]
    approve: str | None = None
    """The word that approves what limits have stopped in it; None where they stopped nothing."""
