"""Bands: good, watch, warning or crisis, by the limits that a policy sets for a figure of the database."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum

_BYTES = {"kB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
"""As PostgreSQL counts them. https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-DBSIZE"""
_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?(kB|MB|GB|TB)", re.ASCII)
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) (second|minute|hour|day)s?", re.ASCII)


class Band(StrEnum):
    """How a figure stands to its limits; `unknown` where nobody could measure it."""

    GOOD = "good"
    WATCH = "watch"
    WARNING = "warning"
    CRISIS = "crisis"
    UNKNOWN = "unknown"

    @property
    def alarming(self) -> bool:
        """Whether somebody should do something about it."""
        return self in (Band.WARNING, Band.CRISIS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where the bands of a figure begin, in its own unit: bytes, rows or seconds."""

    good: float
    """Below it the figure is good; from it on it is one to watch."""
    warning: float
    """Above it is a warning."""
    crisis: float | None = None
    """Above it is a crisis; None where nothing is."""

    def band(self, value: float | None) -> Band:
        """The band of a value; None is one that nobody knows."""
        if value is None:
            return Band.UNKNOWN
        if self.crisis is not None and value > self.crisis:
            return Band.CRISIS
        if value > self.warning:
            return Band.WARNING
        return Band.GOOD if value < self.good else Band.WATCH

    @property
    def ascending(self) -> bool:
        """Whether each band has room: the limits grow from one to the next."""
        return 0 < self.good <= self.warning <= (math.inf if self.crisis is None else self.crisis)


def bytes_in(text: object) -> int:
    """The bytes of a size such as `21GB`.

    Raises:
        ValueError: it is none.
    """
    found = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError("must be a size with its unit (kB, MB, GB or TB), such as '21GB'")
    return round(float(found[1]) * _BYTES[found[2]])


def seconds_in(text: object) -> float:
    """The seconds of a time such as `5 minutes`.

    Raises:
        ValueError: it is none.
    """
    found = _SPAN.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError("must be a time with its unit (seconds, minutes, hours or days), such as '5 minutes'")
    return float(found[1]) * _SECONDS[found[2]]
