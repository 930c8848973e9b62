"""Cost against size: in proportion to the rows that go, and regardless of those that stay where an index helps."""

from __future__ import annotations

from benchmarks.contenders import Policy, ours, peer
from benchmarks.figures import Growth
from benchmarks.measurement import Contender
from benchmarks.row import Row
from benchmarks.rows.retention import CREATED_AT
from benchmarks.rows.states import events, scaled, without_index
from benchmarks.site import Site

SIZES = (0.1, 0.3, 1.0, 3.0)
FULL = (*SIZES, 10.0)
"""Millions of events."""
HALF = "half expired, index"
HALF_PLAIN = "half expired, no index"
DELETE = "half expired, no index, one DELETE"
FIXED = "25,000 expired, index"
FIXED_PLAIN = "25,000 expired, no index"
CURVES = (HALF, HALF_PLAIN, DELETE, FIXED, FIXED_PLAIN)


def label(curve: str, millions: float) -> str:
    """The name of a contender."""
    return f"{millions:g} M, {curve}"


def of(site: Site, *, full: bool) -> tuple[float, ...]:
    """The sizes to look at: enough for a curve, or for a toy just two."""
    if site.toy:
        return SIZES[0], SIZES[-1]
    return FULL if full else SIZES


def rows(scale: float, sizes: tuple[float, ...]) -> tuple[Row, ...]:
    """One row."""
    return (
        Row(
            slug="sizes",
            title=f"cost against size, {sizes[0]} M to {sizes[-1]:g} M events",
            contenders=tuple(_contender(curve, millions, scale) for millions in sizes for curve in CURVES),
            figures=(
                _growth("growth with rows deleted, index", HALF, sizes, scale, 1.1),
                _growth("growth with rows deleted, no index", HALF_PLAIN, sizes, scale, 1.1),
                _growth("growth with rows kept, index", FIXED, sizes, scale, 0.1),
                _growth("growth with rows kept, no index", FIXED_PLAIN, sizes, scale, None),
            ),
            rounds=3,
        ),
    )


def _contender(curve: str, millions: float, scale: float) -> Contender:
    cut = "half" if curve.startswith("half") else "fixed"
    work = peer("one_delete", cut=cut) if curve == DELETE else ours(Policy(text=CREATED_AT, cut=cut), "retention")
    prepare = without_index if "no index" in curve else None
    name = label(curve, millions)
    state = events(millions * 1_000_000, scale)
    return Contender(name=name, state=state, prepare=prepare, work=work, leaves=f"{millions} {cut}")


def _growth(what: str, curve: str, sizes: tuple[float, ...], scale: float, most: float | None) -> Growth:
    points = tuple((label(curve, size), float(scaled(size * 1_000_000, scale, 200))) for size in sizes)
    metric = "seconds" if curve == DELETE else "work"
    return Growth(what=what, unit="ratio", metric=metric, sizes=points, most=most)
