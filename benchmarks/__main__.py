"""`python -m benchmarks`: measure, print the table, and write what is asked for."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks import document, page, plot, row
from benchmarks.contenders import BenchmarkError
from benchmarks.document import Document
from benchmarks.rows import rows
from benchmarks.site import located, opened
from benchmarks.state import States
from benchmarks.table import grid, medians
from maintenance import settings
from maintenance.errors import MaintenanceError

WIDTH = 130
"""Of the table, where there is no terminal."""
TOY = 0.05
"""A scale below this shows that the benchmark works, and nothing else."""


def main(words: list[str] | None = None) -> int:
    """Measure; 1 where a contender failed or left other rows than the others. A target that is missed is no failure."""
    parser = _parser()
    arguments = parser.parse_args(words)
    if arguments.scale <= 0:
        parser.error("--scale must be above zero")
    if arguments.page and (arguments.only or arguments.scale < 1):
        parser.error("--page needs all rows at full size, from one go: leave --only and --scale out")
    try:
        found = _known(arguments.read) if arguments.read else asyncio.run(_measured(arguments))
    except (BenchmarkError, MaintenanceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        print("Ended early; its databases are gone, and --json has the rows that were measured.", file=sys.stderr)
        return 130
    _show(found)
    _keep(found, arguments.json)
    if arguments.plot and plot.can_be_drawn(found):
        plot.draw(found, arguments.plot)
    if arguments.page:
        page.write(found)
    return 0


def _known(path: Path) -> Document:
    found: Document = json.loads(path.read_text(encoding="utf-8"))
    return found


async def _measured(arguments: argparse.Namespace) -> Document:
    toy = arguments.scale < TOY
    _cancel_at_signals()
    with located(settings.load(), toy=toy) as (target, binaries), tempfile.TemporaryDirectory() as folder:
        async with opened(target, binaries, toy=toy) as site:
            chosen = _chosen(rows(arguments.scale, site, full=arguments.full), arguments.only)
            found = await document.head(site, scale=arguments.scale, full=arguments.full, rounds=arguments.rounds)
            states = States(site, Path(folder))
            tell, began = _teller(), time.monotonic()
            for place, one in enumerate(chosen):
                if one.absent:
                    found["rows"].append(document.missing(one))
                    continue
                result = await row.run(one, states, arguments.rounds, tell)
                found["rows"].append(document.row_document(result))
                found["seconds"] = round(time.monotonic() - began)
                # After each row: a run that is ended early has not been for nothing.
                _keep(found, arguments.json)
                await states.forget({state for later in chosen[place + 1 :] for state in later.states()})
            return found


def _cancel_at_signals() -> None:
    """Ctrl-C and SIGTERM end the task from within, so that no database stays behind."""
    task = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def _keep(found: Document, path: Path | None) -> None:
    if path is not None:
        path.write_text(document.text(found), encoding="utf-8")


def _show(found: Document) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    console.print(medians(found))
    console.print()
    console.print(grid(found))


def _teller() -> Callable[[str], None]:
    """Says on standard error what is at work, and since when."""
    console, began = Console(stderr=True, highlight=False), time.monotonic()

    def tell(text: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {text}", style="dim")

    return tell


def _chosen(found: tuple[row.Row, ...], only: str | None) -> list[row.Row]:
    wanted = (only or "").replace(",", " ").split()
    known = [one.slug for one in found]
    strange = sorted(set(wanted) - set(known))
    if strange:
        raise BenchmarkError(f"there is no row {', '.join(strange)}; the rows are {', '.join(known)}")
    return [one for one in found if not wanted or one.slug in wanted]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Our runs and the statements that a user would write instead, in turn, on the same rows: on a "
        "server of its own, or on that of PGHOST, in databases maintenance_bench_* that it makes and drops again.",
    )
    parser.add_argument("--scale", type=float, default=1.0, metavar="N", help="multiplies all amounts of rows")
    parser.add_argument("--only", metavar="ROWS", help="these rows of the table, by their short names")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each row, in place of its own number")
    parser.add_argument("--full", action="store_true", help="with the largest sizes, which take far longer")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw cost against size there, as SVG")
    parser.add_argument("--page", action="store_true", help="write the figures of docs/performance.md and the README")
    parser.add_argument("--read", type=Path, metavar="FILE", help="measure nothing, show what --json has written there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
