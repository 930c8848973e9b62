"""Plots: curves drawn as SVG by pygal, stripped of its script and styles; the page's own style sheet colours them."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from maintenance.report.axes import days, labelled, powers, ticks
from maintenance.report.figures import figure
from maintenance.report.situation import Curve

if TYPE_CHECKING:
    from pygal.graph.graph import Graph

_WIDTH, _HEIGHT = 560, 260
_LETTERS = 18
"""Size for which room is left; on a narrow screen the style sheet makes the letters as large."""
_SERIES = re.compile(r"series serie-(\d+) ")
_KEPT = ("d", "x", "y", "width", "height", "cx", "cy", "r", "transform", "class")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What is drawn, and the same for a table."""

    id: str
    title: str
    unit: str
    """`bytes`, `seconds` or `rows`."""
    curves: tuple[Curve, ...]
    bars: bool = False
    """Stacked bars where the curves are parts of a sum."""
    limit: tuple[str, float] | None = None
    """A line across, such as the budget."""
    logarithmic: bool = False
    least: float = 0.0
    """The axis reaches as far as this, however small the figures are."""
    says: str = ""
    """What a reader should know of it."""

    @property
    def values(self) -> list[float]:
        """All its figures, and the limit."""
        return [value for curve in self.curves for _, value in curve.points] + ([self.limit[1]] if self.limit else [])

    def table(self) -> list[tuple[date, list[str]]]:
        """A row a day that has a figure, newest first."""
        known = [dict(curve.points) for curve in self.curves]
        return [
            (day, [figure(one[day], self.unit) if day in one else "" for one in known])
            for day in sorted({day for one in known for day in one}, reverse=True)
        ]

    def summary(self) -> str:
        """The plot in a sentence, for those who do not see it."""
        parts = []
        for curve in self.curves:
            (first, _), (last, value) = curve.points[0], curve.points[-1]
            most = max(value for _, value in curve.points)
            parts.append(
                f"{curve.name} from {first} to {last}, at most {figure(most, self.unit)}, "
                f"last {figure(value, self.unit)}"
            )
        return f"{self.title}: {'; '.join(parts)}"


def drawn(plot: Plot, until: date) -> str:
    """The plot as an SVG element without script, style or link; its text is escaped."""
    _tidied()
    first = min((curve.points[0][0] for curve in plot.curves), default=until)
    every = days(first, until)
    chart = _bars(plot, every) if plot.bars else _lines(plot, every)
    tree = chart.render_tree()
    svg = ET.Element(
        "svg", {"viewBox": f"0 0 {_WIDTH} {_HEIGHT}", "role": "img", "aria-label": plot.summary(), "class": "plot"}
    )
    (graph,) = [part for part in tree if part.get("class", "").startswith("graph")]
    names = [curve.name for curve in plot.curves] + ([plot.limit[0]] if plot.limit else [])
    for part in graph:
        if part.get("class") in ("plot", "plot overlay"):
            _strip(part, names, limited=plot.limit is not None)
            svg.append(part)
    return ET.tostring(svg, encoding="unicode")


def _tidied() -> None:
    """Import pygal without what it leaves to Python's imports, which only its maps need.

    It has no `find_spec`, of which Python 3.11 warns at each import that finds nothing.
    """
    import pygal

    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]


def _style() -> dict[str, object]:
    from pygal.style import Style

    style = Style(label_font_size=_LETTERS, major_label_font_size=_LETTERS, font_family="sans-serif")
    return {
        "css": [], "js": [], "no_prefix": True, "show_legend": False, "style": style, "width": _WIDTH,
        "height": _HEIGHT, "margin": 8, "margin_right": 24, "truncate_label": -1, "dots_size": 3, "spacing": 8,
    }  # fmt: skip


def _bars(plot: Plot, every: list[date]) -> Graph:
    from pygal import StackedBar

    most = max((sum(dict(curve.points).get(day, 0.0) for curve in plot.curves) for day in every), default=0.0)
    chart = StackedBar(
        **_style(), show_minor_x_labels=False, value_formatter=lambda value: figure(value, plot.unit),
        y_labels=ticks(most, plot.unit),
    )  # fmt: skip
    chart.x_labels = [_day(day) for day in every]
    chart.x_labels_major = [_day(day) for day in labelled(every)]
    for curve in plot.curves:
        known = dict(curve.points)
        chart.add(curve.name, [known.get(day) for day in every])
    return chart


def _lines(plot: Plot, every: list[date]) -> Graph:
    from pygal import XY

    above = [value for value in plot.values if value > 0]
    log = plot.logarithmic and bool(above)
    marks = powers(min(above), max(above), plot.unit) if log else ticks(max([*plot.values, plot.least]), plot.unit)
    chart = XY(
        **_style(), logarithmic=log, value_formatter=lambda value: figure(value, plot.unit),
        x_value_formatter=lambda value: _day(date.fromordinal(round(value))),
        xrange=(every[0].toordinal(), every[-1].toordinal()), range=(marks[0], marks[-1] * 1.04), y_labels=marks,
    )  # fmt: skip
    chart.x_labels = [day.toordinal() for day in labelled(every)]
    for curve in plot.curves:
        chart.add(curve.name, [(day.toordinal(), max(value, marks[0])) for day, value in curve.points])
    if plot.limit:
        ends = (every[0].toordinal(), every[-1].toordinal())
        chart.add(plot.limit[0], [(end, plot.limit[1]) for end in ends], show_dots=False)
    return chart


def _strip(part: ET.Element, names: list[str], *, limited: bool) -> None:
    """Leave shapes and labels, with their classes; what pygal tells its script becomes a title of the shape."""
    for group in part.iter("g"):
        found = _SERIES.match(group.get("class", ""))
        if found:
            number = int(found[1])
            _title(group, names[number])
            if limited and number == len(names) - 1:
                group.set("class", "series limit")
    for element in part.iter():
        for child in [child for child in element if child.tag in ("desc", "defs", "style", "script")]:
            element.remove(child)
        for key in [key for key in element.attrib if key not in _KEPT]:
            del element.attrib[key]


def _title(series: ET.Element, name: str) -> None:
    for group in series.iter("g"):
        told = {part.get("class", ""): part.text or "" for part in group if part.tag == "desc"}
        if told.get("value"):
            title = ET.Element("title")
            title.text = (
                f"{name}, {told['x_label']}: {told['value']}" if told.get("x_label") else f"{name}, {told['value']}"
            )
            group.insert(0, title)


def _day(day: date) -> str:
    return f"{day:%d %b}"
