"""Retrospect: the verbs `history` and `report`: what the ledger has of the past, and how things stand now."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from maintenance.answer import Answer
from maintenance.bulletin import show_situation
from maintenance.chronicle import Chronicle
from maintenance.console import show_history, show_run
from maintenance.database import connected
from maintenance.documents import history_document, run_document, situation_document
from maintenance.errors import UsageError
from maintenance.runs import Run
from maintenance.settings import Settings


def history(options: argparse.Namespace, settings: Settings) -> Answer:
    """The last runs, or one with its steps.

    Raises:
        UsageError: the ledger has no such run.
    """
    runs = asyncio.run(_read(options, settings))
    if options.run is None:
        return Answer(document=history_document(runs), show=lambda console: show_history(console, runs))
    if not runs:
        raise UsageError(f"--run: the ledger has no run {options.run}; `history` without it lists those it has.")
    return Answer(document=run_document(runs[0]), show=lambda console: show_run(console, runs[0]))


async def _read(options: argparse.Namespace, settings: Settings) -> list[Run]:
    async with connected(settings, name="maintenance history", read_only=True) as connection:
        chronicle = Chronicle(connection)
        if not await chronicle.readable():
            return []
        if options.run is None:
            return await chronicle.runs(options.limit)
        run = await chronicle.run(options.run)
        return [run] if run else []


def report(options: argparse.Namespace, settings: Settings) -> Answer | None:
    """The situation; None where the page was all that was asked for, which is written then.

    Raises:
        UsageError: the page cannot be written, or two documents would go to one place.
    """
    # Imported when first used, as is the page: no other verb looks so far.
    from maintenance.gathering import situation

    if options.out == "-" and options.json:
        raise UsageError("--out - and --json would both go to standard output; take one of them, or name a file.")
    found = asyncio.run(situation(settings))
    if options.out is not None:
        from maintenance.report.page import html

        _write(options.out, html(found))
        if not options.json:
            return None
    return Answer(document=situation_document(found), show=lambda console: show_situation(console, found))


def _write(out: str, text: str) -> None:
    if out == "-":
        sys.stdout.write(text)
        return
    try:
        Path(out).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--out: {out} cannot be written ({error.strerror}); name another file.") from error
