"""A run in slices: the same run and instant, until it is done; what comes twice, late or after a crash."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from maintenance import engine
from maintenance.engine import abandoned, continued, never_begun, performed_once, queued
from maintenance.errors import LeaseHeld, Paused, UsageError
from maintenance.lease import lease
from maintenance.models import RunStatus, StopReason
from maintenance.runs import Request, Run
from tests.databases import Database, step
from tests.sessions import application, counted, locked

# A row a block, and a millisecond a row: a slice of 500 ms does not suffice for 770 rows.
SCHEMA = """
create table log (id int primary key, at timestamptz, filler char(7500));
alter table log alter filler set storage plain;
insert into log select n, now() + interval '1 hour' - n * interval '1 day', '' from generate_series(1, 800) n;
create table other (id int primary key, at timestamptz);
insert into other select n, now() + interval '1 hour' - n * interval '1 day' from generate_series(1, 40) n;
create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.001); return old; end $$;
create trigger slow before delete on log for each row execute function slow();
"""
POLICY = """
[[retention]]
table = "log"
column = "at"
keep = "30 days"
[[retention]]
table = "absent"
column = "at"
keep = "30 days"
[[retention]]
table = "other"
column = "at"
keep = "30 days"
"""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """No session dies here without a word, so nobody needs to wait for it."""
    monkeypatch.setattr(engine, "_DYING", 0.2)
    monkeypatch.setattr(engine, "_WAITING", 0.2)


@pytest.fixture
async def logs(database: Database) -> Database:
    """770 of 800 log entries and 10 of 40 others are expired; the former go slowly."""
    await database.execute(SCHEMA)
    database.write_policy(POLICY)
    return database


async def on(database: Database, run: Run, number: int | None = None, **changed: Any) -> Run | None:
    settings = replace(database.settings, **{"budget": 0.3, **changed})
    return await continued(run.id, run.slices if number is None else number, settings)


async def left(database: Database) -> list[int]:
    return [(await database.values(f"select count(*) from {table}"))[0] for table in ("log", "other")]


async def test_slice_after_slice_is_one_run_of_one_instant_with_one_row_a_step(logs: Database) -> None:
    budget = 0.5
    run = first = await logs.run("retention", budget=budget)
    while run.left_over:
        following = await on(logs, run, budget=budget)
        assert following is not None
        assert (following.id, following.as_of, following.slices) == (first.id, first.as_of, run.slices + 1)
        if following.progress == run.progress:
            # So busy a machine that half a second was not enough for one batch.
            budget *= 2
            assert budget < 10
        run = following
        assert run.slices < 20
    assert (run.status, run.stop_reason, run.rows) == (RunStatus.SUCCEEDED, StopReason.DONE, 780)
    assert run.slices > 1
    assert run.spent > 0.4
    assert await left(logs) == [30, 30]
    assert {(s.table, s.rows) for s in run.steps} == {("public.log", 770), ("absent", 0), ("public.other", 10)}
    assert len(run.steps) == 3
    assert await logs.values("select count(*) from maintenance.run") == [1]


async def test_a_message_twice_changes_nothing(logs: Database) -> None:
    first = await logs.run("retention", budget=0.3)
    second = await on(logs, first)
    assert second is not None
    state = await left(logs)
    # Nothing but to ask for the slice that is next, which the worker may have died before it did.
    assert await on(logs, first) == second
    assert await on(logs, first, 0) is None
    assert await on(logs, first, 7) is None
    assert await left(logs) == state
    done = await on(logs, second, budget=60)
    assert done is not None
    assert done.status is RunStatus.SUCCEEDED
    for number in range(4):
        assert await on(logs, done, number) is None


async def test_a_message_that_a_newer_run_has_overtaken_changes_nothing(logs: Database) -> None:
    first = await logs.run("retention", budget=0.3)
    newer = await logs.run("retention")
    assert newer.status is RunStatus.SUCCEEDED
    assert await on(logs, first) is None
    assert await logs.values("select slices from maintenance.run order by id") == [1, 1]


async def test_a_newer_run_that_did_not_do_the_work_overtakes_nothing(logs: Database) -> None:
    first = await logs.run("retention", budget=0.3)
    await logs.run("retention", tables=["other"])
    await logs.execute("insert into maintenance.pause default values")
    assert (await logs.run("retention")).stop_reason is StopReason.PAUSED
    await logs.execute("delete from maintenance.pause")
    run = await on(logs, first, budget=60)
    assert run is not None
    assert run.status is RunStatus.SUCCEEDED
    assert await left(logs) == [30, 30]


async def test_a_message_a_day_late_changes_nothing(logs: Database) -> None:
    first = await logs.run("retention", budget=0.3)
    await logs.execute("update maintenance.run set started_at = started_at - interval '25 hours'")
    assert await on(logs, first) is None


async def test_a_message_for_another_run_or_an_empty_ledger_changes_nothing(logs: Database) -> None:
    assert await continued(1, 1, logs.settings) is None
    done = await logs.run("retention")
    assert await on(logs, done) is None
    assert await continued(done.id + 1, 0, logs.settings) is None


async def test_a_copy_that_comes_while_the_run_is_at_work_changes_nothing(logs: Database) -> None:
    first = await logs.run("retention", budget=0.3)
    async with application(logs) as holder, lease(holder):
        await logs.execute("update maintenance.run set status = 'running', slices = slices + 1")
        assert await on(logs, first) is None


async def test_a_run_that_is_at_work_is_not_given_up(logs: Database) -> None:
    first = await logs.run("retention", budget=0.3)
    await logs.execute("update maintenance.run set status = 'running', slices = slices + 1")
    async with application(logs) as holder, lease(holder):
        assert await abandoned(first.id, first.slices, "late", logs.settings) is None
    assert await logs.values("select status from maintenance.run") == ["running"]
    failed = await abandoned(first.id, first.slices, "its worker died each time", logs.settings)
    assert failed is not None
    assert failed.status is RunStatus.FAILED


async def test_a_lease_that_another_run_holds_is_worth_another_delivery(logs: Database) -> None:
    first = await logs.run("retention", budget=0.3)
    async with application(logs) as holder, lease(holder):
        with pytest.raises(LeaseHeld):
            await on(logs, first)
    assert await logs.values("select status from maintenance.run") == ["interrupted"]
    assert await on(logs, first, budget=60)


async def test_a_slice_that_died_is_done_by_the_next_delivery_of_its_message(logs: Database) -> None:
    first = await logs.run("retention", budget=0.3)
    # What a worker leaves behind that was killed in its second slice.
    await logs.execute("update maintenance.run set status = 'running', slices = 2, stop_reason = null")
    await logs.execute("update maintenance.step set status = 'running' where status = 'interrupted'")
    run = await on(logs, first, budget=60)
    assert run is not None
    assert (run.status, run.slices, run.rows) == (RunStatus.SUCCEEDED, 2, 780)


async def test_a_slice_may_die_as_often_as_the_queue_delivers_it(logs: Database) -> None:
    first = await logs.run("retention", budget=0.3)
    died = "update maintenance.run set status = 'running', stop_reason = null, slices = 2"
    for _ in range(3):
        await logs.execute(died)
        assert await on(logs, first, budget=0.3) is not None
    assert await logs.values("select slices from maintenance.run") == [2]
    await logs.execute(died)
    failed = await abandoned(first.id, first.slices, "its message failed five times", logs.settings)
    assert failed is not None
    assert failed.status is RunStatus.FAILED
    for number in range(4):
        assert await on(logs, failed, number) is None


async def test_a_first_slice_that_died_is_done_by_the_next_delivery_of_its_message(logs: Database) -> None:
    request = Request(names=("retention",), key="message 1")
    begun = await performed_once(request, replace(logs.settings, budget=0.3))
    assert begun is not None
    assert await performed_once(request, logs.settings) == begun  # to ask for its second slice, and no more
    await logs.execute("update maintenance.run set status = 'running', stop_reason = null")
    run = await performed_once(request, logs.settings)
    assert run is not None
    assert (run.id, run.status, run.slices, run.rows) == (begun.id, RunStatus.SUCCEEDED, 1, 780)
    assert await performed_once(request, logs.settings) is None


async def test_a_begin_that_dies_each_time_is_failed_in_the_end(logs: Database) -> None:
    request = Request(names=("retention",), key="message 1")
    await performed_once(request, replace(logs.settings, budget=0.3))
    await logs.execute("update maintenance.run set status = 'running', stop_reason = null")
    failed = await never_begun(request, "its worker died each time", logs.settings)
    assert failed is not None
    assert failed.status is RunStatus.FAILED
    assert await performed_once(request, logs.settings) is None


async def test_two_copies_of_a_begin_at_once_are_one_run(logs: Database) -> None:
    request = Request(names=("retention",), key="message 1")
    await asyncio.gather(*(performed_once(request, logs.settings) for _ in range(2)))
    assert await left(logs) == [30, 30]
    done = await logs.values("select status from maintenance.run where status <> 'skipped'")
    assert done == ["succeeded"]


async def test_a_task_that_there_was_no_time_to_plan_keeps_a_run_of_some_tables_from_success(logs: Database) -> None:
    await logs.execute("drop trigger slow on log; delete from log where id % 2 = 0")
    run = await logs.run("daily-cleanup", tables=["log"], budget=0.02)
    assert (run.status, run.left_over) == (RunStatus.INTERRUPTED, True)


async def test_a_lock_while_a_later_slice_is_planned_does_not_fail_the_run_in_the_end(logs: Database) -> None:
    run: Run | None = await logs.run("retention", budget=0.3)
    assert run is not None
    async with locked(logs, "other"):
        run = await on(logs, run, lock_timeout=0.05)
    assert run is not None
    assert (run.status, run.left_over) == (RunStatus.FAILED, True)
    run = await on(logs, run, budget=60)
    assert run is not None
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 780)


async def test_a_pause_before_the_late_tasks_are_planned_is_no_success(logs: Database) -> None:
    await logs.run("retention", tables=["log"])
    await logs.execute(
        "create function hold() returns trigger language plpgsql as $$ begin "
        "insert into maintenance.pause default values on conflict do nothing; return null; end $$;"
        "create trigger hold after delete on other for each statement execute function hold()"
    )
    run = await logs.run("daily-cleanup", tables=["other"])
    assert step(run, "retention", "public.other").rows == 10
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.PAUSED)
    await logs.execute("drop trigger hold on other; delete from maintenance.pause")
    assert (await logs.run("daily-cleanup", tables=["other"])).status is RunStatus.SUCCEEDED


async def test_a_pause_is_heard_before_a_step_of_one_batch(logs: Database) -> None:
    await logs.run("retention", tables=["other"])
    await logs.execute("delete from maintenance.run")
    logs.write_policy(POLICY + "[vacuum]\ndead_rows = 0\ndead_fraction = 0\ninsert_rows = 0\ninsert_fraction = 0\n")
    await logs.execute(
        "create function hold() returns trigger language plpgsql as $$ begin "
        "insert into maintenance.pause (reason) values ('x') on conflict do nothing; return new; end $$;"
        "create trigger hold before update of batches on maintenance.step for each row execute function hold()"
    )
    await logs.execute("delete from log where id < 9; delete from other where id < 9")
    await counted(logs)
    run = await logs.run("vacuum")
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.PAUSED)
    assert sorted(step.stop_reason or "" for step in run.steps) == ["done", "paused"]


async def test_a_failed_step_is_not_tried_again_and_the_run_is_failed_in_the_end(logs: Database) -> None:
    await logs.execute(
        "create function no() returns trigger language plpgsql as $$ begin raise 'not this'; end $$;"
        "create trigger no before delete on other for each row execute function no()"
    )
    policy = POLICY.split("[[retention]]")
    logs.write_policy("[[retention]]".join(["", policy[3], policy[1]]))
    run: Run | None = await logs.run("retention", budget=0.4)
    assert run is not None
    assert (run.status, run.left_over) == (RunStatus.FAILED, True)
    run = await on(logs, run, budget=60)
    assert run is not None
    assert (run.status, run.left_over, run.rows) == (RunStatus.FAILED, False, 770)
    assert step(run, "retention", "public.other").error is not None
    assert await on(logs, run) is None


async def test_a_step_that_needs_nothing_any_more_is_closed(logs: Database) -> None:
    first = await logs.run("retention", budget=0.3)
    await logs.execute("drop table log")
    run = await on(logs, first, budget=60)
    assert run is not None
    assert run.status is RunStatus.SUCCEEDED
    assert {(s.table, s.status) for s in run.steps} >= {("public.log", "absent"), ("public.other", "succeeded")}
    assert not any(s.status == "interrupted" for s in run.steps)


async def test_a_request_is_queued_then_done_in_slices_with_its_tables_and_its_budget(logs: Database) -> None:
    request = Request(names=("retention",), tables=("log",), scheduler="http", requested_by="alice", budget=0.5)
    run: Run | None = await queued(request, logs.settings)
    assert run is not None
    assert (run.status, run.slices, run.tables, run.requested_by) == (RunStatus.QUEUED, 0, ("log",), "alice")
    run = await on(logs, run)
    assert run is not None
    assert [s.table for s in run.steps] == ["public.log"]
    run = await on(logs, run, budget=60)
    assert run is not None
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.BUDGET)
    assert 0.4 < run.spent < 0.9
    assert await left(logs) != [800, 40]


async def test_a_queued_run_is_neither_closed_nor_overtaken_before_its_day_is_over(logs: Database) -> None:
    asked = await queued(Request(names=("retention",), scheduler="http"), logs.settings)
    await logs.run("retention", tables=["other"])
    run = await on(logs, asked, budget=60)
    assert run is not None
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 770)
    late = await queued(Request(names=("retention",), scheduler="http"), logs.settings)
    await logs.execute(
        f"update maintenance.run set as_of = now() - interval '25 hours', started_at = now() - interval '25 hours' "
        f"where id = {late.id}"
    )
    await logs.run("retention")
    assert await on(logs, late) is None
    assert (await logs.values(f"select status from maintenance.run where id = {late.id}")) == ["interrupted"]


async def test_a_request_that_cannot_be_done_is_not_queued(logs: Database) -> None:
    for request in (Request(names=("retentoin",)), Request(names=("retention",), tables=("lgo",))):
        with pytest.raises(UsageError):
            await queued(request, logs.settings)
    assert not await logs.values("select 1 from pg_namespace where nspname = 'maintenance'")


async def test_two_copies_of_a_request_are_one_run(logs: Database) -> None:
    request = Request(names=("retention",), key="message 1")
    first = await performed_once(request, logs.settings)
    assert first is not None
    assert await performed_once(request, logs.settings) is None
    async with application(logs) as holder, lease(holder):
        assert await performed_once(request, logs.settings) is None
        skipped = await performed_once(replace(request, key="message 2"), logs.settings)
    assert skipped is not None
    assert skipped.status is RunStatus.SKIPPED
    assert await logs.values("select status from maintenance.run") == ["succeeded", "skipped"]


async def test_a_pause_stops_a_run_at_its_next_batch_whoever_began_it(logs: Database) -> None:
    await logs.run("retention", tables=["other"])  # makes the ledger
    await logs.execute(
        "create function hold() returns trigger language plpgsql as $$ begin "
        "insert into maintenance.pause (reason) values ('migration') on conflict do nothing; return null; end $$;"
        "create trigger hold after delete on log for each statement execute function hold()"
    )
    run = await logs.run("retention")
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.PAUSED)
    assert step(run, "retention", "public.log").batches == 1
    assert 0 < step(run, "retention", "public.log").rows < 770
    assert step(run, "retention", "public.other").stop_reason is StopReason.PAUSED
    with pytest.raises(Paused, match="migration"):
        await queued(Request(names=("retention",)), logs.settings)
    await logs.execute("drop trigger hold on log")
    again = await logs.run("retention")
    assert (again.status, again.stop_reason, again.rows) == (RunStatus.INTERRUPTED, StopReason.PAUSED, 0)
    assert "migration" in str(again.error)
    await logs.execute("delete from maintenance.pause")
    assert (await logs.run("retention")).status is RunStatus.SUCCEEDED
    assert await left(logs) == [30, 30]


async def test_a_run_that_nobody_could_go_on_with_is_failed(logs: Database) -> None:
    first = await logs.run("retention", budget=0.3)
    failed = await abandoned(first.id, first.slices, "its message failed five times", logs.settings)
    assert failed is not None
    assert (failed.status, failed.error) == (RunStatus.FAILED, "its message failed five times")
    done = await logs.run("retention")
    assert await abandoned(done.id, done.slices, "late", logs.settings) is None
    assert await abandoned(first.id, 0, "late", logs.settings) is None


async def test_a_ledger_of_an_older_version_is_brought_up_to_date(logs: Database) -> None:
    await logs.run("retention", tables=["other"])
    await logs.execute(
        "drop table maintenance.pause; alter table maintenance.step drop column paused;"
        " alter table maintenance.run drop column slices, drop column request, "
        "drop column tables, drop column requested_by, drop column budget, drop column spent, drop column note"
    )
    run = await logs.run("retention")
    assert (run.status, run.slices) == (RunStatus.SUCCEEDED, 1)
    assert len((await logs.cli_json("history"))["runs"]) == 2
