"""Somebody else who deletes from a table of the policy is reported: by the server's counters, and by pg_cron's jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from maintenance.demo.server import embedded_server
from maintenance.models import RunStatus
from maintenance.names import Table
from maintenance.other_deleters import CronJob
from tests.databases import Database, connect, planned_step, step

_RULE = '[[retention]]\ntable = "events"\ncolumn = "at"\nkeep = "30 days"\n'
_EVENTS = """
create table events (id int primary key, at timestamptz);
insert into events select i, now() - case when i <= 100 then interval '40 days' else interval '1 day' end
from generate_series(1, 10000) i;
"""


def _debian() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/lib/pg_cron.so"))
    return found[-1].parents[1] / "bin" if found else None


async def _flushed(database: Database) -> None:
    await database.execute("select pg_stat_force_next_flush()")
    await database.execute("select 1")


@pytest.mark.parametrize(
    ("others", "told"),
    [("id between 200 and 4000", True), ("id between 200 and 300", False), ("false", False)],
)
async def test_rows_that_vanish_faster_than_we_delete_are_reported(database: Database, others: str, told: bool) -> None:
    if database.connection.get_server_version().major < 15:
        pytest.skip("needs PostgreSQL 15: an older one counts with a delay")
    await database.execute(_EVENTS)
    first = await database.run("retention", policy=_RULE)
    assert (first.rows, first.steps[0].note) == (100, None)
    await database.execute(f"delete from events where {others}")
    await _flushed(database)
    second = await database.run("retention")
    assert second.status is RunStatus.SUCCEEDED
    note = second.steps[0].note
    if told:
        assert note is not None
        assert f"since run {first.id} others deleted 3,801 rows of it, more than our rule did" in note
    else:
        assert note is None


async def test_what_we_delete_ourselves_is_not_taken_for_others(database: Database) -> None:
    await database.execute(_EVENTS.replace("i <= 100", "i <= 5000"))
    assert (await database.run("retention", policy=_RULE)).rows == 5000
    await database.execute("update events set at = now() - interval '50 days' where id between 6000 and 8000")
    second = await database.run("retention")
    assert (second.rows, second.steps[0].note) == (2001, None)
    third = await database.run("retention")
    assert (third.rows, third.steps[0].note) == (0, None)


async def test_what_a_killed_run_deleted_is_not_taken_for_others(database: Database) -> None:
    await database.execute(_EVENTS.replace("i <= 100", "i <= 2000"))
    first = await database.run("retention", policy=_RULE)
    assert first.rows == 2000
    # As a kill leaves it: rows went, one batch was rolled back and counted all the same, and nobody wrote an end.
    await database.execute(
        "update events set at = now() - interval '50 days' where id between 3000 and 6000;"
        "delete from events where id between 3000 and 4500"
    )
    await database.execute("begin; delete from events where id between 4501 and 6000; rollback")
    await database.execute(
        "insert into maintenance.run (name, status, scheduler, as_of) values ('retention', 'running', 'test', now());"
        "insert into maintenance.step (run_id, task, table_name, strategy, rule, summary, status, rows, began_at)"
        " select 2, task, table_name, strategy, rule, summary, 'running', 1501, now() from maintenance.step"
    )
    await _flushed(database)
    assert (await database.run("retention")).steps[0].note is None


async def test_counters_that_began_anew_say_nothing(database: Database) -> None:
    await database.execute(_EVENTS)
    await database.run("retention", policy=_RULE)
    await database.execute("delete from events where id < 3000")
    await _flushed(database)
    await database.execute("select pg_stat_reset()")
    assert (await database.run("retention")).steps[0].note is None


@pytest.mark.parametrize(
    ("command", "deletes"),
    [
        ("DELETE FROM events WHERE at < now()", True),
        ('delete from only "public"."events"', True),
        ("truncate table public.events", True),
        ("begin; delete  from\npublic . events; commit", True),
        ("delete from events_old", False),
        ("delete from other.events", False),
        ("delete from events.other", False),
        ("vacuum events", False),
        ("insert into log select 'delete', 'events'", False),
    ],
)
def test_a_job_is_known_by_its_text(command: str, deletes: bool) -> None:
    table = Table(schema="public", name="events")
    assert CronJob(name="nightly", command=command).deletes_from(table) is deletes


@pytest.fixture
async def with_cron(tmp_path: Path) -> AsyncIterator[Database]:
    """A database of a server with the real pg_cron; none of its jobs comes to run."""
    binaries = _debian()
    if binaries is None:
        pytest.skip("needs pg_cron (Debian and Ubuntu: apt install postgresql-15-cron)")
    settings = {"shared_preload_libraries": "pg_cron", "cron.launch_active_jobs": "off"}
    with embedded_server(bin_directory=binaries, settings=settings) as server:
        connection = await connect(server, "postgres")
        try:
            await connection.execute("create extension pg_cron")
            yield Database(server=server, name="postgres", connection=connection, folder=tmp_path)
        finally:
            await connection.close()


async def test_jobs_of_pg_cron_that_delete_from_the_table_are_named(with_cron: Database) -> None:
    database = with_cron
    await database.execute(
        _EVENTS + "select cron.schedule('nightly', '0 3 * * *', 'delete from events where id % 2 = 0');"
        "select cron.schedule('elsewhere', '0 3 * * *', 'delete from other');"
        "select cron.schedule('off', '0 3 * * *', 'delete from events');"
        "update cron.job set active = false where jobname = 'off'"
    )
    database.write_policy(_RULE)
    said = "pg_cron deletes from it as well: nightly"
    assert planned_step(await database.plan("retention"), "retention").summary.endswith(said)
    run = await database.run("retention")
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 100)
    assert step(run, "retention").note == said
