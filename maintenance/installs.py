"""Installs: the verbs `install` and `sql pg-cron`, and what they show."""

from __future__ import annotations

import argparse
import asyncio

from rich.console import Console

from maintenance.answer import Answer
from maintenance.database import connected
from maintenance.documents import Document
from maintenance.errors import UsageError
from maintenance.ledger import Ledger
from maintenance.pg_cron.installation import Installed, When, printed, remove
from maintenance.pg_cron.installation import install as install_cron
from maintenance.pg_cron.jobs import DAILY, WEEKLY
from maintenance.settings import Settings


def install(options: argparse.Namespace, settings: Settings) -> Answer:
    """The ledger; or the compiled policy with pg_cron's jobs, put in or taken out."""
    given = [
        f"--{name.replace('_', '-')}"
        for name in ("remove", "daily", "weekly", "cron_database")
        if getattr(options, name)
    ]
    if given and not options.pg_cron:
        raise UsageError(f"{given[0]} is about pg_cron's jobs; write install --pg-cron {given[0]} ...")
    if options.remove:
        gone = asyncio.run(remove(settings, options.cron_database))
        return Answer.saying(
            {"removed": gone}, f"{gone} jobs of pg_cron and the compiled policy were removed; the ledger stays."
        )
    if options.pg_cron:
        installed = asyncio.run(install_cron(settings, _when(options)))
        return Answer(document=_document(installed), show=lambda console: _show(console, installed))
    asyncio.run(_ledger(settings))
    return Answer.saying({"installed": True}, "The ledger is installed (schema maintenance).")


def script(options: argparse.Namespace, settings: Settings) -> Answer:
    """The SQL that `install --pg-cron` runs."""
    text = asyncio.run(printed(settings, _when(options)))
    return Answer(document={"sql": text}, show=lambda console: _write(console, text))


def _when(options: argparse.Namespace) -> When:
    return When(daily=options.daily or DAILY, weekly=options.weekly or WEEKLY, cron_database=options.cron_database)


async def _ledger(settings: Settings) -> None:
    async with connected(settings, name="maintenance install") as connection:
        await Ledger(connection).install()


def _document(installed: Installed) -> Document:
    return {
        "installed": True,
        "digest": installed.compilation.digest,
        "cron_database": installed.compilation.cron_database,
        "jobs": [{"name": job.name, "schedule": job.schedule, "command": job.command} for job in installed.jobs],
    }


def _show(console: Console, installed: Installed) -> None:
    where = installed.compilation.cron_database
    console.file.write(
        f"The policy is compiled, and pg_cron has {len(installed.jobs)} jobs for it (database {where}, hours in GMT):\n"
    )
    for job in installed.jobs:
        console.file.write(f"  {job.schedule:<14} {job.name}\n")


def _write(console: Console, text: str) -> None:
    """As it is: the console would break its lines."""
    console.file.write(text)
