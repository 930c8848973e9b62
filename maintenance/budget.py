"""The budget: how long a run may take, and how much of it is left."""

from __future__ import annotations

import time
from collections.abc import Callable


def spelled(seconds: float) -> str:
    """A duration in words, no more exact than a reader needs: `40 s`, `14 min`, `2 h 30 min`, `12 days`."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    days = minutes / 60 / 24
    return f"{days:.0f} days" if days >= 10 else f"{days:.1f} days".replace(".0", "")


def roughly(seconds: float) -> str:
    """A duration that is no more than an estimate, in words."""
    return f"about {spelled(seconds)}" if seconds >= 1 else spelled(seconds)


class Budget:
    """Seconds from now; `cut` ends it early, so that a stop signal ends the run after the batch at hand."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start counting."""
        self._clock = clock
        self._deadline = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self._deadline - self._clock())

    def limit(self, seconds: float) -> None:
        """At most so much is left from now on."""
        self._deadline = min(self._deadline, self._clock() + max(0.0, seconds))

    def cut(self) -> None:
        """Nothing is left from now on."""
        self._deadline = self._clock()
