"""The lease: one run at a time on a database, freed however a run ends; and what other sessions see of a run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from maintenance.demo.server import Server
from maintenance.lease import lease
from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.pace import Pace
from tests.databases import Database, fresh

_POLICY = '[[retention]]\ntable = "events"\ncolumn = "at"\nkeep = "30 days"\n'
_EVENTS = """
create table events (id int, at timestamptz);
insert into events select i, now() - case when i % 2 = 1 then interval '40 days' else interval '1 day' end
from generate_series(1, 100) i;
"""
_PAUSE = """
create function pause() returns trigger language plpgsql as 'begin perform pg_sleep(0.8); return null; end';
create trigger pause after delete on events for each statement execute function pause();
"""
_HELD = """
select count(*) from pg_locks join pg_database on pg_database.oid = pg_locks.database
where locktype = 'advisory' and datname = current_database()
"""


@pytest.fixture
async def events(database: Database) -> Database:
    """Fifty expired rows and fifty that stay."""
    await database.execute(_EVENTS)
    database.write_policy(_POLICY)
    return database


async def test_of_two_runs_at_once_one_works_and_the_other_is_skipped_and_recorded(events: Database) -> None:
    await events.execute(_PAUSE)
    runs = await asyncio.gather(events.run("retention"), events.run("retention"))
    skipped, worked = sorted(runs, key=lambda run: run.rows)
    assert (worked.status, worked.rows) == (RunStatus.SUCCEEDED, 50)
    assert (skipped.status, skipped.stop_reason, skipped.rows) == (RunStatus.SKIPPED, StopReason.LEASE, 0)
    assert skipped.steps == ()
    assert skipped.ended_at is not None
    recorded = await events.values("select status from maintenance.run order by id")
    assert sorted(recorded) == ["skipped", "succeeded"]


async def test_the_command_line_ends_with_4_while_another_run_holds_the_lease(events: Database) -> None:
    async with lease(events.connection):
        run = await events.cli_json("run", "retention", exit_code=4)
        assert (run["status"], run["stop_reason"], run["steps"]) == ("skipped", "lease", [])
        assert "Another run holds the lease" in run["error"]
        assert await events.values("select count(*) from events") == [100]
    history = await events.cli_json("history")
    assert [(r["id"], r["status"]) for r in history["runs"]] == [(run["id"], "skipped")]
    assert (await events.run("retention")).rows == 50


async def test_a_plan_needs_no_lease(events: Database) -> None:
    async with lease(events.connection):
        assert (await events.plan("retention")).steps[0].rows == 50


async def test_a_skipped_run_says_who_works_and_leaves_the_ledger_of_that_run_alone(events: Database) -> None:
    await events.execute(_PAUSE)
    task = asyncio.create_task(events.run("retention"))
    name = await _working(events)
    skipped = await events.run("retention")
    assert skipped.status is RunStatus.SKIPPED
    assert name in str(skipped.error)
    assert await events.values("select status from maintenance.run order by id") == ["running", "skipped"]
    assert await events.values("select distinct status from maintenance.step") == ["running"]
    assert (await task).status is RunStatus.SUCCEEDED


async def test_a_lease_on_one_database_does_not_block_another_of_the_same_server(
    events: Database, server: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    async with fresh(server, f"{events.name}_other", folder) as other, lease(other.connection):
        assert (await events.run("retention")).status is RunStatus.SUCCEEDED
        await other.execute(_EVENTS)
        assert (await other.run("retention", policy=_POLICY)).status is RunStatus.SKIPPED


async def test_the_lease_is_free_after_a_success(events: Database) -> None:
    assert (await events.run("retention")).status is RunStatus.SUCCEEDED
    assert await _free(events)


async def test_the_lease_is_free_after_a_failure(events: Database) -> None:
    await events.execute(
        "create function refuse() returns trigger language plpgsql as $$begin raise exception 'no'; end$$;"
        "create trigger refuse before delete on events execute function refuse()"
    )
    assert (await events.run("retention")).status is RunStatus.FAILED
    assert await _free(events)


def _broken(*_: object) -> None:
    raise RuntimeError("the pace broke")


async def test_the_lease_is_free_after_an_exception_and_the_next_run_closes_what_broke(events: Database) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pace, "size_within", _broken)  # as any code of ours may break
        with pytest.raises(RuntimeError, match="the pace broke"):
            await events.run("retention")
    assert await _free(events)
    assert (await events.run("retention")).rows == 50
    assert await events.values("select status from maintenance.run order by id") == ["interrupted", "succeeded"]
    assert await events.values("select status from maintenance.step order by id") == [
        StepStatus.INTERRUPTED,
        StepStatus.SUCCEEDED,
    ]


async def test_the_lease_is_free_after_a_run_is_cancelled(events: Database) -> None:
    await events.execute(_PAUSE)
    task = asyncio.create_task(events.run("retention"))
    await _working(events)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await _free(events)
    assert (await events.run("retention")).rows == 50


async def test_the_session_is_named_for_the_run_and_its_step_while_it_works(events: Database) -> None:
    await events.execute(_PAUSE)
    await events.execute("create table others as select * from events")
    task = asyncio.create_task(events.run("retention", policy=_POLICY + _POLICY.replace("events", "others")))
    name = await _working(events)
    run = await task
    assert name == f"maintenance run {run.id} retention public.events"


async def _working(database: Database) -> str:
    """Wait until a run is in the middle of a delete; returns the name of its session."""
    for _ in range(500):
        names = await database.values(
            "select application_name from pg_stat_activity where datname = current_database()"
            " and wait_event = 'PgSleep' and application_name like 'maintenance%'"
        )
        if names:
            return str(names[0])
        await asyncio.sleep(0.01)
    raise AssertionError("no run came to its first delete")


async def _free(database: Database) -> bool:
    """Whether nobody holds the lease, once the server has noticed that the session ended."""
    for _ in range(100):
        if await database.values(_HELD) == [0]:
            return True
        await asyncio.sleep(0.05)
    return False
