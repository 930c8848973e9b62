"""The page docs/performance.md: its figures, and those of the README, are written by the benchmark between markers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks.document import Document, text
from benchmarks.plot import draw
from benchmarks.table import HEADS, MEDIANS, contenders, lines, shown

_ROOT = Path(__file__).parents[1]
PAGE = _ROOT / "docs" / "performance.md"
README = _ROOT / "README.md"
FIGURES = _ROOT / "docs" / "performance.json"
PLOT = _ROOT / "docs" / "performance.svg"
_BLOCK = r"(<!-- benchmark: {name} -->\n).*?(<!-- benchmark: end -->)"
_TOLD = (
    (
        "A night's clean-up of 1.5 M events and 66,000 policies",
        "nightly", "seconds", "ours", "ReportMate's script", "by the usual script",
    ),
    ("The longest transaction while 750,000 events go", "half-plain", "longest", "ours", "one DELETE", "by one DELETE"),
    ("99 of 100 check-ins meanwhile are done within", "checkins", "p99", "ours", "alone", "without a clean-up"),
)  # fmt: skip
"""What matters to a user: what it says, and the row, the metric and the two contenders that it is read from."""


def write(document: Document) -> None:
    """Effect: the figures, the plot, the page and the README are those of this document."""
    FIGURES.write_text(text(document), encoding="utf-8")
    draw(document, PLOT)
    for path in (PAGE, README):
        path.write_text(rendered(path.read_text(encoding="utf-8"), document), encoding="utf-8")


def rendered(page: str, document: Document) -> str:
    """A page with its blocks as this document has them."""
    blocks = {
        "circumstances": _circumstances, "rows": _rows, "figures": _figures, "medians": _medians, "short": _short,
    }  # fmt: skip
    for name, block in blocks.items():
        body = "\n".join(block(document)) + "\n"
        page = re.sub(_BLOCK.format(name=name), partial(_replaced, body), page, flags=re.DOTALL)
    return page


def _replaced(body: str, match: re.Match[str]) -> str:
    return match[1] + body + match[2]


def _circumstances(document: Document) -> Iterator[str]:
    machine, server = document["machine"], document["server"]
    size = f"scale {document['scale']:g}" + (" with the largest sizes" if document["full"] else "")
    yield (
        f"Measured on {document['measured']} within {document['seconds'] / 60:.0f} minutes, at {size}, on "
        f"{machine['cores']} cores, {machine['system']}, Python {machine['python']}, load {machine['load']} "
        "before. The server:"
    )
    yield ""
    yield from _grid(("setting", "value"), ((f"`{name}`", value) for name, value in server.items()))


def _rows(document: Document) -> Iterator[str]:
    yield from (f"- `{row['slug']}`: {row['title']}" for row in document["rows"])


def _figures(document: Document) -> Iterator[str]:
    yield from _grid(HEADS, lines(document))


def _medians(document: Document) -> Iterator[str]:
    yield from _grid(MEDIANS, contenders(document))


def _short(document: Document) -> Iterator[str]:
    medians = {(row["slug"], one["name"]): one["median"] for row in document["rows"] for one in row["contenders"]}
    yield from _grid(("", "ours", "otherwise"), _compared(medians))


def _compared(medians: Mapping[tuple[str, str], Mapping[str, float]]) -> Iterator[tuple[str, ...]]:
    for told, slug, metric, ours, other, way in _TOLD:
        mine, theirs = medians.get((slug, ours), {}), medians.get((slug, other), {})
        yield told, shown(mine.get(metric), metric), f"{shown(theirs.get(metric), metric)} {way}"


def _grid(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join(' --- ' for _ in heads)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
