"""A measurement: what one contender took for its work on a fresh copy of a state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from benchmarks.meter import Meter
from benchmarks.state import Clone, State, States


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a contender knows of its own work. Durations are seconds."""

    longest: float | None = None
    """The longest transaction."""
    work: float | None = None
    """The steps alone, without connection, plan and ledger."""
    peak: int | None = None
    """Largest memory of the process, in bytes."""
    afterwards: float | None = None
    """What had to follow and is not part of the total."""
    latencies: tuple[float, ...] = ()
    """Of the check-ins that were due meanwhile."""
    capped: bool = False
    """Whether it was ended at its limit, so that its total is a lower bound."""


Work = Callable[[Clone, Meter], Awaitable[Effect]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Somebody's way to do the work of a row."""

    name: str
    state: State
    work: Work
    prepare: Callable[[Clone], Awaitable[None]] | None = None
    """What makes the state fit, before the clock starts."""
    leaves: str | None = None
    """Contenders of a row with the same word here must leave the same rows; None for all with the same state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Durations are seconds, from before the connection is opened until it is closed."""

    seconds: float
    wal: int
    """Bytes."""
    database: float | None
    """Seconds that the server planned and executed."""
    longest: float | None
    work: float | None
    peak: int | None
    afterwards: float | None
    latencies: tuple[float, ...]
    capped: bool
    left: dict[str, str] = field(default_factory=dict)


async def measured(contender: Contender, states: States) -> Measurement:
    """One contender on a fresh copy of its state."""
    async with states.cloned(contender.state) as clone:
        if contender.prepare is not None:
            await contender.prepare(clone)
        meter = Meter(clone)
        effect = await contender.work(clone, meter)
        left = {} if effect.capped else await clone.left()
        return Measurement(
            seconds=meter.seconds, wal=meter.wal, database=meter.database, longest=effect.longest, work=effect.work,
            peak=effect.peak, afterwards=effect.afterwards, latencies=effect.latencies, capped=effect.capped, left=left,
        )  # fmt: skip
