"""The Functions app in Microsoft's own worker: what the host sees of it, and what its invocations do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from maintenance.lease import lease
from maintenance.messages import Begin, Continue
from tests.databases import Database, connect
from tests.host import Host, hosted, needs_the_worker

pytestmark = needs_the_worker
STORAGE = {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
RULE = '[[retention]]\ntable = "log"\ncolumn = "created_at"\nkeep = "30 days"\n'
SCHEMA = """
create table log (id int primary key, created_at timestamptz);
insert into log select n, now() + interval '1 hour' - n * interval '1 day' from generate_series(1, 100) n;
"""
REFUSING = """
create function no() returns trigger language plpgsql as $$ begin raise 'not this'; end $$;
create trigger no before delete on log for each row execute function no();
"""
# A row a block, and a millisecond a row: in half a second only some of them go.
SLOW = """
drop table log;
create table log (id int primary key, created_at timestamptz, filler char(7500));
alter table log alter filler set storage plain;
insert into log select n, now() + interval '1 hour' - n * interval '1 day', '' from generate_series(1, 500) n;
create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.001); return old; end $$;
create trigger slow before delete on log for each row execute function slow();
"""


@pytest.fixture
async def shelf(database: Database) -> Database:
    """70 of 100 log entries are expired."""
    await database.execute(SCHEMA)
    database.write_policy(RULE)
    return database


@pytest.fixture
async def host(shelf: Database) -> AsyncIterator[Host]:
    async with hosted(shelf, STORAGE) as running:
        yield running


async def left(database: Database) -> int:
    return int((await database.values("select count(*) from log"))[0])


async def runs(database: Database) -> list[tuple[Any, ...]]:
    sql = "select status, stop_reason, slices, rows from maintenance.run order by id"
    return [tuple(row) for row in await database.connection.fetch(sql)]


async def test_the_host_receives_names_bindings_schedules_routes_and_levels(host: Host) -> None:
    found = {name: {binding["type"]: binding for binding in bindings} for name, bindings in host.functions.items()}
    timers = {name: b["timerTrigger"]["schedule"] for name, b in found.items() if "timerTrigger" in b}
    assert timers == {"daily_cleanup": "%DAILY_CLEANUP_SCHEDULE%", "weekly_vacuum": "%WEEKLY_VACUUM_SCHEDULE%"}
    queues = {name: b["queueTrigger"]["queueName"] for name, b in found.items() if "queueTrigger" in b}
    assert queues == {"continue_run": "maintenance-runs", "give_up_run": "maintenance-runs-poison"}
    sends = {name for name, b in found.items() if b.get("queue", {}).get("queueName") == "maintenance-runs"}
    assert sends == {"daily_cleanup", "weekly_vacuum", "continue_run", "start_run"}
    assert {
        b[kind]["connection"] for b in found.values() for kind in ("queue", "queueTrigger") if kind in b
    } == {"AzureWebJobsStorage"}  # fmt: skip
    http = {
        (tuple(b["httpTrigger"]["methods"]), b["httpTrigger"]["route"], b["httpTrigger"]["authLevel"])
        for b in found.values()
        if "httpTrigger" in b
    }
    assert http == {
        (("POST",), "maintenance/runs", "FUNCTION"), (("GET",), "maintenance/runs", "FUNCTION"),
        (("GET",), "maintenance/runs/{id}", "FUNCTION"), (("POST",), "maintenance/pause", "FUNCTION"),
        (("POST",), "maintenance/resume", "FUNCTION"), (("GET",), "maintenance/health", "FUNCTION"),
        (("GET",), "maintenance/report", "FUNCTION"),
    }  # fmt: skip
    assert len(found) == 11


async def test_a_tick_cleans_up_and_sends_nothing_when_nothing_is_left(host: Host, shelf: Database) -> None:
    assert (await host.tick("daily_cleanup", late=True))["failed"] is None
    assert await left(shelf) == 30
    done = await host.tick("weekly_vacuum")
    assert (done["failed"], done["sent"]) == (None, [])
    assert await shelf.values("select scheduler from maintenance.run") == ["functions", "functions"]


async def test_the_host_is_told_of_a_failed_run(host: Host, shelf: Database) -> None:
    await shelf.execute(REFUSING)
    failed = (await host.tick("daily_cleanup"))["failed"]
    assert "RunFailed" in failed
    assert "not this" in failed


async def test_the_host_is_told_of_a_run_that_could_not_begin(host: Host, shelf: Database) -> None:
    shelf.policy_file.unlink()
    assert "No policy file" in (await host.tick("daily_cleanup"))["failed"]


async def test_a_run_goes_on_in_slices_until_it_is_done(shelf: Database) -> None:
    await shelf.execute(SLOW)
    async with hosted(shelf, {**STORAGE, "MAINTENANCE_BUDGET": "400ms"}) as host:
        done = await host.tick("daily_cleanup")
        sent: list[str] = []
        while done["sent"]:
            assert done["failed"] is None
            (message,) = done["sent"]
            sent.append(message)
            assert len(sent) < 20
            done = await host.deliver(message)
        assert done["failed"] is None
    assert len(sent) > 1
    assert await left(shelf) == 30
    assert await runs(shelf) == [("succeeded", "done", len(sent) + 1, 470)]
    assert [json.loads(message)["continue"]["slice"] for message in sent] == list(range(1, len(sent) + 1))


async def test_a_message_that_comes_twice_or_late_changes_nothing(shelf: Database) -> None:
    await shelf.execute(SLOW)
    async with hosted(shelf, {**STORAGE, "MAINTENANCE_BUDGET": "400ms"}) as host:
        (first,) = (await host.tick("daily_cleanup"))["sent"]
        done = await host.deliver(first)
        before = await runs(shelf), await left(shelf)
        for _ in range(2):
            # Its worker may have died before the host took what was to be sent: so that is sent again, and no more.
            assert await host.deliver(first) == done
        assert (await runs(shelf), await left(shelf)) == before


async def test_a_slice_that_gets_nothing_done_is_the_last(shelf: Database) -> None:
    await shelf.execute(
        "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(9); return old; end $$;"
        "create trigger slow before delete on log for each row execute function slow()"
    )
    async with hosted(shelf, {**STORAGE, "MAINTENANCE_BUDGET": "300ms"}) as host:
        (message,) = (await host.tick("daily_cleanup"))["sent"]
        done = await host.deliver(message)
    assert (done["failed"], done["sent"]) == (None, [])
    assert [run[:3] for run in await runs(shelf)] == [("interrupted", "budget", 2)]


async def test_the_number_of_slices_is_bounded(shelf: Database) -> None:
    await shelf.execute(SLOW)
    async with hosted(shelf, {**STORAGE, "MAINTENANCE_BUDGET": "400ms", "MAINTENANCE_SLICES": "2"}) as host:
        (message,) = (await host.tick("daily_cleanup"))["sent"]
        assert (await host.deliver(message))["sent"] == []
    assert [run[:3] for run in await runs(shelf)] == [("interrupted", "budget", 2)]


async def test_without_a_queue_the_rest_waits_for_the_next_tick(shelf: Database) -> None:
    await shelf.execute(SLOW)
    async with hosted(shelf, {"MAINTENANCE_BUDGET": "400ms", "AzureWebJobsStorage": ""}) as host:
        done = await host.tick("daily_cleanup")
    assert (done["failed"], done["sent"]) == (None, [])
    assert [run[:2] for run in await runs(shelf)] == [("interrupted", "budget")]


async def test_a_message_that_nobody_can_handle_marks_its_run_as_failed(host: Host, shelf: Database) -> None:
    (asked,) = (await host.call("start_run", "POST", "/runs", {"name": "retention"}))["sent"]
    shelf.write_policy("nonsense")
    assert "PolicyError" in (await host.deliver(asked))["failed"]
    assert (await host.deliver(asked, "give_up_run"))["failed"] is None
    assert [run[0] for run in await runs(shelf)] == ["failed"]
    begin = Begin(name="daily-cleanup", target=None, key="k").text()
    assert (await host.deliver(begin, "give_up_run"))["failed"] is None
    assert [run[0] for run in await runs(shelf)] == ["failed", "failed"]
    assert (await host.deliver("what is this?", "give_up_run"))["failed"] is None
    shelf.write_policy(RULE)
    for late in (asked, begin):
        assert (await host.deliver(late))["failed"] is None
    assert await left(shelf) == 100


async def test_a_message_that_meets_another_run_is_sent_anew_and_not_given_up(shelf: Database) -> None:
    async with hosted(shelf, {**STORAGE, "MAINTENANCE_BUDGET": "1s"}) as host:
        (asked,) = (await host.call("start_run", "POST", "/runs", {"name": "retention"}))["sent"]
        async with lease(shelf.connection):
            waits = await host.deliver(asked)
        assert (waits["failed"], waits["sent"]) == (None, [asked])
        assert (await host.deliver(asked))["failed"] is None
    assert [run[0] for run in await runs(shelf)] == ["succeeded"]


async def test_a_run_that_is_asked_for_over_http_is_done_by_the_queue(host: Host, shelf: Database) -> None:
    accepted = await host.call("start_run", "POST", "/runs", {"name": "retention", "tables": ["log"]})
    assert accepted["status"] == 202
    place = accepted["headers"]["Location"]
    assert place == f"/api/maintenance/runs/{accepted['document']['id']}"
    assert int(accepted["headers"]["Retry-After"]) > 0
    assert accepted["document"]["status"] == "queued"
    route = {"id": place.rpartition("/")[2]}
    waiting = await host.call("show_run", "GET", f"/runs/{route['id']}", route=route)
    assert (waiting["status"], waiting["document"]["status"]) == (200, "queued")
    assert "Retry-After" in waiting["headers"]
    (message,) = accepted["sent"]
    assert (await host.deliver(message))["failed"] is None
    done = await host.call("show_run", "GET", f"/runs/{route['id']}", route=route)
    assert (done["document"]["status"], done["document"]["rows"]) == ("succeeded", 70)
    assert done["document"]["scheduler"] == "http"
    assert "Retry-After" not in done["headers"]
    assert (await host.deliver(message))["sent"] == []
    assert len(await runs(shelf)) == 1


async def test_a_dry_run_is_answered_with_the_plan(host: Host, shelf: Database) -> None:
    planned = await host.call("start_run", "POST", "/runs", {"name": "retention", "dry_run": True})
    assert (planned["status"], planned["sent"]) == (200, [])
    assert [step["rows"] for step in planned["document"]["steps"]] == [70]
    assert await left(shelf) == 100


@pytest.mark.parametrize(
    ("body", "status"),
    [("", 400), ("{", 400), ("[]", 422), ({"name": "retentoin"}, 422), ({"name": "retention", "x": 1}, 422)],
)
async def test_what_cannot_be_understood_is_a_problem_and_touches_nothing(
    host: Host, shelf: Database, body: Any, status: int
) -> None:
    refused = await host.call("start_run", "POST", "/runs", body)
    assert (refused["failed"], refused["status"], refused["sent"]) == (None, status, [])
    assert refused["headers"]["content-type"].startswith("application/problem+json")
    assert not await shelf.values("select 1 from pg_namespace where nspname = 'maintenance'")


async def test_each_tick_of_a_fleet_sends_a_message_a_target_and_one_that_fails_does_not_stop_the_others(
    shelf: Database,
) -> None:
    server = shelf.server
    place = f'host = "{server.host}"\nport = {server.port}\npolicy = "policy.toml"\n'
    fleet = f'[[target]]\nname = "gone"\ndatabase = "no_such"\n{place}'
    fleet += f'[[target]]\nname = "north"\ndatabase = "{shelf.name}"\n{place}'
    file = shelf.folder / "targets.toml"
    file.write_text(fleet)
    async with hosted(shelf, {**STORAGE, "MAINTENANCE_TARGETS": str(file)}) as host:
        begun = (await host.tick("daily_cleanup"))["sent"]
        assert [json.loads(message)["begin"]["target"] for message in begun] == ["gone", "north"]
        failed, done = [await host.deliver(message) for message in begun]
        assert "DatabaseError" in failed["failed"]
        assert done["failed"] is None
        again = await host.deliver(begun[1])
        assert (again["failed"], again["sent"]) == (None, [])
        assert len(await runs(shelf)) == 1
    async with hosted(shelf, {"AzureWebJobsStorage": "", "MAINTENANCE_TARGETS": str(file)}) as host:
        failed = await host.tick("weekly_vacuum")
        assert "target gone" in failed["failed"]
    assert [run[0] for run in await runs(shelf)] == ["succeeded", "succeeded"]


async def test_a_continuation_for_a_run_that_does_not_exist_is_ignored(host: Host) -> None:
    message = Continue(run=4711, name="vacuum", slice=1, progress="none", target=None).text()
    for _ in range(2):
        assert (await host.deliver(message)) == {"failed": None, "sent": [], "status": 0, "headers": {}, "body": ""}


async def test_health_is_ok_and_says_when_it_is_not(host: Host, shelf: Database) -> None:
    well = await host.call("health", "GET", "/health")
    assert (well["status"], well["document"]["status"]) == (200, "ok")
    other = await connect(shelf.server, "postgres")
    try:
        await other.execute(f'alter database "{shelf.name}" allow_connections false')
        ill = await host.call("health", "GET", "/health")
        assert (ill["status"], ill["document"]["status"]) == (503, "unhealthy")
    finally:
        await other.execute(f'alter database "{shelf.name}" allow_connections true')
        await other.close()
