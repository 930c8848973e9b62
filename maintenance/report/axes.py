"""Axes: where the labels of a plot stand."""

from __future__ import annotations

import math
from datetime import date, timedelta

SHORTEST = 14
"""Days that a plot shows at least, so that a young ledger does not fill it with one bar."""
_LABELS = 5
_STEPS = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200),
    *(86_400 * days for days in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
)  # fmt: skip
"""Of a time, in seconds."""
_TIMES = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 86_400.0, 10 * 86_400.0, 100 * 86_400.0)

_COUNTS = tuple(10.0**power for power in range(13))


def days(first: date, last: date) -> list[date]:
    """Every day of a plot."""
    first = min(first, last - timedelta(days=SHORTEST - 1))
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def labelled(all_days: list[date]) -> list[date]:
    """The days that are written below the plot: the last one, and others evenly before it."""
    apart = math.ceil(len(all_days) / _LABELS)
    return list(reversed(all_days[::-1][::apart]))


def ticks(most: float, unit: str) -> list[float]:
    """From zero on, in round steps, to the first that is not below the largest value."""
    step = _step(most / 4, unit)
    return [step * n for n in range(max(math.ceil(most / step - 1e-9), 1) + 1)]


def powers(least: float, most: float, unit: str) -> list[float]:
    """Round figures for a logarithmic axis, from one that is not above the least value to one not below the largest."""
    marks = _TIMES if unit == "seconds" else _COUNTS
    first = max([n for n, mark in enumerate(marks) if mark <= least], default=0)
    last = min([n for n, mark in enumerate(marks) if mark >= most], default=len(marks) - 1)
    return list(marks[min(first, last - 1) if last else 0 : max(last, 1) + 1])


def _step(about: float, unit: str) -> float:
    """The least round step that is not below `about`."""
    if unit == "seconds" and about > _STEPS[0]:
        found = [step for step in _STEPS if step >= about]
        if found:
            return found[0]
    least = {"rows": 1.0, "bytes": 1.0}.get(unit, 0.01)
    base = 1024.0 ** max(0, math.floor(math.log(max(about, 1.0), 1024))) if unit == "bytes" else 1.0
    about = max(about, least) / base
    power = 10.0 ** math.floor(math.log10(about) + 1e-9)
    return base * next(one * power for one in (1, 2, 5, 10) if one * power >= about * (1 - 1e-9))
