"""The page: one self-contained HTML document, without script, that allows nothing from outside; all text is escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from maintenance.bands import Band
from maintenance.findings import Severity
from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.report import figures
from maintenance.report.courses import plots
from maintenance.report.plots import drawn
from maintenance.report.situation import DAYS, MOST_RUNS, MOST_STEPS, Gauge, RuleLag, Situation
from maintenance.report.standing import Standing, State, allowed, by_now, standing
from maintenance.runs import StepResult

_FOLDER = Path(__file__).parent
_GOOD, _WARNING, _CRISIS, _UNKNOWN = "good", "warning", "crisis", "unknown"
_RUN_TONES = {
    RunStatus.SUCCEEDED: _GOOD, RunStatus.FAILED: _CRISIS, RunStatus.INTERRUPTED: _WARNING, RunStatus.SKIPPED: _UNKNOWN,
    RunStatus.QUEUED: _UNKNOWN, RunStatus.RUNNING: "watch",
}  # fmt: skip
_STEP_TONES = {
    StepStatus.SUCCEEDED: _GOOD, StepStatus.FAILED: _CRISIS, StepStatus.BLOCKED: _CRISIS,
    StepStatus.INTERRUPTED: _WARNING, StepStatus.RUNNING: "watch",
}  # fmt: skip
_SEVERITIES = {Severity.ERROR: _CRISIS, Severity.WARNING: _WARNING, Severity.ADVICE: "watch"}


_MOST_EVEN = 12
_WIDE = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A gauge as a bar: where its bands are and where it stands, in hundredths of the width."""

    zones: tuple[tuple[Band, float, float], ...]
    mark: float | None


def bar_of(gauge: Gauge) -> Bar:
    """The bands of a gauge from zero to a little above the last limit, or the value if that is more."""
    limits = gauge.limits
    most = max(limits.crisis or limits.warning, gauge.value or 0.0) * 1.15
    edges = [0.0, limits.good, limits.warning, *([limits.crisis] if limits.crisis is not None else []), most]
    bands = (Band.GOOD, Band.WATCH, Band.WARNING, Band.CRISIS)
    zones = tuple(
        (band, round(start / most * _WIDE, 2), round((end - start) / most * _WIDE, 2))
        for band, start, end in zip(bands, edges, edges[1:], strict=False)
    )
    mark = None if gauge.value is None else min(round(gauge.value / most * _WIDE, 2), _WIDE - 1)
    return Bar(zones=zones, mark=mark)


def security_policy(css: str | None = None) -> str:
    """What a browser is told to allow: our own style sheet, by its digest, and nothing else."""
    digest = hashlib.sha256((css or _css()).encode()).digest()
    style = f"style-src 'sha256-{base64.b64encode(digest).decode()}'"
    return f"default-src 'none'; {style}; img-src data:; base-uri 'none'; form-action 'none'"


def html(situation: Situation) -> str:
    """The page of a situation."""
    # Imported when first used: a run draws nothing.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    css = _css()
    # Of our own making, not of anybody's text.
    marked: dict[str, Any] = {"css": Markup(css), "csp": Markup(security_policy(css))}  # noqa: S704
    environment.filters |= _filters(situation)
    # Escaped by the library that writes XML.
    environment.filters["drawn"] = lambda plot: Markup(drawn(plot, situation.as_of.date()))  # noqa: S704
    found = standing(situation)
    first = _first(situation)
    return environment.get_template("page.html").render(
        s=situation, standing=found, tone=_tone(situation, found), plots=plots(situation), most_days=DAYS,
        most_runs=MOST_RUNS, most_steps=MOST_STEPS, first=first,
        others=[lag for lag in situation.lags if lag not in first],
        newest_lag=max((lag.at for lag in situation.lags), default=situation.as_of), **marked,
    )  # fmt: skip


def _css() -> str:
    return (_FOLDER / "page.css").read_text(encoding="utf-8")


def _tone(situation: Situation, found: Standing) -> str:
    """The colour of the state: red where something is lost or about to be, amber where somebody should look."""
    if found.state is not State.ATTENTION:
        return _GOOD if found.state is State.WELL else _UNKNOWN
    failed = any(run.status is RunStatus.FAILED for run in situation.latest)
    crisis = any(gauge.band == "crisis" for gauge in situation.gauges)
    errors = any(finding.severity is Severity.ERROR for finding in situation.findings or ())
    return _CRISIS if failed or crisis or errors else _WARNING


def _filters(situation: Situation) -> dict[str, Callable[..., Any]]:
    return {
        "amount": _whole(figures.amount), "size": _whole(figures.size), "span": _whole(figures.span),
        "figure": _whole(figures.figure), "ago": _whole(partial(_ago, now=situation)), "instant": figures.instant,
        "table": figures.table, "cut": _cut,
        "run_tone": lambda run: _RUN_TONES[run.status],
        "step_tone": lambda step: _STEP_TONES.get(step.status, _UNKNOWN),
        "sentence": lambda text: f"{text[:1].upper()}{text[1:]}".rstrip(".") + ".",
        "grave": lambda found: [one for one in found or () if one.severity is not Severity.ADVICE],
        "advice": lambda found: [one for one in found or () if one.severity is Severity.ADVICE],
        "severity_tone": lambda severity: _SEVERITIES[severity],
        "lag_tone": partial(_lag_tone, situation=situation),
        "zones": bar_of, "told_steps": told, "quiet_steps": quiet, "remarks": remarks,
    }  # fmt: skip


def _first(situation: Situation) -> list[RuleLag]:
    """The rules that a reader must see: those that are behind, and the first of those of retention."""
    even = [lag for lag in situation.lags if not lag.seconds and lag.task == "retention"]
    return [lag for lag in situation.lags if lag.seconds] + even[:_MOST_EVEN]


def _ago(then: Any, *, now: Situation) -> str:
    return figures.ago(then, now.as_of)


def _whole(filter_: Callable[..., str]) -> Callable[..., str]:
    """A number and its unit stay on one line."""
    return lambda *values: filter_(*values).replace(" ", "\N{NO-BREAK SPACE}")


def _lag_tone(lag: RuleLag, *, situation: Situation) -> str:
    if by_now(lag, situation.as_of) > allowed(situation):
        return _WARNING
    return "watch" if lag.seconds else _GOOD


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} ..."


def told(steps: Iterable[StepResult]) -> list[StepResult]:
    """The steps that did something, or did not end well."""
    return [step for step in steps if not _is_quiet(step)]


def quiet(steps: Iterable[StepResult]) -> list[str]:
    """The others, in a line for each way in which there was nothing to do."""
    lines: dict[str, dict[str, list[str]]] = {}
    for step in steps:
        if _is_quiet(step):
            word = "Absent here" if step.status is StepStatus.ABSENT else "Nothing to do"
            word, task = ("Statistics", "analyze") if step.strategy == "analyze" else (word, step.task)
            lines.setdefault(word, {}).setdefault(task, []).append(figures.table(step.table))
    return [f"{word}: {_tasks(tasks)}" for word, tasks in lines.items()]


def _tasks(tasks: dict[str, list[str]]) -> str:
    """`task table, table; task table`."""
    return "; ".join(f"{task} {', '.join(dict.fromkeys(names))}" for task, names in tasks.items())


def remarks(step: StepResult) -> list[str]:
    """What is said of a step below its figures."""
    found = []
    if step.updated:
        found.append(f"{step.updated:,} rows corrected")
    if step.paused >= 0.1:
        found.append(f"held back for {figures.span(step.paused)} by [lag]")
    if step.note:
        found.append(step.note)
    if step.error:
        found.append(f"{step.error}{f' [{step.sqlstate}]' if step.sqlstate else ''}")
    return found


def _is_quiet(step: StepResult) -> bool:
    if step.status is StepStatus.ABSENT:
        return True
    well = step.status is StepStatus.SUCCEEDED and step.stop_reason in (None, StopReason.DONE)
    return well and (step.strategy == "analyze" or not (step.rows or step.updated or step.strategy == "vacuum"))
