"""The Functions app in Microsoft's own worker: what the host would see of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import pytest

from tests.databases import ROOT, Database

RULE = '[[retention]]\ntable = "log"\ncolumn = "created_at"\nkeep = "30 days"\n'
SCHEMA = """
create table log (id int primary key, created_at timestamptz);
insert into log select n, now() + interval '1 hour' - n * interval '1 day' from generate_series(1, 100) n;
"""


def installed(name: str) -> bool:
    try:
        return bool(distribution(name))
    except PackageNotFoundError:
        return False


pytestmark = [
    pytest.mark.skipif(sys.version_info < (3, 13), reason="needs Python 3.13: Azure runs this worker from there on"),
    pytest.mark.skipif(
        sys.version_info >= (3, 13) and not installed("azure-functions-runtime"),
        reason="the package azure-functions-runtime is not installed",
    ),
]


async def worker(database: Database, *words: str) -> Any:
    """What the worker answers, in a process of its own, somewhere else than in the app's folder."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(ROOT / "tests" / "worker.py"), str(ROOT), *words],
        env={name: value for name, value in database.environment.items() if name != "PYTHONPATH"},
        cwd=database.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_the_worker_indexes_two_timers_with_their_schedules(database: Database) -> None:
    functions = await worker(database)
    bindings = {name: (b["type"], b["schedule"]) for name, (b,) in functions.items()}
    assert bindings == {
        "daily_cleanup": ("timerTrigger", "%DAILY_CLEANUP_SCHEDULE%"),
        "weekly_vacuum": ("timerTrigger", "%WEEKLY_VACUUM_SCHEDULE%"),
    }


async def test_a_tick_of_the_timer_cleans_up(database: Database) -> None:
    await database.execute(SCHEMA)
    database.write_policy(RULE)
    assert await worker(database, "daily_cleanup", "late") == {"failed": None}
    assert await database.values("select count(*) from log") == [30]
    assert await worker(database, "weekly_vacuum") == {"failed": None}
    assert await database.values("select scheduler from maintenance.run") == ["functions", "functions"]


async def test_the_host_is_told_of_a_failed_run(database: Database) -> None:
    await database.execute(SCHEMA)
    await database.execute("create function no() returns trigger language plpgsql as $$ begin raise 'not this'; end $$")
    await database.execute("create trigger no before delete on log for each row execute function no()")
    database.write_policy(RULE)
    failed = (await worker(database, "daily_cleanup"))["failed"]
    assert "RunFailed" in failed
    assert "not this" in failed


async def test_the_host_is_told_of_a_run_that_could_not_begin(database: Database) -> None:
    assert "No policy file" in (await worker(database, "daily_cleanup"))["failed"]
