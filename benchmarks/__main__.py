"""`python -m benchmarks`: measure, print the table, and write what is asked for."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks import document, row
from benchmarks.contenders import BenchmarkError
from benchmarks.document import Document
from benchmarks.rows import rows
from benchmarks.site import located, opened
from benchmarks.state import States
from benchmarks.table import grid
from maintenance import settings
from maintenance.errors import MaintenanceError

_WIDTH = 120


def main(words: list[str] | None = None) -> int:
    """Measure; 1 where contenders disagreed or one of them failed. A target that is missed is no failure."""
    arguments = _parser().parse_args(words)
    output = Console(highlight=False)
    console = output if output.is_terminal else Console(highlight=False, width=_WIDTH)
    try:
        found = asyncio.run(_measured(arguments, Console(stderr=True, highlight=False)))
    except (BenchmarkError, MaintenanceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    console.print(grid(found))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


async def _measured(arguments: argparse.Namespace, console: Console) -> Document:
    with located(settings.load()) as (target, binaries), tempfile.TemporaryDirectory() as folder:
        async with opened(target, binaries) as site:
            chosen = _chosen(rows(arguments.scale, site, full=arguments.full), arguments.only)
            found = await document.head(site, scale=arguments.scale, full=arguments.full, rounds=arguments.rounds)
            states = States(site, Path(folder))
            began = time.monotonic()
            for place, one in enumerate(chosen):
                if one.absent:
                    found["rows"].append(document.missing(one))
                    continue
                result = await row.run(one, states, arguments.rounds, _teller(console, began))
                found["rows"].append(document.row_document(result))
                await states.forget({state for later in chosen[place + 1 :] for state in later.states()})
            found["seconds"] = round(time.monotonic() - began)
            return found


def _teller(console: Console, began: float) -> Callable[[str], None]:
    return lambda text: console.print(f"{time.monotonic() - began:6.1f} s  {text}", style="dim")


def _chosen(found: tuple[row.Row, ...], only: str | None) -> list[row.Row]:
    wanted = (only or "").replace(",", " ").split()
    known = [one.slug for one in found]
    strange = sorted(set(wanted) - set(known))
    if strange:
        raise BenchmarkError(f"there is no row {', '.join(strange)}; the rows are {', '.join(known)}")
    return [one for one in found if not wanted or one.slug in wanted]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, metavar="N", help="multiplies all amounts of rows")
    parser.add_argument("--only", metavar="ROWS", help="these rows of the table, by their short names")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each row, in place of its own number")
    parser.add_argument("--full", action="store_true", help="with the largest sizes, which take half an hour")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
