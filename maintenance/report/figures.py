"""Figures: numbers as a person reads them: `1.2 M`, `24 GB`, `3 min`, `2 days`."""

from __future__ import annotations

import math
from datetime import datetime

from maintenance.lines import line

_SPANS = ((86400.0, "day"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_SIZES = ("B", "kB", "MB", "GB", "TB")


def amount(number: float) -> str:
    """A count: `950`, `12.3 k`, `1.2 M`."""
    for least, step, unit in ((0.9995e9, 1e9, "G"), (0.9995e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(number) >= least:
            return f"{_short(number / step)} {unit}"
    return f"{number:,.0f}"


def size(number: float | None) -> str:
    """Bytes, in units of 1024 as PostgreSQL has them: `8.0 kB`, `24 GB`."""
    if number is None:
        return ""
    for unit in _SIZES:
        if abs(number) < 1023.5 or unit == _SIZES[-1]:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 99.5 else f"{_short(number)} {unit}"
        number /= 1024
    raise AssertionError(number)


def span(seconds: float) -> str:
    """A time: `0`, `20 ms`, `1.5 s`, `3 min`, `2 h`, `12 days`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.0005 else "0"
    for length, unit in _SPANS:
        if seconds >= length * 0.9995:
            number = seconds / length
            text = f"{number:.0f}" if number >= 10 else _short(number)
            return f"{text} {unit}{'s' if unit == 'day' and text != '1' else ''}"
    raise AssertionError(seconds)


def ago(then: datetime, now: datetime) -> str:
    """How long ago or ahead: `3 min ago`, `in 2 h`."""
    seconds = (now - then).total_seconds()
    if abs(seconds) < 1:
        return "just now"
    return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}"


def figure(value: float, unit: str) -> str:
    """A value in its unit: `bytes`, `seconds`, or a count of anything else."""
    return {"bytes": size, "seconds": span}.get(unit, amount)(value)


def instant(value: datetime) -> str:
    """`2026-11-28 02:00 UTC`."""
    return f"{value:%Y-%m-%d %H:%M} UTC"


def table(name: str) -> str:
    """A table without the schema that goes without saying, on one line."""
    return line(name.removeprefix("public."))


def _short(number: float) -> str:
    """Three digits at most, and no zero at the end that says nothing."""
    digits = 0 if abs(number) >= 99.5 else 1
    text = f"{number:.{digits}f}"
    return text.removesuffix(".0") if math.isfinite(number) else text
