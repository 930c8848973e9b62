"""Figures: what is read from the measurements of a row, and how large it may be."""

from __future__ import annotations

import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.measurement import Measurement

Measured = Mapping[str, Sequence[Measurement]]
"""The measurements of a row, by contender, in the order of the rounds."""
PERCENTILES = {"p50": 0.5, "p99": 0.99, "worst": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a figure came to; None where it could not be measured."""

    value: float | None
    ours: float | None
    peer: float | None = None
    capped: bool = False
    """Whether the peer was ended at its limit, so that the value is an upper bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure(ABC):
    """One figure of a row."""

    what: str
    most: float | None = None
    """What it must not exceed; None where it is only shown."""
    unit: str = "ratio"

    @abstractmethod
    def of(self, measured: Measured) -> Reading:
        """The figure in these measurements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio(Figure):
    """The median of ours / peer, round by round; a peer that ran once is compared with every round of ours."""

    metric: str = "seconds"
    ours: str = "ours"
    peer: str

    def of(self, measured: Measured) -> Reading:
        """The median ratio."""
        if self.metric in PERCENTILES:
            mine, theirs = pooled(measured[self.ours], self.metric), pooled(measured[self.peer], self.metric)
            value = mine / theirs if mine is not None and theirs else None
            return Reading(value=value, ours=mine, peer=theirs)
        own, other = values(measured[self.ours], self.metric), values(measured[self.peer], self.metric)
        if not own or not other:
            return Reading(value=None, ours=None)
        pairs = zip(own, [*other, *[statistics.median(other)] * (len(own) - len(other))], strict=False)
        capped = any(one.capped for one in measured[self.peer])
        return Reading(
            value=statistics.median(a / b for a, b in pairs if b), ours=statistics.median(own),
            peer=statistics.median(other), capped=capped,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount(Figure):
    """The median itself, in the figure's unit."""

    metric: str = "seconds"
    ours: str = "ours"

    def of(self, measured: Measured) -> Reading:
        """The median."""
        if self.metric in PERCENTILES:
            value = pooled(measured[self.ours], self.metric)
        else:
            found = values(measured[self.ours], self.metric)
            value = statistics.median(found) if found else None
        return Reading(value=value, ours=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth(Figure):
    """How a cost grows with the size: 1 is in proportion to it, 0 not at all. The slope of the logarithms."""

    metric: str = "work"
    sizes: tuple[tuple[str, float], ...]
    """Each contender, and the size of its work."""

    def of(self, measured: Measured) -> Reading:
        """The slope of a line through all sizes."""
        points = [(size, values(measured[name], self.metric)) for name, size in self.sizes]
        known = [(math.log(size), math.log(statistics.median(found))) for size, found in points if found]
        if len(known) < 2:
            return Reading(value=None, ours=None)
        slope, _ = statistics.linear_regression(*zip(*known, strict=True))
        return Reading(value=slope, ours=None)


def values(measurements: Sequence[Measurement], metric: str) -> list[float]:
    """That of each round which has one."""
    return [value for one in measurements if (value := getattr(one, metric)) is not None]


def pooled(measurements: Sequence[Measurement], metric: str) -> float | None:
    """A percentile of the latencies of all rounds together."""
    latencies = sorted(latency for one in measurements for latency in one.latencies)
    if not latencies:
        return None
    return latencies[min(len(latencies) - 1, math.ceil(PERCENTILES[metric] * len(latencies)) - 1)]
