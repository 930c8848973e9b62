"""The command line: `python -m maintenance VERB`. Exit codes: 0 done, 1 failed, 2 wrong use, 3 work left, 4 skipped."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace

from maintenance import settings as environment
from maintenance.budget import Budget
from maintenance.database import connected
from maintenance.documents import Document, error_document, history_document, plan_document, run_document
from maintenance.engine import Request, performed, planned
from maintenance.errors import ConnectionLost, MaintenanceError, StatementRefused, UsageError
from maintenance.ledger import Ledger
from maintenance.models import Run, RunStatus, Settled, StepStatus
from maintenance.settings import Settings
from maintenance.witness import Witness

EXIT_CODES = {
    RunStatus.SUCCEEDED: 0,
    RunStatus.FAILED: 1,
    RunStatus.INTERRUPTED: 3,
    RunStatus.SKIPPED: 4,
    RunStatus.RUNNING: 3,
}
_FAILED = 1
_WRONG_USE = 2
_CTRL_C = 130
_DESCRIPTION = """\
Maintain a PostgreSQL database by a policy file: delete what is old, duplicate, orphaned or unreferenced, vacuum, and
keep statistics fresh; in short committed batches, inside a time budget, written down in a ledger."""
_EPILOG = """\
NAME is a task (retention, duplicates, orphans, unreferenced, vacuum, statistics) or a group: daily-cleanup (the first
four, and statistics of the tables that they changed; the default) or weekly-vacuum (vacuum and statistics).

The database is the one of libpq's variables: PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD, PGPASSFILE, PGSSLMODE,
PGSSLROOTCERT. Our own settings start with MAINTENANCE_:
{settings}

Exit codes: 0 all done; 1 a step failed; 2 wrong use, settings or policy; 3 stopped with work left (budget, lock, guard,
lag, paused); 4 skipped, another run holds the lease."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, do, print; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.verb(options))
    except KeyboardInterrupt:
        sys.stderr.write("stopped by Ctrl-C; what was committed stays, the next run goes on from there\n")
        return _CTRL_C
    except MaintenanceError as error:
        if options.debug:
            traceback.print_exception(error)
        if options.json:
            _print_json(error_document(error))
        sys.stderr.write(f"error: {error}\n")
        return _FAILED if isinstance(error, ConnectionLost | StatementRefused) else _WRONG_USE


def _plan(options: argparse.Namespace) -> int:
    plan = asyncio.run(planned(_request(options), _settings(options)))
    if options.json:
        _print_json(plan_document(plan))
    else:
        from maintenance.console import open_console, show_plan

        show_plan(open_console(), plan)
    failed = any(isinstance(step, Settled) and step.verdict.status is StepStatus.FAILED for step in plan.steps)
    return 1 if failed else 0


def _run(options: argparse.Namespace) -> int:
    settings = _settings(options)
    settings.required_target()
    if options.json:
        run = asyncio.run(_interruptible(_request(options), settings, Witness()))
        _print_json(run_document(run))
        return EXIT_CODES[run.status]
    from maintenance.console import open_console, show_run
    from maintenance.progress import watching

    console = open_console()
    with watching(console) as witness:
        run = asyncio.run(_interruptible(_request(options), settings, witness))
    show_run(console, run)
    return EXIT_CODES[run.status]


async def _interruptible(request: Request, settings: Settings, witness: Witness) -> Run:
    """A run that SIGTERM and Ctrl-C end after the batch at hand, as if its budget were used up; a second kills it."""
    budget = Budget(settings.budget)
    loop = asyncio.get_running_loop()

    def cut(number: signal.Signals) -> None:
        budget.cut()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, cut, number)
    from maintenance.telemetry import observed

    async with observed(settings, request.name, witness) as watching:
        return await performed(request, settings, budget=budget, witness=watching)


def _history(options: argparse.Namespace) -> int:
    async def read() -> list[Run]:
        async with connected(_settings(options), name="maintenance history", read_only=True) as connection:
            ledger = Ledger(connection)
            if not await ledger.readable():
                return []
            if options.run is None:
                return await ledger.runs(options.limit)
            run = await ledger.run(options.run)
            return [run] if run else []

    runs = asyncio.run(read())
    if options.run is not None and not runs:
        raise UsageError(f"--run: the ledger has no run {options.run}; `history` without it lists those it has.")
    if options.json:
        _print_json(run_document(runs[0]) if options.run is not None else history_document(runs))
        return 0
    from maintenance.console import open_console, show_history, show_run

    if options.run is None:
        show_history(open_console(), runs)
    else:
        show_run(open_console(), runs[0])
    return 0


def _install(options: argparse.Namespace) -> int:
    async def make() -> None:
        async with connected(_settings(options), name="maintenance install") as connection:
            await Ledger(connection).install()

    asyncio.run(make())
    if options.json:
        _print_json({"installed": True})
    else:
        sys.stdout.write("The ledger is installed (schema maintenance).\n")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from maintenance.demo.show import show

    document = show(_settings(options), quiet=options.json)
    if options.json:
        _print_json(document)
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    settings = environment.load()
    budget = getattr(options, "budget", None)
    return settings if budget is None else replace(settings, budget=environment.parse_duration(budget))


def _request(options: argparse.Namespace) -> Request:
    tables = tuple(name.strip() for name in (options.tables or "").split(",") if name.strip())
    if options.tables is not None and not tables:
        raise UsageError("--tables names no table; write them with commas in between, such as --tables events,devices.")
    return Request(names=tuple(dict.fromkeys(options.names)), tables=tables)


def _print_json(document: Document) -> None:
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def _parser() -> argparse.ArgumentParser:
    lines = [f"  {s.name:<28} {s.meaning} [{s.default or 'unset'}]" for s in environment.SETTINGS]
    parser = argparse.ArgumentParser(
        prog="python -m maintenance", description=_DESCRIPTION, epilog=_EPILOG.format(settings="\n".join(lines)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    def verb(name: str, act: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text)
        added.add_argument(
            "--json", action="store_true", help="print one JSON document and nothing else on standard output"
        )
        added.add_argument("--debug", action="store_true", help="show the traceback of an error")
        added.set_defaults(verb=act)
        return added

    for name, act, text in (
        ("plan", _plan, "Show what a run would do, with counts. Reads only."),
        ("run", _run, "Do it: delete in batches, write down each batch, stop within the budget."),
    ):
        added = verb(name, act, text)
        added.add_argument("names", metavar="NAME", nargs="*", help="tasks or groups (default: daily-cleanup)")
        added.add_argument("--tables", metavar="A,B", help="only these tables")
        if name == "run":
            added.add_argument("--budget", metavar="TIME", help="how long it may take, such as 8m (MAINTENANCE_BUDGET)")
    history = verb("history", _history, "Show the last runs from the ledger.")
    history.add_argument("--limit", metavar="N", type=_positive, default=20, help="how many runs (default: 20)")
    history.add_argument("--run", metavar="ID", type=_positive, help="one run with its steps")
    verb("install", _install, "Make the ledger's schema; safe to repeat.")
    verb("demo", _demo, "Start a PostgreSQL of its own, fill it with a demo fleet, and maintain it before your eyes.")
    return parser


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 19 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero, of at most 18 digits")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
