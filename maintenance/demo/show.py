"""The demo: a server of its own, a fleet in it, the plan, both runs, and both again: nothing is left to do."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from maintenance.console import open_console, show_changes, show_plan, show_run
from maintenance.database import connected
from maintenance.demo.fleet import build, counted
from maintenance.demo.server import Server, embedded_server
from maintenance.documents import Document, plan_document, run_document
from maintenance.engine import performed, planned
from maintenance.errors import DemoError
from maintenance.models import RunStatus
from maintenance.progress import watching
from maintenance.runs import Plan, Request, Run
from maintenance.settings import Settings
from maintenance.target import Target
from maintenance.witness import Witness

POLICY = Path(__file__).parents[2] / "maintenance.toml"
_NAMES = ("daily-cleanup", "weekly-vacuum")


def show(settings: Settings, *, quiet: bool) -> Document:
    """Run the demo and return all of it as a document; `quiet` prints nothing.

    Raises:
        DemoError: the server cannot be started, or the second round still found something to do.
    """
    console = Console(quiet=True) if quiet else open_console()
    console.print("Starting a PostgreSQL of its own ...")
    with embedded_server(bin_directory=settings.postgres_bin) as server:
        return asyncio.run(_shown(console, _settings(settings, server)))


def _settings(settings: Settings, server: Server) -> Settings:
    target = Target(
        host=server.host, port=server.port, user=server.user, password=server.password, database="postgres",
        sslmode="disable",
    )  # fmt: skip
    return replace(settings, target=target, policy=POLICY)


async def _shown(console: Console, settings: Settings) -> Document:
    began = time.monotonic()
    console.print("Building a ReportMate fleet in it ...")
    async with connected(settings, name="maintenance demo") as connection:
        await build(connection)
        before = await counted(connection)
    console.print(f"Built in {time.monotonic() - began:.1f} s.\n")
    plan = await planned(Request(names=("daily-cleanup",)), settings)
    show_plan(console, plan)
    runs = [await _run(console, settings, name) for name in _NAMES]
    async with connected(settings, name="maintenance demo", read_only=True) as connection:
        after = await counted(connection)
    console.print("\nWhat changed, table by table:")
    show_changes(console, {table: (rows, after[table]) for table, rows in before.items()}, runs)
    console.print("The room of deleted rows is free for new ones; a plain VACUUM does not make the files smaller.")
    console.print("\nOnce more, to see that nothing is left to do:")
    again = [await _run(console, settings, name) for name in _NAMES]
    _insist(runs, again)
    console.print(
        "\nThis was a demo; its server and its files are gone. To maintain yours: set PGHOST and read the README."
    )
    return _document(plan, runs, again) | {"rows": {table: [rows, after[table]] for table, rows in before.items()}}


async def _run(console: Console, settings: Settings, name: str) -> Run:
    console.print(f"\n{name}")
    watcher: AbstractContextManager[Witness] = nullcontext(Witness()) if console.quiet else watching(console)
    with watcher as witness:
        run = await performed(Request(names=(name,), scheduler="demo"), settings, witness=witness)
    show_run(console, run)
    return run


def _insist(runs: list[Run], again: list[Run]) -> None:
    unwell = [run.name for run in (*runs, *again) if run.status is not RunStatus.SUCCEEDED]
    busy = [f"{step.task} {step.table}" for run in again for step in run.steps if step.rows or step.updated]
    if unwell or busy:
        raise DemoError(
            f"The demo did not end as it should: not succeeded {unwell}, still busy {busy}; please report it."
        )


def _document(plan: Plan, runs: list[Run], again: list[Run]) -> Document:
    return {
        "plan": plan_document(plan),
        "runs": [run_document(run) for run in runs],
        "again": [run_document(run) for run in again],
    }
