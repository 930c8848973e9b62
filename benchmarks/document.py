"""The document of a benchmark: what `--json` writes, and what the table, the plot and the page are drawn from."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks.figures import PERCENTILES, Figure, Reading, pooled, values
from benchmarks.measurement import Measurement
from benchmarks.row import LONG, Result, Row
from benchmarks.site import Site

Document = dict[str, Any]
_METRICS = ("seconds", "longest", "work", "database", "wal", "peak", "afterwards")


async def head(site: Site, *, scale: float, full: bool, rounds: int | None) -> Document:
    """What a reader needs to know of the circumstances, and no rows yet."""
    return {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d"),
        "scale": scale,
        "full": full,
        "rounds": rounds,
        "machine": {
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "load": round(os.getloadavg()[0], 1),
        },
        "server": await site.settings(),
        "statements_counted": site.counts_statements,
        "seconds": 0,
        "rows": [],
    }


def row_document(result: Result) -> Document:
    """`{slug, title, absent, contenders, figures}`; durations are seconds, sizes bytes."""
    row = result.row
    return {
        "slug": row.slug,
        "title": row.title,
        "absent": row.absent,
        "contenders": [_contender(name, found) for name, found in result.measured.items()],
        "figures": [_figure(figure, reading) for figure, reading in result.readings()],
    }


def missing(row: Row) -> Document:
    """A row that cannot be measured here."""
    return row_document(Result(row=row, measured={}))


def text(document: Document) -> str:
    """The document as JSON; what has nothing below it is one line, so that a change of one measurement is one too."""
    innermost = re.compile(r"[\[{][^\[\]{}]*[\]}]")
    return innermost.sub(lambda match: " ".join(match[0].split()), json.dumps(document, indent=1)) + "\n"


def _contender(name: str, found: Sequence[Measurement]) -> Document:
    medians = {metric: known for metric in _METRICS if (known := _median(found, metric)) is not None}
    latencies = {name: value for name in PERCENTILES if (value := pooled(found, name)) is not None}
    return {
        "name": name,
        "rounds": len(found),
        "once": len(found) == 1 and found[0].seconds > LONG,
        "capped": any(one.capped for one in found),
        "median": {name: _rounded(value) for name, value in (medians | latencies).items()},
        "rows_left": {table: left for table, left in found[-1].left.items() if not left.startswith("0 ")}
        if found
        else {},
        "runs": [
            {metric: _rounded(value) for metric in _METRICS if (value := getattr(one, metric)) is not None}
            for one in found
        ],
    }


def _figure(figure: Figure, reading: Reading) -> Document:
    return {
        "what": figure.what,
        "metric": getattr(figure, "metric", None),
        "unit": figure.unit,
        "contender": getattr(figure, "ours", None),
        "peer": getattr(figure, "peer", None),
        "value": _rounded(reading.value),
        "ours": _rounded(reading.ours),
        "theirs": _rounded(reading.peer),
        "capped": reading.capped,
        "most": figure.most,
        "holds": None if figure.most is None or reading.value is None else reading.value <= figure.most,
    }


def _median(found: Sequence[Measurement], metric: str) -> float | None:
    known = values(found, metric)
    return statistics.median(known) if known else None


def _rounded(value: float | None) -> float | None:
    """Four digits are more than anybody can measure twice."""
    return None if value is None else float(f"{value:.4g}")
