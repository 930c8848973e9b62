"""The states that several rows share."""

from __future__ import annotations

from benchmarks.state import Clone, State

DEVICES = 1_000
EVENTS = 1_500_000
FIXED = 25_000
"""Expired rows where the cost of those that stay is looked at."""
POLICIES = 66_000
STALE = 47_699
"""Policies that nobody names, as ReportMate's first clean-up found them."""


def scaled(amount: float, scale: float, least: int = 1) -> int:
    """An amount at this scale."""
    return max(least, round(amount * scale))


def events(amount: float, scale: float) -> State:
    """A log of events, with an index on created_at besides ReportMate's own."""
    count = scaled(amount, scale, 200)
    return State(
        name=f"events_{count}",
        scripts=("devices", "events"),
        amounts=(_devices(scale), ("events", count), ("fixed", scaled(FIXED, scale, 20))),
    )


def catalog(name: str, stale: int, scale: float) -> State:
    """A catalog of policies, and a profile a device that names 80 of them."""
    return State(name=name, scripts=("devices", "catalog"), amounts=(_devices(scale), *_policies(stale, scale)))


def fleet(scale: float) -> State:
    """All of it: the log, the module tables with duplicates and orphans, the catalog."""
    log = events(EVENTS, scale)
    return State(
        name="fleet",
        scripts=(*log.scripts, "modules", "catalog"),
        amounts=(*log.amounts, *_policies(STALE, scale)),
    )


async def without_index(clone: Clone) -> None:
    """Take the index on created_at away, which ReportMate does not have."""
    await clone.execute("drop index idx_events_created_at")


def _devices(scale: float) -> tuple[str, int]:
    return "devices", scaled(DEVICES, scale, 20)


def _policies(stale: int, scale: float) -> tuple[tuple[str, int], ...]:
    return ("policies", scaled(POLICIES, scale, 20)), ("stale", scaled(stale, scale, 2))
