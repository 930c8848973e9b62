"""The rows of the table, in its order."""

from __future__ import annotations

from benchmarks.row import Row
from benchmarks.rows import (
    catalog,
    checkins,
    duplicates,
    memory,
    nightly,
    orphans,
    partitions,
    retention,
    sizes,
    vacuum,
)
from benchmarks.site import Site


def rows(scale: float, site: Site, *, full: bool) -> tuple[Row, ...]:
    """All rows; `scale` multiplies the amounts of rows, `full` adds the largest sizes."""
    return (
        *retention.rows(scale),
        *catalog.rows(scale, full=full),
        *orphans.rows(scale),
        *duplicates.rows(scale),
        *nightly.rows(scale),
        *partitions.rows(scale, full=full),
        *vacuum.rows(scale, site),
        *checkins.rows(scale),
        *sizes.rows(scale, sizes.of(site, full=full)),
        *memory.rows(scale, sizes.of(site, full=full)),
    )
