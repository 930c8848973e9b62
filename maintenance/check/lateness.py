"""Lateness: rules that leave what should be gone, and timers that were due and have begun nothing."""

from __future__ import annotations

from collections.abc import Iterator

from maintenance.budget import spelled
from maintenance.check.kinds import finding
from maintenance.check.view import Look, View
from maintenance.chronicle import Chronicle
from maintenance.findings import Finding
from maintenance.report.standing import missed
from maintenance.schedules import next_runs
from maintenance.sql import statement
from maintenance.tasks.survey import span

_RECENT = 30
"""Days after which a rule that no run has seen is taken to be gone."""


async def _find(view: View) -> list[Finding]:
    if not await Chronicle(view.connection).readable():
        return []
    return [*await _missed(view), *await _late(view)]


async def _missed(view: View) -> list[Finding]:
    due = await next_runs(view.connection, view.settings, view.as_of)
    rows = await view.connection.fetch(statement("report", "begun"), [run.name for run in due])
    begun = {row["name"]: tuple(row["begun"]) for row in rows}
    reasons = [(run, missed(run, begun.get(run.name, ()), view.as_of)) for run in due]
    return [
        finding("schedule.missed", run.name, f"{reason}, by {run.source} ({run.schedule})")
        for run, reason in reasons
        if reason
    ]


async def _late(view: View) -> Iterator[Finding]:
    objective = view.policy.guards.lag_objective
    allowed = (None if objective is None else await span(view.connection, objective)) or view.thresholds.lag
    rows = await view.connection.fetch(statement("report", "lags"), view.as_of, _RECENT)
    return (
        finding(
            "retention.late", row["table_name"],
            f"when run {row['run_id']} had looked, what the {row['task']} rule {row['rule']!r} wants gone had been due "
            f"for {spelled(row['seconds'])}; {spelled(allowed)} are allowed",
        )
        for row in rows
        if row["seconds"] > allowed
    )  # fmt: skip


LATENESS = Look(name="lateness", what="what rules have left, and whether the timers' runs began", find=_find)
