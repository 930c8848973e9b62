"""Courses: which plots a page has, what each says, and against which limit."""

from __future__ import annotations

from dataclasses import replace

from maintenance.report.figures import span, table
from maintenance.report.plots import Plot
from maintenance.report.situation import Curve, Situation
from maintenance.report.standing import BEHIND


def plots(situation: Situation) -> list[Plot]:
    """All plots, the figure that matters first."""
    course = situation.course
    return [
        Plot(
            id="lag", title="Retention lag", unit="seconds", curves=_tables(course.lags), limit=("a day", BEHIND),
            says="For how long the oldest row left over had been due when a run ended. It should stay below the line.",
        ),
        Plot(
            id="removed", title="Rows removed by task", unit="rows", curves=course.removed, bars=True,
            says="All runs of a day together.",
        ),
        _durations(situation),
        Plot(id="database", title="Size of the database", unit="bytes", curves=course.database_sizes,
             says="As the last run of a day left it."),
        Plot(id="tables", title="Size of the largest tables", unit="bytes", curves=_tables(course.table_sizes),
             says="With indexes and TOAST. Rows that are gone leave room for new ones; the files do not shrink by it."),
        Plot(id="dead", title="Dead rows", unit="rows", curves=_tables(course.dead_rows),
             says="As the first step of a day found them in each table; VACUUM makes their room free again."),
    ]  # fmt: skip


def _durations(situation: Situation) -> Plot:
    """On a logarithmic axis, as a run of seconds and a budget of minutes have to be seen together."""
    return Plot(
        id="durations", title="Duration against budget", unit="seconds", curves=situation.course.durations,
        limit=(f"budget of a slice, {span(situation.budget)}", situation.budget), logarithmic=True,
        says="How long the longest run of a day worked. A run over its budget goes on in another slice, or in the next run.",
    )  # fmt: skip


def _tables(curves: tuple[Curve, ...]) -> tuple[Curve, ...]:
    """Curves that are named for tables, without the schema that goes without saying."""
    return tuple(replace(curve, name=curve.name.replace("public.", "", 1)) for curve in curves)
