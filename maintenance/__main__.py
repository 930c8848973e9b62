"""The command line: `python -m maintenance VERB`. Exit codes: 0 done, 1 failed, 2 wrong use, 3 work left, 4 skipped."""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from maintenance import settings as environment
from maintenance.arguments import parser
from maintenance.budget import Budget
from maintenance.documents import (
    Document,
    error_document,
    grants_document,
    plan_document,
    run_document,
)  # fmt: skip
from maintenance.engine import performed, planned
from maintenance.errors import (
    ArchiveError,
    ConnectionLost,
    LeaseHeld,
    MaintenanceError,
    SettingsError,
    StatementRefused,
    UsageError,
)  # fmt: skip
from maintenance.lines import plain
from maintenance.models import RunStatus, StepStatus
from maintenance.runs import Plan, Request, Run
from maintenance.settings import Settings
from maintenance.steps import Settled
from maintenance.witness import Witness

if TYPE_CHECKING:
    from maintenance.answer import Answer

EXIT_CODES = {
    RunStatus.SUCCEEDED: 0,
    RunStatus.FAILED: 1,
    RunStatus.INTERRUPTED: 3,
    RunStatus.SKIPPED: 4,
    RunStatus.QUEUED: 3,
    RunStatus.RUNNING: 3,
}
_UNWRITABLE = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a write to standard output can fail with; all else is no matter of showing."""
_FAILED = 1
_WRONG_USE = 2
_CTRL_C = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, do, print; returns the exit code."""
    options = parser(_VERBS).parse_args(arguments)
    try:
        _look_at_summary(options)
        code = int(options.verb(options))
        sys.stdout.flush()
        return code
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        return _unwritable(error)
    except KeyboardInterrupt:
        sys.stderr.write("stopped by Ctrl-C; what was committed stays, the next run goes on from there\n")
        return _CTRL_C
    except MaintenanceError as error:
        if options.debug:
            traceback.print_exception(error)
        if options.json:
            _print_json(error_document(error))
        sys.stderr.write(plain(f"error: {error}\n"))
        _summarize(options, error)
        if isinstance(error, LeaseHeld):
            return EXIT_CODES[RunStatus.SKIPPED]
        return _FAILED if isinstance(error, ArchiveError | ConnectionLost | StatementRefused) else _WRONG_USE


def _unwritable(error: OSError) -> int:
    """Standard output cannot be written: a reader who has closed the pipe has seen enough, all else is told.

    https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    if not isinstance(error, BrokenPipeError):
        sys.stderr.write(f"error: what was to be shown cannot be written ({error.strerror}); what was done is done.\n")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _FAILED


def _plan(options: argparse.Namespace) -> int:
    settings = _settings(options)
    plan = asyncio.run(planned(_request(options, settings), settings))
    _summarize(options, plan)
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
        run = asyncio.run(_interruptible(_request(options, settings), settings, Witness()))
        _summarize(options, run)
        _print_json(run_document(run))
        return EXIT_CODES[run.status]
    from maintenance.console import open_console, show_run
    from maintenance.progress import watching

    console = open_console()
    with watching(console) as witness:
        run = asyncio.run(_interruptible(_request(options, settings), settings, witness))
    _summarize(options, run)
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
    from maintenance.retrospect import history

    return _told(options, history(options, _settings(options)))


def _report(options: argparse.Namespace) -> int:
    from maintenance.retrospect import report

    answer = report(options, _settings(options))
    return 0 if answer is None else _told(options, answer)


def _install(options: argparse.Namespace) -> int:
    from maintenance.installs import install

    return _told(options, install(options, _settings(options)))


def _sql_pg_cron(options: argparse.Namespace) -> int:
    from maintenance.installs import script

    return _told(options, script(options, _settings(options)))


def _check(options: argparse.Namespace) -> int:
    from maintenance.checkup import check

    answer, failed = check(options, _settings(options))
    _told(options, answer)
    return _FAILED if failed else 0


def _pause(options: argparse.Namespace) -> int:
    from maintenance.pauses import pause

    return _told(options, pause(options, _settings(options)))


def _resume(options: argparse.Namespace) -> int:
    from maintenance.pauses import resume

    return _told(options, resume(options, _settings(options)))


def _archives(options: argparse.Namespace) -> int:
    from maintenance.shelves import archives

    return _told(options, archives(options, _settings(options)))


def _restore(options: argparse.Namespace) -> int:
    from maintenance.shelves import restore

    return _told(options, restore(options, _settings(options)))


def _told(options: argparse.Namespace, answer: Answer) -> int:
    if options.json:
        _print_json(answer.document)
    else:
        from maintenance.console import open_console

        answer.show(open_console())
    return 0


def _sql_grants(options: argparse.Namespace) -> int:
    from maintenance.grants import grants_for, rendered

    grants = asyncio.run(grants_for(options.role, _settings(options)))
    if options.json:
        _print_json(grants_document(grants))
    else:
        sys.stdout.write(rendered(grants))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from maintenance.demo.show import show

    document = show(_settings(options), quiet=options.json)
    if options.json:
        _print_json(document)
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    settings = environment.load()
    if hasattr(options, "target") and (settings.targets or options.target):
        from maintenance import targets

        settings = targets.one(settings, options.target)
    budget = getattr(options, "budget", None)
    try:
        return settings if budget is None else replace(settings, budget=environment.parse_duration(budget))
    except SettingsError as error:
        raise UsageError(f"--budget: {error}") from error


def _request(options: argparse.Namespace, settings: Settings) -> Request:
    tables = tuple(name.strip() for name in (options.tables or "").split(",") if name.strip())
    if options.tables is not None and not tables:
        raise UsageError("--tables names no table; write them with commas in between, such as --tables events,devices.")
    return Request(
        names=tuple(dict.fromkeys(options.names)),
        tables=tables,
        scheduler=settings.scheduler,
        approve=getattr(options, "approve", None),
    )


def _look_at_summary(options: argparse.Namespace) -> None:
    """What cannot be written is told before anything is done."""
    if getattr(options, "summary", None) is not None:
        from maintenance import summary

        path, options.summary = options.summary, None
        summary.append(path, "")
        options.summary = path


def _summarize(options: argparse.Namespace, told: Plan | Run | Exception) -> None:
    """Write the summary that was asked for; where that fails now, what was done counts nonetheless."""
    if getattr(options, "summary", None) is not None:
        from maintenance import summary

        try:
            summary.append(options.summary, summary.of(told))
        except UsageError as error:
            sys.stderr.write(plain(f"error: {error}\n"))


def _print_json(document: Document) -> None:
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


_VERBS = {
    "plan": _plan, "run": _run, "check": _check, "history": _history, "report": _report, "install": _install,
    "pause": _pause, "resume": _resume, "archives": _archives, "restore": _restore, "sql grants": _sql_grants,
    "sql pg-cron": _sql_pg_cron, "demo": _demo,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
