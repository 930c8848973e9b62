"""The states that several rows share."""

from __future__ import annotations

from benchmarks.state import State

DEVICES = 1_000
EVENTS = 1_500_000


def scaled(amount: float, scale: float, least: int = 1) -> int:
    """An amount at this scale."""
    return max(least, round(amount * scale))


def events(amount: float, scale: float) -> State:
    """A log of events, with an index on created_at besides ReportMate's own."""
    count = scaled(amount, scale, 200)
    return State(
        name=f"events_{count}",
        scripts=("devices", "events"),
        amounts=(("devices", scaled(DEVICES, scale, 20)), ("events", count), ("fixed", scaled(25_000, scale, 20))),
    )
