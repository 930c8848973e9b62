"""The bulletin: the situation on a terminal, in tables that fit 80 columns."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.markup import escape

from maintenance.bands import Band
from maintenance.console import coloured, grid_of, show_grid, tell
from maintenance.findings import Severity
from maintenance.report.figures import ago, amount, figure, instant, span, table
from maintenance.report.situation import Gauge, Situation
from maintenance.report.standing import State, allowed, by_now, standing

_MOST = 10
_STATES = {State.WELL: "bold green", State.ATTENTION: "bold yellow", State.NOTHING: "bold"}
_BANDS = {Band.GOOD: "green", Band.WATCH: "cyan", Band.WARNING: "yellow", Band.CRISIS: "red", Band.UNKNOWN: "dim"}
_SEVERITIES = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.ADVICE: "cyan"}


def show_situation(console: Console, situation: Situation) -> None:
    """The state and its reasons, then lag by rule, health, last and next runs, findings."""
    console.print(f"{escape(situation.database)} as of {instant(situation.as_of)}", highlight=False)
    found = standing(situation)
    console.print(f"{found.state}{':' if found.reasons else '.'}", style=_STATES[found.state])
    for reason in found.reasons:
        tell(console, f"- {escape(reason)}")
    _show_lags(console, situation)
    if situation.gauges:
        console.print(f"\nHealth: {health_line(situation.gauges)}")
    _show_last(console, situation)
    _show_next(console, situation)
    _show_findings(console, situation)


def health_line(gauges: tuple[Gauge, ...]) -> str:
    """All gauges in a line, as markup."""
    return "; ".join(
        escape(f"{gauge.name} {'' if gauge.value is None else figure(gauge.value, gauge.unit) + ' '}")
        + f"[{_BANDS[gauge.band]}]{gauge.band}[/]"
        for gauge in gauges
    )


def _show_lags(console: Console, situation: Situation) -> None:
    if not situation.lags:
        console.print("\nRetention lag: unknown, as no run of the last 30 days has measured it.")
        return
    behind = [lag for lag in situation.lags if lag.seconds]
    if behind:
        grid = grid_of("table", "task", ("lag", "right"), "looked at")
        for lag in behind[:_MOST]:
            style = "yellow" if by_now(lag, situation.as_of) > allowed(situation) else "default"
            looked = f"{ago(lag.at, situation.as_of)}, run {lag.run_id}"
            grid.add_row(escape(table(lag.table)), lag.task, f"[{style}]{span(lag.seconds)}[/]", looked)
        console.print("\nRetention lag by rule: how long the oldest row left over had been due")
        show_grid(console, grid)
        if len(behind) > _MOST:
            console.print(f"and {len(behind) - _MOST} more")
    even = len(situation.lags) - len(behind)
    if even:
        lead = "" if behind else "\nRetention lag: "
        console.print(f"{lead}nothing overdue by {even} {'rule' if even == 1 else 'rules'}")


def _show_last(console: Console, situation: Situation) -> None:
    if not situation.latest:
        console.print("\nLast runs: none." if situation.ledger else "\nLast runs: none, and there is no ledger yet.")
        return
    grid = grid_of("last runs", ("run", "right"), "began", ("rows", "right"), ("time", "right"), "ended")
    for run in situation.latest[:_MOST]:
        ended = coloured(run.status)
        if run.stop_reason and run.stop_reason != "done":
            ended += f" ({run.stop_reason})"
        grid.add_row(
            escape(run.title),
            str(run.id),
            ago(run.started_at, situation.as_of),
            amount(run.rows),
            span(run.spent),
            ended,
        )
    show_grid(console, grid)


def _show_next(console: Console, situation: Situation) -> None:
    if not situation.next_runs:
        console.print(f"Next runs: unknown: {situation.unscheduled}.")
        return
    grid = grid_of("next runs", "when", "by")
    for run in situation.next_runs[:_MOST]:
        when = "unknown" if run.at is None else f"{instant(run.at)}, {ago(run.at, situation.as_of)}"
        grid.add_row(escape(run.name), when, escape(f"{run.schedule} ({run.source})"))
    show_grid(console, grid)


def _show_findings(console: Console, situation: Situation) -> None:
    if situation.findings is None:
        console.print("Findings: not looked at.")
        return
    counts = Counter(finding.severity for finding in situation.findings)
    told = ", ".join(f"{counts[severity]} {severity}" for severity in Severity if counts[severity])
    unseen = f"; {len(situation.unseen)} could not be looked at" if situation.unseen else ""
    console.print(f"Findings: {told or 'none'}{unseen}." + (" `check` has the remedies." if situation.findings else ""))
    for finding in situation.findings[:_MOST]:
        about = f"{table(finding.subject)}: " if finding.subject else ""
        tell(console, f"[{_SEVERITIES[finding.severity]}]{finding.severity}[/] " + escape(f"{about}{finding.fact}"))
    if len(situation.findings) > _MOST:
        console.print(f"and {len(situation.findings) - _MOST} more")
