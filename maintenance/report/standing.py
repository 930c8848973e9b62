"""The standing: all well or not, and why, in one look."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from maintenance.findings import Severity
from maintenance.models import RunStatus
from maintenance.report.figures import ago, figure, span, table
from maintenance.report.situation import NextRun, Situation
from maintenance.runs import Run

_A_DAY = 86_400.0
"""Seconds of retention lag that are too much where the policy has no objective: a nightly run leaves less."""
_LATE = timedelta(hours=1)
"""A run may begin so long after it was due: the host was busy, or another run held the lease."""
_BY_HABIT = 3
"""Times the usual distance between two runs after which one is overdue that no schedule tells of."""
_FEWEST = 4
"""Runs from which a habit can be told."""
_MOST_REASONS = 8
_NEVER = ("ledger.missing", "runs.never")
"""Findings which say that nothing has run yet, as the state does then."""


class State(StrEnum):
    """What is written in large letters."""

    WELL = "All well"
    ATTENTION = "Needs attention"
    NOTHING = "Nothing has run yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How things stand, and why they do not stand well."""

    state: State
    reasons: tuple[str, ...] = ()


def allowed(situation: Situation) -> float:
    """Seconds of retention lag above which a rule is behind."""
    return _A_DAY if situation.objective is None else situation.objective


def standing(situation: Situation) -> Standing:
    """Judge a situation: the reasons that somebody should do something, the gravest first."""
    found = (*_gauges(situation), *_ends(situation), *_overdue(situation), *_lags(situation), *_findings(situation))
    reasons = (situation.pause[0].upper() + situation.pause[1:], *found) if situation.pause else found
    if len(reasons) > _MOST_REASONS:
        reasons = (*reasons[:_MOST_REASONS], f"and {len(reasons) - _MOST_REASONS} more reasons below")
    if reasons:
        return Standing(state=State.ATTENTION, reasons=reasons)
    return Standing(state=State.WELL if situation.latest else State.NOTHING)


def _gauges(situation: Situation) -> Iterator[str]:
    for gauge in situation.alarming():
        worst = gauge.limits.crisis if gauge.band == "crisis" else gauge.limits.warning
        limit = figure(worst or 0.0, gauge.unit)
        yield f"{gauge.name} is in {gauge.band}: {figure(gauge.value or 0.0, gauge.unit)}, above {limit}"


def _ends(situation: Situation) -> Iterator[str]:
    """Runs whose last one did not end well; one that is at work is asked for its outcome later."""
    for run in situation.latest:
        if run.status in (RunStatus.FAILED, RunStatus.INTERRUPTED):
            yield f"{run.name} {_ended(run)} (run {run.id}, {ago(run.started_at, situation.as_of)})"


def _ended(run: Run) -> str:
    if run.status is RunStatus.FAILED:
        return "failed"
    return f"was stopped by {run.stop_reason} and left work"


def _overdue(situation: Situation) -> Iterator[str]:
    scheduled = {next_run.name for next_run in situation.next_runs}
    begun = dict(situation.begun)
    for next_run in situation.next_runs:
        reason = missed(next_run, begun.get(next_run.name, ()), situation.as_of)
        if reason:
            yield reason
    for name, instants in situation.begun:
        if name in scheduled or len(instants) < _FEWEST:
            continue
        apart = statistics.median((later - earlier).total_seconds() for later, earlier in pairwise(instants))
        silent = (situation.as_of - instants[0]).total_seconds()
        # Runs by hand follow each other within minutes, and then for days no more.
        if apart > 3600 and silent > _BY_HABIT * apart:
            yield f"{name} used to run every {span(apart)}, and has not for {span(silent)}"


def missed(next_run: NextRun, begun: tuple[datetime, ...], now: datetime) -> str | None:
    """Why a run is overdue by its schedule, or None; one that has never run may have been put up a moment ago."""
    if next_run.due is None or not begun or now < next_run.due + _LATE:
        return None
    # A timer may be a little early by the clock of another machine.
    if begun[0] >= next_run.due - _LATE:
        return None
    return f"{next_run.name} was due {ago(next_run.due, now)} and has not begun since; it last did {ago(begun[0], now)}"


def _lags(situation: Situation) -> Iterator[str]:
    behind = [lag for lag in situation.lags if lag.seconds > allowed(situation)]
    for lag in behind[:3]:
        yield f"{lag.task} of {table(lag.table)} is {span(lag.seconds)} behind"
    if len(behind) > 3:
        yield f"{len(behind) - 3} more rules are behind by more than {span(allowed(situation))}"


def _findings(situation: Situation) -> Iterator[str]:
    told = [finding for finding in situation.findings or () if finding.code not in _NEVER]
    for severity in (Severity.ERROR, Severity.WARNING):
        found = [finding for finding in told if finding.severity is severity]
        if found:
            yield f"check found {len(found)} {severity}{'s' if len(found) > 1 else ''}: {found[0].fact.rstrip('.')}"
