"""The plot of a document: cost against the size of the table, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.document import Document
from benchmarks.rows.sizes import CURVES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES = {
    CURVES[0]: ("tab:blue", "o-", "ours, index on the column"),
    CURVES[1]: ("tab:green", "s-", "ours, no index"),
    CURVES[2]: ("tab:red", "x--", "one DELETE, no index"),
    CURVES[3]: ("tab:blue", "o-", "ours, index on the column"),
    CURVES[4]: ("tab:green", "s-", "ours, no index"),
}
_PANELS = (("Half of the events expired", CURVES[:3]), ("25,000 events expired", CURVES[3:]))


def can_be_drawn(document: Document) -> bool:
    """Whether the row of sizes was measured."""
    return bool(_sizes(document))


def draw(document: Document, path: Path) -> None:
    """Write the plot; the same document gives the same file."""
    # Not at the top: what measures should not carry it.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    found = _sizes(document)
    with mpl.rc_context({"svg.hashsalt": "maintenance", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9.0, 3.6), layout="constrained")
        for axes, (title, curves) in zip(figure.subplots(1, 2, sharey=True), _PANELS, strict=True):
            _panel(axes, title, [(curve, found.get(curve, [])) for curve in curves])
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _panel(axes: Axes, title: str, curves: list[tuple[str, list[tuple[float, float]]]]) -> None:
    for curve, points in curves:
        colour, style, name = _STYLES[curve]
        axes.plot([size for size, _ in points], [cost for _, cost in points], style, color=colour, label=name)
    axes.set_title(title)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("events in the table, millions")
    axes.set_ylabel("seconds, connect to close")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(frameon=False)


def _sizes(document: Document) -> dict[str, list[tuple[float, float]]]:
    """Size in millions and median cost in seconds, by curve."""
    found: dict[str, list[tuple[float, float]]] = {}
    contenders: list[dict[str, Any]] = [
        one for row in document["rows"] if row["slug"] == "sizes" for one in row["contenders"]
    ]
    for one in contenders:
        size, _, curve = one["name"].partition(" M, ")
        found.setdefault(curve, []).append((float(size) * document["scale"], one["median"]["seconds"]))
    return found
