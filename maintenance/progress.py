"""Progress of a run for a person: a bar for it and each step at hand on a terminal, a line a step anywhere else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from maintenance.budget import roughly
from maintenance.console import coloured, short, tell
from maintenance.models import Batch, StepStatus, StopReason, Verdict
from maintenance.steps import Settled, Step
from maintenance.witness import Outcome, Witness


@contextmanager
def watching(console: Console) -> Iterator[Witness]:
    """A witness that draws bars while the block runs, or prints lines where the output is no terminal."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    progress = Progress(
        TextColumn("{task.description:<34}"), BarColumn(bar_width=24), TextColumn("{task.fields[detail]:>18}"),
        TimeElapsedColumn(), console=console, transient=True,
    )  # fmt: skip
    with progress:
        yield _Bars(console, progress)


class _Lines(Witness):
    """A line for each step that did something, or did not do what it should."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def unseen(self, what: str) -> None:
        tell(self._console, escape(f"  {what}"), "yellow")

    def ended(self, step: Step, verdict: Verdict, outcome: Outcome) -> None:
        rows = outcome.rows
        if verdict.status is StepStatus.ABSENT or (
            step.transactional and not rows and verdict.stop_reason is StopReason.DONE
        ):
            return
        amount = f"{rows:>9,} rows" if step.transactional else f"{'':>14}"
        seconds = "" if isinstance(step, Settled) else f"{outcome.seconds:6.2f} s"
        name = escape(f"  {step.task:<12} {short(str(step.table)):<20} {amount} {seconds:>8}")
        tell(self._console, f"{name}  {coloured(verdict.stop_reason)}")


class _Bars(_Lines):
    """The lines, and below them how far the run is, and each step that is going on."""

    def __init__(self, console: Console, progress: Progress) -> None:
        super().__init__(console)
        self._progress = progress
        self._run = progress.add_task("all steps", total=0, detail="")
        self._steps: dict[tuple[str, str, str], TaskID] = {}

    def planned(self, steps: Sequence[Step]) -> None:
        total = (self._progress.tasks[self._run].total or 0) + len(steps)
        self._progress.update(self._run, total=total)

    def began(self, step: Step) -> None:
        name = escape(f"{step.task} {short(str(step.table))}")
        self._steps[step.place] = self._progress.add_task(name, total=None, detail=_expected(step))

    def advanced(self, step: Step, batch: Batch, rows: int, seconds: float) -> None:
        share = batch.progress
        if share is None and step.rows:
            share = min(rows / step.rows, 0.99)
        detail = f"{rows:,} rows" if step.transactional else ""
        bar = self._steps[step.place]
        if share is None:
            self._progress.update(bar, detail=detail)
        else:
            self._progress.update(bar, total=1.0, completed=share, detail=detail)

    def held(self, step: Step, why: str) -> None:
        if step.place in self._steps:
            self._progress.update(self._steps[step.place], detail="held back by lag")

    def ended(self, step: Step, verdict: Verdict, outcome: Outcome) -> None:
        super().ended(step, verdict, outcome)
        if step.place in self._steps:
            self._progress.remove_task(self._steps.pop(step.place))
        done = self._progress.tasks[self._run].completed + 1
        self._progress.update(
            self._run, completed=done, detail=f"{done:.0f} of {self._progress.tasks[self._run].total:.0f}"
        )


def _expected(step: Step) -> str:
    return f"of {roughly(step.expected)}" if step.expected is not None and step.expected >= 1 else ""
