"""Courses: which plots a page has, what each says, and against which limit."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import replace
from datetime import date

from maintenance.report.figures import span
from maintenance.report.plots import Plot
from maintenance.report.situation import Curve, Situation
from maintenance.report.standing import allowed

_DWARFS = 12
"""Times the usual day from which on a day makes the others too small to see."""


def plots(situation: Situation) -> list[Plot]:
    """All plots, the figure that matters first."""
    course = situation.course
    return [
        Plot(
            id="lag", title="Retention lag", unit="seconds", curves=_tables(course.lags), limit=_objective(situation),
            says="For how long the oldest row left over had been due when a run ended. Below the line is well; of many "
            "rules, those that were the latest.",
        ),
        _removed(course.removed),
        _durations(situation),
        Plot(id="database", title="Size of the database", unit="bytes", curves=course.database_sizes,
             says="As the last run of a day left it."),
        Plot(id="tables", title="Size of the largest tables", unit="bytes", curves=_tables(course.table_sizes),
             says="With indexes and TOAST. Rows that are gone leave room for new ones; the files do not shrink by it."),
        Plot(id="dead", title="Dead rows", unit="rows", curves=_tables(course.dead_rows),
             says="As the first step of a day found them in each table; VACUUM makes their room free again."),
    ]  # fmt: skip


def _objective(situation: Situation) -> tuple[str, float]:
    most = allowed(situation)
    return (f"{'a nightly run' if situation.objective is None else 'objective'}, {span(most)}", most)


def _removed(curves: tuple[Curve, ...]) -> Plot:
    """Bars that add up; a day that dwarfs the others, such as the first, would make them invisible."""
    days: defaultdict[date, float] = defaultdict(float)
    for curve in curves:
        for day, value in curve.points:
            days[day] += value
    dwarfed = len(days) > 1 and max(days.values()) > _DWARFS * statistics.median(days.values())
    says = "All runs of a day together."
    return Plot(
        id="removed", title="Rows removed by task", unit="rows", curves=curves, bars=not dwarfed, logarithmic=dwarfed,
        says=f"{says} On a logarithmic axis, as one day dwarfs the others." if dwarfed else says,
    )  # fmt: skip


def _durations(situation: Situation) -> Plot:
    """On a logarithmic axis, as a run of seconds and a budget of minutes have to be seen together."""
    return Plot(
        id="durations", title="Duration against budget", unit="seconds", curves=situation.course.durations,
        limit=(f"budget of a slice, {span(situation.budget)}", situation.budget), logarithmic=True,
        says="How long the longest run of a day worked. One over its budget goes on in another slice, or the next run; "
        "the budget is that of the machine that made this page.",
    )  # fmt: skip


def _tables(curves: tuple[Curve, ...]) -> tuple[Curve, ...]:
    """Curves that are named for tables, without the schema that goes without saying."""
    return tuple(replace(curve, name=curve.name.replace("public.", "", 1)) for curve in curves)
