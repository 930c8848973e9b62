"""The situation: all that a report tells, as one frozen value that somebody else has gathered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from maintenance.bands import Band, Limits
from maintenance.findings import Finding
from maintenance.runs import Run

DAYS = 90
"""How far back the plots go."""
MOST_RUNS = 30
"""Runs that are told step by step."""
MOST_STEPS = 200
"""Steps of such a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleLag:
    """For how long the oldest row that a rule should have deleted had been due, when the rule was last at work."""

    task: str
    table: str
    summary: str
    seconds: float
    at: datetime
    run_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NextRun:
    """When a run is due, by one schedule that this machine can see."""

    name: str
    schedule: str
    """The expression, in the words of its scheduler."""
    source: str
    at: datetime | None
    """None where the expression tells no instant."""
    due: datetime | None = None
    """The last instant at which it was due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """A figure with limits in the policy."""

    name: str
    unit: str
    """`bytes`, `rows` or `seconds`."""
    value: float | None
    limits: Limits
    note: str = ""
    """Where the figure comes from, or why there is none."""

    @property
    def band(self) -> Band:
        """How it stands."""
        return self.limits.band(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One figure over time, at most one point a day, oldest first."""

    name: str
    points: tuple[tuple[date, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What the plots show, each a few curves; of many, those with the largest figures."""

    removed: tuple[Curve, ...] = ()
    durations: tuple[Curve, ...] = ()
    database_sizes: tuple[Curve, ...] = ()
    table_sizes: tuple[Curve, ...] = ()
    dead_rows: tuple[Curve, ...] = ()
    lags: tuple[Curve, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a report tells."""

    database: str
    server: str
    """Host and version, for a reader."""
    as_of: datetime
    """By the database's clock."""
    ledger: bool
    """Whether there is one, which the first run makes."""
    budget: float
    """Seconds that a slice of a run has here."""
    objective: float | None = None
    """Seconds of lag that the policy allows every rule; None where it does not say."""
    pause: str | None = None
    runs: tuple[Run, ...] = ()
    """The last ones, newest first, with their steps."""
    latest: tuple[Run, ...] = ()
    """The last run of each name, but for skipped ones, without steps."""
    begun: tuple[tuple[str, tuple[datetime, ...]], ...] = ()
    """When the last runs of each name began, newest first."""
    lags: tuple[RuleLag, ...] = ()
    """The longest first."""
    next_runs: tuple[NextRun, ...] = ()
    unscheduled: str | None = None
    """Why no next run is known."""
    gauges: tuple[Gauge, ...] = ()
    findings: tuple[Finding, ...] | None = None
    """What a look at the server has found; None where nobody has looked."""
    unseen: tuple[str, ...] = ()
    """What it could not look at, a sentence each."""
    course: Course = Course()

    def alarming(self) -> Iterator[Gauge]:
        """The gauges that are in warning or crisis, the worst first."""
        bad = [gauge for gauge in self.gauges if gauge.band.alarming]
        yield from sorted(bad, key=lambda gauge: gauge.band is not Band.CRISIS)
