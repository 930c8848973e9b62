"""The tables of a document, for a terminal and for the page: the figures, and the medians that they are read from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from benchmarks.document import Document

MEDIANS = ("row", "contender", "rounds", "total", "its steps", "longest transaction", "database time", "WAL")
HEADS = ("row", "figure", "ours", "peer", "value", "at most", "holds")
_TIMES = ("seconds", "longest", "work", "database", "afterwards")
_SIZES = ("wal", "peak")


def lines(document: Document) -> Iterator[tuple[str, ...]]:
    """The cells of each figure, row by row; an empty first cell belongs to the row above."""
    for row in document["rows"]:
        title = row["slug"]
        if row["absent"]:
            yield title, f"not measured: {row['absent']}", "", "", "", "", ""
        for figure in row["figures"]:
            once = {one["name"]: one["once"] for one in row["contenders"]}
            yield title, *_cells(figure, once=once)
            title = ""


def _cells(figure: dict[str, Any], *, once: dict[str, bool]) -> tuple[str, ...]:
    metric = figure["metric"]
    theirs = shown(figure["theirs"], metric)
    if figure["capped"]:
        theirs = f"> {theirs}, ended there"
    elif once.get(figure["peer"] or ""):
        theirs += ", once"
    ratio = figure["unit"] == "ratio"
    value = figure["value"]
    told = "" if value is None else f"{value:.3g}" if ratio else shown(value, metric)
    if figure["capped"]:
        told = f"< {told}"
    most = figure["most"]
    limit = "" if most is None else f"{most:g}" if ratio else shown(most, metric)
    holds = {None: "", True: "yes", False: "no"}[figure["holds"]]
    return figure["what"], shown(figure["ours"], metric) if ratio else "", theirs, told, limit, holds


def shown(value: float | None, metric: str | None) -> str:
    """A median in the unit of its metric."""
    if value is None:
        return ""
    if metric in _SIZES:
        return f"{value / 2**20:,.3g} MB" if value < 100 * 2**20 else f"{value / 2**20:,.0f} MB"
    if metric in _TIMES:
        return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"
    return f"{value * 1000:.3g} ms"


def contenders(document: Document) -> Iterator[tuple[str, ...]]:
    """The cells of each contender, row by row."""
    for row in document["rows"]:
        title = row["slug"]
        for one in row["contenders"]:
            rounds = f"{one['rounds']}{', ended' if one['capped'] else ''}"
            metrics = ("seconds", "work", "longest", "database", "wal")
            yield title, one["name"], rounds, *(shown(one["median"].get(metric), metric) for metric in metrics)
            title = ""


def grid(document: Document) -> Table:
    """The figures, for a terminal."""
    table = _table(HEADS)
    for cells in lines(document):
        colour = {"yes": "[green]yes[/]", "no": "[red]no[/]"}.get(cells[-1], cells[-1])
        table.add_row(*(escape(cell) for cell in cells[:-1]), colour)
    return table


def medians(document: Document) -> Table:
    """What each contender took, for a terminal."""
    table = _table(MEDIANS)
    for cells in contenders(document):
        table.add_row(*(escape(cell) for cell in cells))
    return table


def _table(heads: tuple[str, ...]) -> Table:
    table = Table(box=box.HORIZONTALS, show_edge=False, pad_edge=False)
    for head in heads:
        left = head in ("row", "figure", "contender", "holds")
        table.add_column(head, justify="left" if left else "right", overflow="fold")
    return table
