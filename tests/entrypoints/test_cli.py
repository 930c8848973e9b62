"""The command line's contract: documents, exit codes, names, help, and what a person sees."""

from __future__ import annotations

import asyncio
import re
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from maintenance.__main__ import main
from maintenance.lease import lease
from maintenance.ledger import Ledger
from maintenance.variables import LIBPQ, SETTINGS
from tests.databases import Database, connect

POLICY = """
[[retention]]
table = "log"
column = "created_at"
keep = "30 days"

[[retention]]
table = "gone"
column = "created_at"
keep = "30 days"

[[duplicates]]
tables = ["item"]
key = ["owner"]
newest = ["id"]
"""
SCHEMA = """
create table log (id int primary key, created_at timestamptz);
insert into log select n, now() + interval '1 hour' - n * interval '1 day' from generate_series(1, 100) n;
create table item (id int primary key, owner int);
insert into item values (1, 1), (2, 1), (3, 2);
"""
STEP = {
    "task": str, "table": str, "strategy": str, "status": str, "stop_reason": str, "rows": int, "batches": int,
    "seconds": float, "error": type(None),
}  # fmt: skip
REFUSING = """
create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$;
create trigger refuse before delete on log for each row execute function refuse();
"""


@pytest.fixture
async def shelf(database: Database) -> Database:
    """70 of 100 log entries are expired, one of three items is a duplicate."""
    await database.execute(SCHEMA)
    database.write_policy(POLICY)
    return database


def instant(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    assert value.utcoffset() == timedelta(0)
    return value


async def test_plan_prints_one_document_with_as_of_and_steps_and_changes_nothing(shelf: Database) -> None:
    document = await shelf.cli_json("plan")
    assert set(document) == {"as_of", "approve", "steps"}
    assert abs(instant(document["as_of"]) - datetime.now(UTC)) < timedelta(minutes=1)
    shown = [(s["task"], s["table"], s["strategy"], s["rows"], s["exact"]) for s in document["steps"]]
    assert shown == [
        ("retention", "public.log", "heap", 70, True),
        ("retention", "gone", "absent", 0, True),
        ("duplicates", "public.item", "ordered", 1, True),
        ("statistics", "public.item", "analyze", 0, True),
        ("statistics", "public.log", "analyze", 0, True),
    ]
    assert all(isinstance(s["summary"], str) and s["summary"] for s in document["steps"])
    assert await shelf.values("select to_regnamespace('maintenance')::text") == [None]
    assert await shelf.values("select count(*) from log") == [100]


async def test_run_prints_one_document_with_the_run_and_its_steps(shelf: Database) -> None:
    document = await shelf.cli_json("run")
    expected = {"id": 1, "name": "daily-cleanup", "status": "succeeded", "stop_reason": "done", "rows": 71}
    assert {key: document[key] for key in expected} == expected
    assert instant(document["as_of"]) <= instant(document["started_at"]) <= instant(document["ended_at"])
    for step in document["steps"]:
        assert {key: type(step[key]) for key in STEP} == STEP
    shown = [(s["task"], s["table"], s["status"], s["rows"]) for s in document["steps"][:3]]
    assert shown == [
        ("retention", "public.log", "succeeded", 70),
        ("retention", "gone", "absent", 0),
        ("duplicates", "public.item", "succeeded", 1),
    ]
    assert {s["task"] for s in document["steps"][3:]} == {"statistics"}


async def test_no_name_means_the_daily_cleanup(shelf: Database) -> None:
    unnamed, named = await shelf.cli_json("plan"), await shelf.cli_json("plan", "daily-cleanup")
    assert unnamed["steps"] == [
        {**step, "summary": mine["summary"]} for step, mine in zip(named["steps"], unnamed["steps"], strict=True)
    ]


@pytest.mark.parametrize(
    ("names", "tasks"),
    [
        (["retention"], {"retention"}),
        (["duplicates", "retention"], {"retention", "duplicates"}),
        (["statistics"], {"statistics"}),
        (["weekly-vacuum"], {"vacuum", "statistics"}),
        (["daily-cleanup", "weekly-vacuum"], {"retention", "duplicates", "vacuum", "statistics"}),
    ],
)
async def test_a_name_is_a_task_or_a_group(shelf: Database, names: list[str], tasks: set[str]) -> None:
    await shelf.execute("create table calm (id int)")
    # A session's counters are sure to be seen by others once it has ended.
    connection = await connect(shelf.server, shelf.name)
    await connection.execute("insert into log select n, now() from generate_series(101, 30000) n")
    await connection.execute("insert into calm select generate_series(1, 2000)")
    await connection.close()
    document = await shelf.cli_json("run", *names)
    assert {step["task"] for step in document["steps"]} == tasks
    assert document["name"] == " ".join(names)


async def test_tables_keeps_a_run_to_these_tables(shelf: Database) -> None:
    document = await shelf.cli_json("run", "--tables", "item, gone")
    assert {step["table"] for step in document["steps"]} == {"public.item", "gone"}
    assert await shelf.values("select count(*) from log") == [100]
    assert await shelf.values("select id from item order by id") == [2, 3]


async def test_history_lists_runs_newest_first_and_shows_one_with_its_steps(shelf: Database) -> None:
    assert await shelf.cli_json("history") == {"runs": []}
    ran = [await shelf.cli_json("run", "retention"), await shelf.cli_json("run", "duplicates")]
    runs = (await shelf.cli_json("history"))["runs"]
    assert runs == [{key: run[key] for key in run if key != "steps"} for run in reversed(ran)]
    assert (await shelf.cli_json("history", "--limit", "1"))["runs"] == runs[:1]
    assert await shelf.cli_json("history", "--run", "1") == ran[0]


@pytest.mark.parametrize("option", ["--run", "--limit"])
async def test_a_number_that_no_ledger_can_have_is_refused(shelf: Database, option: str) -> None:
    await Ledger(shelf.connection).install()
    done = await shelf.cli("history", option, "9" * 30)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert "9" * 30 in done.stderr


async def test_install_makes_the_ledger_and_may_be_repeated(shelf: Database) -> None:
    assert await shelf.cli_json("install") == {"installed": True}
    assert (await shelf.cli_json("run"))["id"] == 1
    assert await shelf.cli_json("install") == {"installed": True}
    assert len((await shelf.cli_json("history"))["runs"]) == 1


async def test_exit_0_when_all_is_done_and_again_when_nothing_is_left(shelf: Database) -> None:
    assert [(await shelf.cli("run")).returncode for _ in range(2)] == [0, 0]


async def test_exit_1_when_a_step_failed_though_the_others_went_on(shelf: Database) -> None:
    await shelf.execute(REFUSING)
    document = await shelf.cli_json("run", exit_code=1)
    steps = {(s["task"], s["table"]): s for s in document["steps"]}
    assert (document["status"], document["stop_reason"], document["rows"]) == ("failed", "error", 1)
    failed = steps["retention", "public.log"]
    assert (failed["status"], failed["stop_reason"], failed["sqlstate"]) == ("failed", "error", "P0001")
    assert "not this one" in failed["error"]
    assert steps["duplicates", "public.item"]["status"] == "succeeded"


async def test_exit_3_when_a_guard_stopped_a_step(shelf: Database) -> None:
    await shelf.execute("delete from log where created_at > now() - interval '31 days'")
    document = await shelf.cli_json("run", exit_code=3)
    assert (document["status"], document["stop_reason"], document["rows"]) == ("interrupted", "guard", 1)
    assert "allow_empty = true" in document["error"]


@pytest.mark.parametrize("budget", ["1ms", "5ms", "20ms"])
async def test_exit_3_when_the_budget_is_used_up_and_the_next_run_does_the_rest(shelf: Database, budget: str) -> None:
    await shelf.cli_json("install")
    document = await shelf.cli_json("run", "--budget", budget, exit_code=3)
    assert (document["status"], document["stop_reason"]) == ("interrupted", "budget")
    assert (await shelf.cli_json("run"))["rows"] == 71 - document["rows"]


async def test_the_budget_of_the_command_line_goes_before_that_of_the_environment(shelf: Database) -> None:
    assert (await shelf.cli("run", "--budget", "8m", MAINTENANCE_BUDGET="10ms")).returncode == 0


async def test_a_budget_of_many_days_is_a_budget(shelf: Database) -> None:
    assert (await shelf.cli_json("run", "--budget", "30d"))["rows"] == 71


async def test_exit_4_when_another_run_holds_the_lease_and_it_is_recorded(shelf: Database) -> None:
    async with lease(shelf.connection):
        document = await shelf.cli_json("run", exit_code=4)
    assert (document["status"], document["stop_reason"], document["rows"]) == ("skipped", "lease", 0)
    assert document["steps"] == []
    assert (await shelf.cli_json("history"))["runs"][0]["status"] == "skipped"
    assert await shelf.values("select count(*) from log") == [100]
    assert (await shelf.cli("run")).returncode == 0


async def test_a_socket_folder_and_a_password_file_work_as_in_libpq(shelf: Database) -> None:
    server = shelf.server
    passwords = shelf.folder / "pgpass"
    passwords.write_text(f"*:{server.port}:*:{server.user}:{server.password}\n")
    passwords.chmod(0o600)
    environment = {**shelf.environment, "PGPASSFILE": str(passwords), "PGHOST": str(server.directory)}
    del environment["PGPASSWORD"]
    done = await asyncio.to_thread(subprocess.run, shelf.command("plan"), env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("verb", [[], ["plan"], ["run"], ["history"], ["install"], ["demo"]])
def test_help_is_given_for_every_verb(capsys: pytest.CaptureFixture[str], verb: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*verb, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: python -m maintenance{''.join(f' {word}' for word in verb)} [-h]" in shown
    assert not verb or "--json" in shown


def test_help_names_every_verb_name_setting_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    names = ["retention", "duplicates", "orphans", "unreferenced", "vacuum", "statistics"]
    words = ["plan", "run", "history", "install", "demo", "daily-cleanup", "weekly-vacuum", *names, *LIBPQ]
    for word in [*words, *(setting.name for setting in SETTINGS)]:
        assert re.search(rf"(?<![\w-]){word}(?![\w-])", shown), word
    codes = shown[shown.index("Exit codes:") :]
    assert [re.search(rf"\b{code} \w", codes) is not None for code in range(5)] == [True] * 5


async def test_a_table_that_could_not_be_planned_is_not_lost_by_asking_for_it_alone(database: Database) -> None:
    await database.execute("create table log (created_at timestamptz); insert into log values (now())")
    database.write_policy('[[retention]]\ntable = "log"\ncolumn = "created_at"\nkeep = "30 days"\n')
    async with database.connection.transaction():
        await database.execute("lock table log in access exclusive mode")
        done = await database.cli("run", "retention", "--tables", "log", MAINTENANCE_LOCK_TIMEOUT="100ms")
    assert done.returncode == 1, done.stdout
    assert "55P03" in done.stdout


async def test_asking_for_a_table_that_no_rule_is_about_is_wrong_use(database: Database) -> None:
    await database.execute("create table log (created_at timestamptz); create table other (id int)")
    database.write_policy('[[retention]]\ntable = "log"\ncolumn = "created_at"\nkeep = "30 days"\n')
    done = await database.cli("run", "--tables", "other")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is about 'other'" in done.stderr


async def test_pause_stops_what_begins_and_resume_lets_it(shelf: Database) -> None:
    said = await shelf.cli("pause", "--reason", "index build")
    assert (said.returncode, "paused" in said.stdout, "(index build)" in said.stdout) == (0, True, True)
    document = await shelf.cli_json("run", "retention", exit_code=3)
    assert (document["status"], document["stop_reason"], document["rows"]) == ("interrupted", "paused", 0)
    assert await shelf.cli_json("resume") == {"paused": False}
    assert (await shelf.cli_json("run", "retention"))["status"] == "succeeded"


async def test_a_target_of_the_fleet_is_maintained_by_its_name(shelf: Database) -> None:
    server = shelf.server
    (shelf.folder / "fleet.toml").write_text(
        f'[[target]]\nname = "north"\nhost = "{server.host}"\nport = {server.port}\ndatabase = "{shelf.name}"\n'
        f'policy = "{shelf.policy_file.name}"\n'
    )
    fleet = {"MAINTENANCE_TARGETS": str(shelf.folder / "fleet.toml"), "PGDATABASE": "", "PGHOST": ""}
    assert (await shelf.cli_json("run", "retention", "--target", "north", exit_code=0, **fleet))[
        "status"
    ] == "succeeded"
    for words, hint in ((["--target", "nroth"], "did you mean 'north'?"), ([], "Which target?")):
        done = await shelf.cli("run", *words, **fleet)
        assert (done.returncode, hint in done.stderr) == (2, True)
    done = await shelf.cli("run", "--target", "north")
    assert (done.returncode, "MAINTENANCE_TARGETS" in done.stderr) == (2, True)
