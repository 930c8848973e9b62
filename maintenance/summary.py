"""Summary: a plan, a run or a refusal as Markdown, at the end of a file such as a workflow's job summary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from maintenance.amounts import size
from maintenance.budget import roughly
from maintenance.console import overdue, short
from maintenance.errors import UsageError
from maintenance.lines import line
from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.runs import Plan, Run, StepResult
from maintenance.steps import Settled, Step

_MOST_ROWS = 300
_MOST_BYTES = 1 << 20
"""GitHub takes a step's summary up to 1 MiB and shows none of a larger one.
https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#adding-a-job-summary"""
_CUT = "\n\nThe rest is left out, as GitHub shows no summary above 1 MiB: `history` has all of a run.\n\n"
_LONGEST = 1000
_LINK = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)
"""Where to break what GitHub makes a link of without any markup.
https://github.github.com/gfm/#autolinks-extension-"""
_JOINER = "\u2060"
"""Of no width: what is broken by it looks as before."""
_MARKUP = re.compile(r"[&<>|`*_~\[\]\\$@#!]")
_RUN_HEAD = ("task", "table", "strategy", "rows", "before", "after", "time", "ended")
_RUN_NUMBERS = ("rows", "before", "after", "time")
_PLAN_HEAD = ("task", "table", "strategy", "rows", "what")


def append(path: str, text: str) -> None:
    """Write the text behind what the file has, or as many of its lines as the file has room for.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            # A device tells no size.
            file.write(_fitting(text, _MOST_BYTES - max(file.tell(), 0) if file.seekable() else _MOST_BYTES))
    except OSError as error:
        raise UsageError(
            f"--summary: {path!r} cannot be written ({error.strerror}), so there is no summary; name another file."
        ) from error


def _fitting(text: str, room: int) -> str:
    """The text, or its first lines and a word that there were more."""
    if len(text.encode()) <= room:
        return text
    kept = text.encode()[: max(room - len(_CUT.encode()), 0)].decode(errors="ignore")
    return kept.rpartition("\n")[0] + _CUT if room > len(_CUT.encode()) else ""


def of(told: Plan | Run | Exception) -> str:
    """What came of it, as Markdown that ends with an empty line."""
    if isinstance(told, Plan):
        return _plan(told)
    return _run(told) if isinstance(told, Run) else _refusal(told)


def _plan(plan: Plan) -> str:
    """The steps of a plan that have something to do, and the word that lets pass what limits have stopped."""
    analyzed = [step for step in plan.steps if step.strategy == "analyze"]
    idle = [step for step in plan.steps if _idle(step) and step not in analyzed]
    steps = [step for step in plan.steps if step not in idle and step not in analyzed]
    rows = [(step.task, short(str(step.table)), step.strategy, _expected(step), _what(step)) for step in steps]
    lines = [
        f"### Plan as of {plan.as_of:%Y-%m-%d %H:%M:%S} UTC",
        "Reads only, nothing is changed." if rows or analyzed else "Nothing to do.",
        *_table(_PLAN_HEAD, rows, ("rows",), "`plan` shows all of them"),
        _rest("Statistics (analyze)", ((step.task, str(step.table)) for step in analyzed)),
        _rest("Nothing to do", ((step.task, str(step.table)) for step in idle)),
    ]
    if plan.approve is not None:
        lines.append(f"Stopped by a limit. To let exactly this pass: run ... --approve {_escaped(plan.approve)}")
    return _page(lines)


def _run(run: Run) -> str:
    """The steps of a run that did something or could not, how it ended, and what a person should know of it."""
    analyzed, idle, absent, steps = _sorted(run.steps)
    rows = [
        (step.task, short(step.table), step.strategy, f"{step.rows:,}", size(step.bytes_before),
         size(step.bytes_after), f"{step.seconds:.2f} s", str(step.stop_reason or step.status))
        for step in steps
    ]  # fmt: skip
    vacuumed = sum(step.strategy == "vacuum" and step.status is StepStatus.SUCCEEDED for step in steps)
    why = "" if run.status is RunStatus.SUCCEEDED else f" ({run.stop_reason})"
    lines = [
        f"### Run {run.id} {_escaped(run.name)}: {run.status}{why}",
        f"{run.rows:,} rows deleted" + (f", {vacuumed} tables vacuumed." if vacuumed else "."),
        *_table(_RUN_HEAD, rows, _RUN_NUMBERS, f"`history --run {run.id}` shows all of them"),
        _rest("Statistics (analyze)", ((step.task, step.table) for step in analyzed)),
        _rest("Nothing to do", ((step.task, step.table) for step in idle)),
        _rest("Absent here", ((step.task, step.table) for step in absent)),
    ]
    remarks = [f"- {_escaped(f'{step.task} {short(step.table)}: {said}')}" for step in steps if (said := _said(step))]
    lines.append("\n".join(remarks[:_MOST_ROWS]))
    return _page([*lines, _escaped(run.error or ""), _escaped(run.note or "")])


def _refusal(error: Exception) -> str:
    """Why there is no plan and no run."""
    return _page(["### Maintenance did not begin", _escaped(str(error))])


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str], more: str) -> list[str]:
    """A table of bearable length, and a sentence for what does not fit."""
    if not rows:
        return []
    ruler = ["---:" if name in numbers else "---" for name in head]
    cells = [head, ruler, *([_escaped(cell) for cell in row] for row in rows[:_MOST_ROWS])]
    left = len(rows) - _MOST_ROWS
    return ["\n".join(f"| {' | '.join(row)} |" for row in cells), f"And {left:,} more: {more}." if left > 0 else ""]


def _rest(title: str, tables: Iterable[tuple[str, str]]) -> str:
    """Tables that need no row, by task; empty where there are none."""
    by_task: dict[str, list[str]] = {}
    for task, table in tables:
        by_task.setdefault(task, []).append(short(table))
    told = "; ".join(f"{task} {', '.join(dict.fromkeys(names))}" for task, names in by_task.items())
    return f"{title}: {_escaped(told)}" if told else ""


def _escaped(text: str) -> str:
    """The text as Markdown and HTML show it, on one line: no name can become markup, a cell, a mention or a link."""
    told = " ".join(line(text).split())
    told = told if len(told) <= _LONGEST else f"{told[:_LONGEST]}..."
    told = _LINK.sub(lambda found: found[0] + _JOINER if found[0] == ":" else _JOINER + found[0], told)
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", told)


def _expected(step: Step) -> str:
    if not step.transactional:
        return ""
    return "?" if step.rows is None else f"{'' if step.exact else '~'}{step.rows:,}"


def _what(step: Step) -> str:
    return step.summary if step.expected is None or step.expected < 1 else f"{step.summary}; {roughly(step.expected)}"


def _said(step: StepResult) -> str:
    """What the columns have no place for."""
    state = f" [{step.sqlstate}]" if step.sqlstate else ""
    corrected = f"{step.updated:,} rows corrected" if step.updated else None
    error = f"{step.error}{state}" if step.error else None
    late = overdue(step) if step.lag_after else None
    return "; ".join(text for text in (error, corrected, late, step.note) if text)


def _idle(step: Step) -> bool:
    """Nothing would go, for certain."""
    if isinstance(step, Settled) and step.verdict.stop_reason is not StopReason.DONE:
        return False
    return step.transactional and step.exact and step.rows == 0 and not step.updated


def _sorted(steps: Iterable[StepResult]) -> tuple[list[StepResult], ...]:
    """Those that only brought statistics up to date, had nothing to do, or no table; and all others."""
    analyzed: list[StepResult] = []
    idle: list[StepResult] = []
    absent: list[StepResult] = []
    others: list[StepResult] = []
    for step in steps:
        if step.status is StepStatus.ABSENT:
            absent.append(step)
        elif step.status is not StepStatus.SUCCEEDED or step.rows or step.updated or step.strategy == "vacuum":
            others.append(step)
        else:
            (analyzed if step.strategy == "analyze" else idle).append(step)
    return analyzed, idle, absent, others
