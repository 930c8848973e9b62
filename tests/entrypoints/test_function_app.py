"""The Functions app: it indexes, and its timers do what the schedule promises."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable

import azure.functions as func
import pytest
from azure.functions.timer import TimerRequest

from maintenance import settings
from maintenance.errors import PolicyError, RunFailed
from maintenance.lease import lease
from maintenance.settings import parse_duration
from maintenance.variables import LIBPQ, PREFIX, SETTINGS
from tests.databases import ROOT, Database
from tests.gateway import FUNCTIONS, Out

HOST = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
LOCAL = json.loads((ROOT / "local.settings.json.example").read_text(encoding="utf-8"))["Values"]
POLICY = """
[[retention]]
table = "log"
column = "created_at"
keep = "30 days"
"""
SCHEMA = """
create table log (id int primary key, created_at timestamptz);
insert into log select n, now() + interval '1 hour' - n * interval '1 day' from generate_series(1, 100) n;
"""
REFUSING = """
create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$;
create trigger refuse before delete on log for each row execute function refuse();
"""


@pytest.fixture
async def shelf(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """70 of 100 log entries are expired; the environment is that of an app of this database."""
    await database.execute(SCHEMA)
    database.write_policy(POLICY)
    for name, value in database.environment.items():
        monkeypatch.setenv(name, value)
    return database


async def timer(name: str, *, past_due: bool = False) -> list[str]:
    """What the host does when the schedule is due; returns what is sent to the queue."""
    function: Callable[[func.TimerRequest, Out], Awaitable[None]] = FUNCTIONS[name].get_user_function()
    out = Out()
    await function(TimerRequest(past_due=past_due), out)
    return out.values


@pytest.mark.parametrize(
    ("name", "schedule"), [("daily_cleanup", "DAILY_CLEANUP_SCHEDULE"), ("weekly_vacuum", "WEEKLY_VACUUM_SCHEDULE")]
)
def test_each_timer_is_indexed_with_its_schedule_from_the_settings(name: str, schedule: str) -> None:
    bindings = map(json.loads, FUNCTIONS[name].get_raw_bindings())
    (described,) = [binding for binding in bindings if binding["type"] == "timerTrigger"]
    assert described["schedule"] == f"%{schedule}%"
    assert described["runOnStartup"] is False
    assert described["useMonitor"] is True
    assert schedule in LOCAL


def test_the_app_has_these_functions_and_no_others() -> None:
    http = {"start_run", "list_runs", "show_run", "pause_runs", "resume_runs", "health", "report"}
    assert set(FUNCTIONS) == {"daily_cleanup", "weekly_vacuum", "continue_run", "give_up_run", *http}


async def test_the_daily_timer_cleans_up_and_writes_it_down(shelf: Database) -> None:
    await timer("daily_cleanup")
    assert await shelf.values("select count(*) from log") == [30]
    (run,) = await shelf.connection.fetch("select name, status, scheduler, rows from maintenance.run")
    assert tuple(run) == ("daily-cleanup", "succeeded", "functions", 70)


async def test_the_weekly_timer_vacuums_what_the_daily_one_deleted_from(shelf: Database) -> None:
    await timer("daily_cleanup")
    await timer("weekly_vacuum")
    steps = await shelf.connection.fetch("select task, table_name, status from maintenance.step order by id")
    assert ("vacuum", "public.log", "succeeded") in [tuple(step) for step in steps]
    assert await shelf.values("select name from maintenance.run order by id") == ["daily-cleanup", "weekly-vacuum"]


async def test_a_failed_run_raises_so_that_the_host_sees_it(shelf: Database) -> None:
    await shelf.execute(REFUSING)
    with pytest.raises(RunFailed, match=r"Run 1 daily-cleanup failed: .*not this one"):
        await timer("daily_cleanup")
    assert await shelf.values("select status from maintenance.run") == ["failed"]


async def test_a_run_that_cannot_begin_raises_too(shelf: Database) -> None:
    shelf.write_policy(POLICY.replace("30 days", "soon"))
    with pytest.raises(PolicyError):
        await timer("daily_cleanup")


async def test_a_run_that_another_one_keeps_out_is_skipped_and_does_not_raise(shelf: Database) -> None:
    async with lease(shelf.connection):
        await timer("daily_cleanup")
    assert await shelf.values("select status from maintenance.run") == ["skipped"]
    assert await shelf.values("select count(*) from log") == [100]


async def test_a_timer_that_is_late_says_so(shelf: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "maintenance")
    await timer("daily_cleanup", past_due=True)
    events = [(record.levelname, getattr(record, "event", None)) for record in caplog.records]
    began, *steps, ended = events[1:]
    assert (events[0], began, ended) == (("WARNING", "trigger_late"), ("INFO", "run_began"), ("INFO", "run_ended"))
    assert set(steps) == {("INFO", "step_ended")}


def test_the_host_gives_a_run_ten_minutes_and_loads_the_extension_bundle() -> None:
    assert (HOST["version"], HOST["functionTimeout"]) == ("2.0", "00:10:00")
    assert HOST["extensionBundle"]["id"] == "Microsoft.Azure.Functions.ExtensionBundle"
    assert re.fullmatch(r"\[4\.[\d*.]*, ?5\.0\.0\)", HOST["extensionBundle"]["version"])


def test_the_host_speaks_opentelemetry_and_has_no_settings_of_the_other_way() -> None:
    assert HOST["telemetryMode"] == "OpenTelemetry"
    assert "applicationInsights" not in HOST.get("logging", {})


def test_the_budget_ends_before_the_host_does() -> None:
    hours, minutes, seconds = map(int, HOST["functionTimeout"].split(":"))
    timeout = hours * 3600 + minutes * 60 + seconds
    default = next(setting.default for setting in SETTINGS if setting.name == "MAINTENANCE_BUDGET")
    assert parse_duration(default or "") <= timeout - 60
    assert settings.load(LOCAL, hosted=True).budget <= timeout - 60


def test_a_message_is_given_up_after_five_attempts_a_minute_apart() -> None:
    queues = HOST["extensions"]["queues"]
    assert (queues["maxDequeueCount"], queues["visibilityTimeout"]) == (5, "00:01:00")


def test_the_example_settings_are_a_daily_and_a_weekly_schedule_in_utc() -> None:
    # Six fields: second, minute, hour, day, month, day of the week (0 is Sunday).
    assert LOCAL["DAILY_CLEANUP_SCHEDULE"] == "0 0 2 * * *"
    assert LOCAL["WEEKLY_VACUUM_SCHEDULE"] == "0 0 3 * * 0"
    assert LOCAL["FUNCTIONS_WORKER_RUNTIME"] == "python"
    assert "WEBSITE_TIME_ZONE" not in LOCAL
    assert "AzureWebJobsStorage" in LOCAL


def test_the_example_settings_name_nothing_that_does_not_exist() -> None:
    ours = {name for name in LOCAL if name.startswith((PREFIX, "PG"))}
    assert ours <= {*LIBPQ, *(setting.name for setting in SETTINGS)}
    assert {"PGHOST", "PGDATABASE", "PGUSER"} <= ours
    assert (ROOT / LOCAL["MAINTENANCE_POLICY"]).is_file()


def test_what_the_app_needs_is_deployed() -> None:
    ignored = (ROOT / ".funcignore").read_text(encoding="utf-8").split()
    for needed in ("function_app.py", "host.json", "requirements.txt", "maintenance.toml", "maintenance/", "*.toml"):
        assert needed not in ignored
