"""What a person sees of plans and runs: tables, and what needs no table in a line below."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import IO, cast

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from maintenance.amounts import size
from maintenance.budget import roughly, spelled
from maintenance.lines import PlainOutput, line
from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.report.figures import span
from maintenance.runs import Plan, Run, StepResult
from maintenance.steps import Settled, Step

PLAIN_WIDTH = 100
"""Of lines, where there is no terminal."""
PLAIN_TABLE = 80
"""Of tables there."""
_MOST_ERRORS = 8
_WORTH_TELLING = 0.1
_WIDTHS = {"table": 16, "task": 12, "name": 13, "ended": 11}
"""Which words are not to be broken, as long as there is room for anything else."""
_COUNTED = re.compile(r"[\d,]+ dead rows removed")
"""A note that is no more than a figure, of which a run has one for each table."""
_WITHOUT_ROWS = ("vacuum", "vacuum full", "analyze")
"""Strategies that delete none."""
_COLOURS = {
    "succeeded": "green", "done": "green", "failed": "red", "blocked": "red", "guard": "yellow",
    "interrupted": "yellow", "skipped": "yellow", "budget": "yellow", "lock": "yellow", "lag": "yellow",
    "objective": "red", "error": "red",
}  # fmt: skip


def open_console() -> Console:
    """Standard output, as wide as its terminal, or plain where there is none. NO_COLOR is honoured."""
    console = Console(highlight=False)
    if console.is_terminal:
        return console
    return Console(highlight=False, width=PLAIN_WIDTH, file=cast("IO[str]", PlainOutput(sys.stdout)))


def tell(console: Console, markup: str, style: str | None = None) -> None:
    """A message: wrapped on a terminal, a single line elsewhere, so that no part of it can pass for a line of ours."""
    console.print(line(markup), style=style, soft_wrap=not console.is_terminal)


def show_plan(console: Console, plan: Plan) -> None:
    """The steps that have something to do, and below them the tables where there is nothing."""
    console.print(f"Plan as of {plan.as_of:%Y-%m-%d %H:%M:%S} UTC (reads only, nothing is changed)")
    grid = grid_of("task", "table", ("rows", "right"), "what")
    analyzed = [step for step in plan.steps if step.strategy == "analyze"]
    for step in plan.steps:
        if step not in analyzed and not _is_idle(step):
            rows = "?" if step.rows is None else f"{'' if step.exact else '~'}{step.rows:,}"
            rows = rows if step.transactional else ""
            time = "" if step.expected is None or step.expected < 1 else f"; {roughly(step.expected)}"
            what = step.summary + time if step.strategy == step.task else f"{step.strategy}: {step.summary}{time}"
            grid.add_row(step.task, escape(short(str(step.table))), rows, escape(line(what)))
    if grid.row_count:
        show_grid(console, grid)
    else:
        console.print("" if analyzed else "\nNothing to do.\n")
    if any(not step.exact and step.rows for step in plan.steps):
        console.print("~ an estimate, or a count that the steps before it may change", style="dim")
    _list(console, "Statistics (analyze)", ((step.task, str(step.table)) for step in analyzed), with_task=False)
    _list(
        console,
        "Nothing to do",
        ((step.task, str(step.table)) for step in plan.steps if _is_idle(step) and not _is_absent(step)),
    )
    _list(
        console,
        "Absent here",
        ((step.task, str(step.table)) for step in plan.steps if _is_absent(step)),
        with_task=False,
    )
    if plan.approve is not None:
        console.print(f"Stopped by a limit. To let exactly this pass: run ... --approve {plan.approve}", style="yellow")
    _nothing_here(console, everything=bool(plan.steps) and all(_is_absent(step) for step in plan.steps))


def show_run(console: Console, run: Run) -> None:
    """The steps of a run that did something, how it ended, and errors in full below the table."""
    idle = [step for step in run.steps if step.status is StepStatus.SUCCEEDED and not _worked(step)]
    absent = [step for step in run.steps if step.status is StepStatus.ABSENT]
    analyzed = [step for step in run.steps if step.strategy == "analyze" and step.status is StepStatus.SUCCEEDED]
    grid = grid_of(
        "task",
        "table",
        ("rows", "right"),
        ("before", "right"),
        ("after", "right"),
        ("time", "right"),
        "ended",
    )
    for step in run.steps:
        if step not in idle and step not in absent and step not in analyzed:
            grid.add_row(
                step.task, escape(short(step.table)), _rows(step), size(step.bytes_before),
                size(step.bytes_after), span(step.seconds), coloured(step.stop_reason or step.status),
            )  # fmt: skip
    if grid.row_count:
        show_grid(console, grid)
    _list(console, "Statistics (analyze)", ((step.task, step.table) for step in analyzed), with_task=False)
    _list(console, "Nothing to do", ((step.task, step.table) for step in idle if step not in analyzed))
    _list(console, "Absent here", ((step.task, step.table) for step in absent), with_task=False)
    _nothing_here(console, everything=bool(absent) and len(absent) == len(run.steps))
    for step in run.steps:
        if step.updated:
            tell(console, escape(f"{step.task} {short(step.table)}: {step.updated:,} rows corrected"))
        if step.paused >= _WORTH_TELLING:
            tell(console, escape(f"{step.task} {short(step.table)}: held back for {step.paused:.1f} s by [lag]"))
        if step.lag_after:
            tell(console, escape(f"{step.task} {short(step.table)}: {overdue(step)}"), "yellow")
        if step.note and step not in absent and not _COUNTED.fullmatch(step.note):
            tell(console, escape(f"{step.task} {short(step.table)}: {step.note}"))
    if run.note:
        tell(console, escape(f"Note: {run.note}."))
    _show_errors(console, run)
    tell(console, _sentence(run))


def _show_errors(console: Console, run: Run) -> None:
    """Each message once, with the tables that it is about; the ledger has them all."""
    tables: dict[tuple[str, str], list[str]] = {}
    for step in run.steps:
        if step.error:
            state = f" [{step.sqlstate}]" if step.sqlstate else ""
            said = (str(step.stop_reason or step.status), f"{step.error}{state}")
            tables.setdefault(said, []).append(f"{step.task} {short(step.table)}")
    for (reason, message), names in list(tables.items())[:_MOST_ERRORS]:
        tell(console, f"{coloured(reason)} {escape(', '.join(names))}: {escape(message)}")
    if len(tables) > _MOST_ERRORS:
        console.print(
            f"and {len(tables) - _MOST_ERRORS} more messages; `history --run {run.id} --json` has all of them"
        )


def show_history(console: Console, runs: list[Run]) -> None:
    """The last runs, newest first."""
    if not runs:
        console.print("The ledger has no runs yet.")
        return
    grid = grid_of(("run", "right"), "name", "by", "started (UTC)", ("time", "right"), ("rows", "right"), "ended")
    for run in runs:
        time = span(run.spent) if run.ended_at else ""
        reason = "" if run.stop_reason in (None, StopReason.DONE) else f" ({coloured(run.stop_reason)})"
        grid.add_row(
            str(run.id), escape(line(run.name)), escape(line(run.scheduler)), f"{run.started_at:%Y-%m-%d %H:%M}", time,
            f"{run.rows:,}", f"{coloured(run.status)}{reason}",
        )  # fmt: skip
    show_grid(console, grid)


def show_changes(console: Console, counts: dict[str, tuple[int, int]], runs: list[Run]) -> None:
    """Table by table what several runs changed; `counts` are rows before and after."""
    grid = grid_of(
        "table", ("rows\nbefore", "right"), ("deleted", "right"), ("rows\nafter", "right"), ("size\nbefore", "right"),
        ("size\nafter", "right"), ("time", "right"),
    )  # fmt: skip
    steps = [step for run in runs for step in run.steps]
    for table, (before, after) in counts.items():
        own = [step for step in steps if step.table == table]
        sizes = [size(step.bytes_before) for step in own[:1]] + [size(step.bytes_after) for step in own[-1:]]
        deleted = sum(step.rows for step in own)
        seconds = span(sum(step.seconds for step in own)) if own else ""
        grid.add_row(
            escape(short(table)), f"{before:,}", f"{deleted:,}", f"{after:,}", *(sizes or ["", ""]), seconds,
        )  # fmt: skip
    show_grid(console, grid)


def overdue(step: StepResult) -> str:
    """For how long what a step has left should be gone."""
    before = f" ({spelled(step.lag_before)} before)" if step.lag_before else ""
    return f"what is left should have been gone for {spelled(step.lag_after or 0)}{before}"


def short(table: str) -> str:
    """The table without the schema that goes without saying, on one line."""
    return line(table.removeprefix("public."))


def coloured(word: str) -> str:
    """A status or stop reason as markup, in the colour of its weight."""
    colour = _COLOURS.get(word)
    return f"[{colour}]{word}[/{colour}]" if colour else str(word)


def grid_of(*columns: str | tuple[str, str]) -> Grid:
    """An empty table; a column may be given with `right`, where numbers stand."""
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        name, right = (column[0], True) if isinstance(column, tuple) else (column, False)
        width = _WIDTHS.get(name)
        grid.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold", min_width=width)
    return grid


def show_grid(console: Console, grid: Grid) -> None:
    """A table, as wide as the terminal lets it be; where there is none, as a narrow one would."""
    console.print(grid, width=None if console.is_terminal else PLAIN_TABLE)


def _list(console: Console, title: str, tables: Iterable[tuple[str, str]], *, with_task: bool = True) -> None:
    """`title: task table, table; task table`, where there is anything to list."""
    by_task: dict[str, list[str]] = {}
    for task, table in tables:
        by_task.setdefault(task if with_task else "", []).append(short(table))
    if by_task:
        told = "; ".join(f"{task} {', '.join(dict.fromkeys(names))}".strip() for task, names in by_task.items())
        console.print(escape(f"{title}: {told}"), style="dim")


def _sentence(run: Run) -> str:
    name = escape(f"Run {run.id} {run.name}")
    vacuumed = sum(step.strategy == "vacuum" and step.status is StepStatus.SUCCEEDED for step in run.steps)
    rows = f"{run.rows:,} rows deleted" + (f", {vacuumed} tables vacuumed" if vacuumed else "")
    if run.status is RunStatus.SUCCEEDED:
        return f"{name} {coloured(run.status)}: {rows}."
    why = escape(f"{rows}. {run.error or ''}")
    return f"{name} {coloured(run.status)} ({run.stop_reason}): {why}"


def _rows(step: StepResult) -> str:
    if step.strategy in _WITHOUT_ROWS:
        return ""
    return f"{step.rows:,}"


def _nothing_here(console: Console, *, everything: bool) -> None:
    if everything:
        console.print(
            "Not one table of the policy is in this database: check MAINTENANCE_POLICY, PGDATABASE and the role's "
            "search_path.",
            style="yellow",
        )


def _worked(step: StepResult) -> bool:
    return bool(step.rows or step.updated or step.strategy in _WITHOUT_ROWS)


def _is_absent(step: Step) -> bool:
    return isinstance(step, Settled) and step.verdict.status is StepStatus.ABSENT


def _is_idle(step: Step) -> bool:
    """Nothing would go, for certain, or the table is absent."""
    if isinstance(step, Settled) and step.verdict.stop_reason is not StopReason.DONE:
        return False
    return step.transactional and step.exact and step.rows == 0 and not step.updated
