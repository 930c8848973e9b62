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
from maintenance.report.situation import NextRun, RuleLag, Situation
from maintenance.runs import Run

_A_DAY = 86_400.0
"""Seconds of retention lag that are too much where the policy has no objective: a nightly run leaves less."""
_LATE = timedelta(hours=1)
"""A run may begin so long after it was due: the host was busy, or another run held the lease."""
_BY_HABIT = 3
"""Times the usual distance between two runs after which one is overdue that no schedule tells of."""
_FEWEST = 4
"""Runs from which a habit can be told."""
_OLD = 36 * 3600.0
"""Seconds after which a lag says nothing of now: a nightly run would have measured it again, as `check` has it too."""
NEEDED = ("server", "access", "privileges", "schema", "runs", "schedule", "lateness")
"""The looks of the check that tell whether runs can do their work, and do it: without them nobody knows."""
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
    looks = (_gauges, _ends, _overdue, _lags, _findings, _unseen)
    found = tuple(reason for look in looks for reason in look(situation))
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
    for gauge in situation.gauges:
        # Before the first run nobody has brought statistics up to date, and there is no duration.
        if gauge.band == "unknown" and situation.latest:
            yield f"{gauge.name} has limits, and nobody knows how it stands{': ' if gauge.note else ''}{gauge.note}"


def _ends(situation: Situation) -> Iterator[str]:
    """Runs whose last one did not end well; one that is at work is asked for its outcome later."""
    for run in situation.latest:
        if run.status in (RunStatus.FAILED, RunStatus.INTERRUPTED):
            yield f"{run.title} {_ended(run)} (run {run.id}, {ago(run.started_at, situation.as_of)})"


def _ended(run: Run) -> str:
    if run.status is RunStatus.FAILED:
        return "failed"
    return f"was stopped by {run.stop_reason} and left work"


def _overdue(situation: Situation) -> Iterator[str]:
    # What nobody can tell the hours of has its habit.
    scheduled = {next_run.name for next_run in situation.next_runs if next_run.due is not None}
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


def by_now(lag: RuleLag, now: datetime) -> float:
    """The lag in seconds, had nobody been at work since it was measured: what was left then has grown older."""
    return lag.seconds + max((now - lag.at).total_seconds(), 0.0) if lag.seconds > 0 else 0.0


def _lags(situation: Situation) -> Iterator[str]:
    now, most = situation.as_of, allowed(situation)
    lags = sorted(situation.lags, key=lambda lag: -by_now(lag, now))
    behind = [lag for lag in lags if by_now(lag, now) > most]
    for lag in behind[:3]:
        yield f"{lag.task} of {table(lag.table)} is {_behind(lag, now)}"
    if len(behind) > 3:
        yield f"{len(behind) - 3} more rules are behind by more than {span(most)}"
    # A lag of 0 says nothing of what came to be due since. An objective of an hour is judged as a run ends: that the
    # figure of a nightly run is older is no news.
    old = [lag for lag in lags if lag not in behind and (now - lag.at).total_seconds() > max(most, _OLD)]
    if old:
        oldest = min(old, key=lambda lag: lag.at)
        more = f", nor at {len(old) - 1} more" if len(old) > 1 else ""
        since = span((now - oldest.at).total_seconds())
        yield f"no run has looked at {oldest.task} of {table(oldest.table)} for {since}{more}"


def _behind(lag: RuleLag, now: datetime) -> str:
    """For how long, and what of it is measured."""
    said = f"{span(by_now(lag, now))} behind"
    if span(by_now(lag, now)) == span(lag.seconds):
        return said
    return f"{said}: {span(lag.seconds)} when run {lag.run_id} left it, {ago(lag.at, now)}"


def _findings(situation: Situation) -> Iterator[str]:
    told = [finding for finding in situation.findings or () if finding.code not in _NEVER]
    for severity in (Severity.ERROR, Severity.WARNING):
        found = [finding for finding in told if finding.severity is severity]
        if found:
            yield f"check found {len(found)} {severity}{'s' if len(found) > 1 else ''}: {found[0].fact.rstrip('.')}"


def _unseen(situation: Situation) -> Iterator[str]:
    """What the check could not look at, and that somebody must have seen before all is well."""
    unseen = [one.partition(": ")[2] for one in situation.unseen if one.partition(": ")[0] in NEEDED]
    if unseen:
        more = f", nor at {len(unseen) - 1} more" if len(unseen) > 1 else ""
        yield f"check could not look at {unseen[0].rstrip('.')}{more}"
