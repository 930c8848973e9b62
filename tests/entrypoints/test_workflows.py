"""The workflows of GitHub Actions: the steps of maintenance.yml run as on a runner, against a real PostgreSQL."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from maintenance.lease import lease
from maintenance.settings import parse_duration
from maintenance.tasks import TASKS
from maintenance.variables import AZURE, LIBPQ, SETTINGS
from tests.databases import ROOT, Database
from tests.sessions import role
from tests.workflow import WORKFLOWS, Runner, read, value

MAINTENANCE = read("maintenance.yml")
JOB: dict[str, Any] = MAINTENANCE["jobs"]["maintenance"]
SCRIPTS = [step for step in JOB["steps"] if "run" in step]
INSTALL, MAINTAIN = SCRIPTS
DAILY, WEEKLY = (entry["cron"] for entry in MAINTENANCE[True]["schedule"])
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in WORKFLOWS.iterdir()}
REFUSING = """
create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not | this one'; end $$;
create trigger refuse before delete on events for each row execute function refuse();
"""
_AZ = """#!/bin/sh
cat <<'JSON'
{"accessToken": "%s", "expires_on": %d, "tokenType": "Bearer"}
JSON
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Checked out, Python set up in a new environment, and the workflow's own step has installed the service."""
    runner = Runner(tmp_path_factory.mktemp("runner"))
    runner.check_out()
    subprocess.run([sys.executable, "-m", "venv", str(runner.folder / "python")], check=True)
    (runner.folder / "bin").mkdir()
    done = runner.step(INSTALL, {}, JOB)
    assert done.returncode == 0, done.stderr
    return runner


@pytest.fixture
def runner(machine: Runner, fleet: Database) -> Runner:
    """With what the test's server needs beside the repository's variables, and a real one does not."""
    server = fleet.server.environment(fleet.name)
    machine.environment = {"PGPORT": server["PGPORT"], "PGPASSWORD": server["PGPASSWORD"]}
    return machine


def variables(database: Database, **more: str) -> dict[str, str]:
    """Of the repository; what is left out is empty there."""
    server = database.server.environment(database.name)
    return {name: server[name] for name in ("PGHOST", "PGDATABASE", "PGUSER")} | more


async def maintained(
    runner: Runner, database: Database, *, schedule: str = "", inputs: dict[str, Any] | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    contexts = {
        "vars": variables(database, **more), "inputs": inputs or {},
        "github": {"event": {"schedule": schedule}, "event_name": "schedule" if schedule else "workflow_dispatch"},
    }  # fmt: skip
    return await asyncio.to_thread(runner.step, MAINTAIN, contexts, JOB)


async def runs(database: Database) -> list[tuple[Any, ...]]:
    return [
        tuple(row) for row in await database.connection.fetch("select name, scheduler, status from maintenance.run")
    ]


async def deleted(database: Database) -> int:
    return int(await database.connection.fetchval("select coalesce(sum(rows), 0) from maintenance.run"))


@pytest.mark.parametrize(("schedule", "name"), [(DAILY, "daily-cleanup"), (WEEKLY, "weekly-vacuum")])
async def test_a_schedule_runs_its_group_and_the_summary_is_a_table(
    runner: Runner, fleet: Database, schedule: str, name: str
) -> None:
    done = await maintained(runner, fleet, schedule=schedule)
    assert done.returncode == 0, done.stdout + done.stderr
    assert await runs(fleet) == [(name, "github_actions", "succeeded")]
    assert f"### Run 1 {name}: succeeded" in runner.summary
    assert "::warning" not in done.stdout
    daily = name == "daily-cleanup"
    assert bool(re.search(r"^\| retention \| events \| ", runner.summary, re.MULTILINE)) is daily
    assert (await deleted(fleet) > 0) is daily


async def test_a_dry_run_by_hand_shows_the_plan_and_changes_nothing(runner: Runner, fleet: Database) -> None:
    before = await fleet.values("select count(*) from events")
    done = await maintained(runner, fleet, inputs={"name": "retention", "dry_run": True})
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^### Plan as of .* UTC$", runner.summary, re.MULTILINE)
    assert re.search(r"^\| retention \| events \| .*created", runner.summary, re.MULTILINE)
    assert await fleet.values("select count(*) from events") == before
    assert await fleet.values("select to_regnamespace('maintenance')::text") == [None]


async def test_a_run_by_hand_is_one_of_what_was_chosen(runner: Runner, fleet: Database) -> None:
    done = await maintained(runner, fleet, inputs={"name": "retention", "dry_run": False})
    assert done.returncode == 0, done.stdout + done.stderr
    assert await runs(fleet) == [("retention", "github_actions", "succeeded")]
    assert await deleted(fleet) > 0


async def test_a_failed_run_fails_the_step_and_the_summary_says_why(runner: Runner, fleet: Database) -> None:
    await fleet.execute(REFUSING)
    done = await maintained(runner, fleet, schedule=DAILY)
    assert done.returncode == 1
    assert "failed (error)" in runner.summary
    assert "not &#124; this one" in runner.summary


async def test_no_line_of_the_service_is_a_command_to_the_runner(runner: Runner, fleet: Database) -> None:
    await fleet.execute(REFUSING)
    tokens = set()
    for budget in ("30m", "1ms"):
        done = await maintained(runner, fleet, schedule=DAILY, MAINTENANCE_BUDGET=budget)
        first, *lines = done.stdout.splitlines()
        token = first.removeprefix("::stop-commands::")
        assert re.fullmatch("[0-9a-f]{32}", token)
        tokens.add(token)
        stopped = lines[: lines.index(f"::{token}::")]
        assert any("daily-cleanup" in line for line in stopped)
        assert not [line for line in stopped if token in line]
        # Our own word comes where it is heard.
        assert [line for line in lines[len(stopped) + 1 :] if "Work is left" not in line] == []
    assert len(tokens) == 2


async def test_what_cannot_begin_fails_the_step_and_the_summary_says_why(runner: Runner, fleet: Database) -> None:
    done = await maintained(runner, fleet, schedule=DAILY, PGHOST="")
    assert done.returncode == 2
    assert "No database is configured" in runner.summary


async def test_work_left_and_another_run_are_warnings(runner: Runner, fleet: Database) -> None:
    await fleet.cli("install")
    done = await maintained(runner, fleet, schedule=DAILY, MAINTENANCE_BUDGET="1ms")
    assert (done.returncode, "::warning title=Work is left::" in done.stdout) == (0, True)
    assert "interrupted (budget)" in runner.summary
    async with lease(fleet.connection):
        done = await maintained(runner, fleet, schedule=DAILY)
    assert (done.returncode, "::warning title=Skipped::" in done.stdout) == (0, True)
    assert "skipped (lease)" in runner.summary


@pytest.mark.parametrize("name", ["retention; touch pwned", "$(touch pwned)", "`touch pwned`", '" ; touch pwned ; "'])
async def test_an_input_is_a_word_and_never_a_command(runner: Runner, fleet: Database, name: str) -> None:
    done = await maintained(runner, fleet, inputs={"name": name, "dry_run": False})
    assert done.returncode == 2
    assert not (runner.workspace / "pwned").exists()


async def test_the_token_of_the_login_step_is_the_password(runner: Runner, fleet: Database) -> None:
    """The Azure CLI that azure/login leaves behind, on a machine that has an identity of its own."""
    az = runner.folder / "bin" / "az"
    az.write_text(_AZ % ("token-of-the-workflow", time.time() + 3600))
    az.chmod(0o755)
    async with role(fleet, "grant create on database {database} to {role}") as target:
        user = target.user or ""
        await fleet.execute(f"alter role {user} password 'token-of-the-workflow'")
        del runner.environment["PGPASSWORD"]
        runner.environment |= {"MAINTENANCE_AUTH": "entra", "IDENTITY_ENDPOINT": "http://127.0.0.1:9/msi/token"}
        done = await maintained(runner, fleet, inputs={"name": "retention", "dry_run": True}, PGUSER=user)
        assert "permission denied" in runner.summary, done.stdout + done.stderr
        await fleet.execute(f"grant select on all tables in schema public to {user}")
        done = await maintained(runner, fleet, inputs={"name": "retention", "dry_run": True}, PGUSER=user)
    az.unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "### Plan as of" in runner.summary


# ------------------------------------------------------------------------------------------------------ what they say
@pytest.mark.parametrize("name", TEXTS)
def test_every_action_is_a_commit_with_its_version(name: str) -> None:
    used = re.findall(r"uses: (.*)", TEXTS[name])
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_an_action_is_the_same_commit_wherever_it_is_used() -> None:
    used = {line for text in TEXTS.values() for line in re.findall(r"uses: (.*)", text)}
    assert len({line.split("@")[0] for line in used}) == len(used)


@pytest.mark.parametrize("name", TEXTS)
def test_no_secret_is_used_no_expression_is_in_a_script_and_nothing_is_permitted_by_default(name: str) -> None:
    workflow = read(name)
    assert "secrets." not in TEXTS[name]
    assert workflow["permissions"] == {}
    assert "concurrency" in workflow
    for job in workflow["jobs"].values():
        assert {"permissions", "timeout-minutes"} <= set(job)
        assert [step["run"] for step in job["steps"] if "${{" in step.get("run", "")] == []
        (checkout,) = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert checkout["with"]["persist-credentials"] is False


def test_maintenance_may_read_the_code_and_ask_for_its_token_and_no_more() -> None:
    assert JOB["permissions"] == {"contents": "read", "id-token": "write"}
    assert read("ci.yml")["jobs"].keys() == {"test", "terraform", "linters"}
    assert all(job["permissions"] == {"contents": "read"} for job in read("ci.yml")["jobs"].values())
    assert MAINTENANCE["concurrency"]["cancel-in-progress"] is False


def test_a_plan_takes_no_run_its_place_in_the_queue() -> None:
    group = MAINTENANCE["concurrency"]["group"]
    runs = {value(group, {"inputs": inputs}) for inputs in ({}, {"dry_run": False})}
    assert len(runs) == 1
    assert value(group, {"inputs": {"dry_run": True}}) not in runs


def test_the_login_is_by_oidc_in_the_environment_that_terraform_gives_the_identity() -> None:
    (login,) = [step for step in JOB["steps"] if step.get("uses", "").startswith("azure/login@")]
    assert set(login["with"]) == {"client-id", "tenant-id", "allow-no-subscriptions"}
    variables = (ROOT / "infra/variables.tf").read_text(encoding="utf-8")
    environment = re.search(r'variable "github_environment" \{.*?default\s+= "(\w+)"', variables, re.DOTALL)
    assert environment
    assert JOB["environment"] == environment[1]


def test_what_can_be_chosen_is_every_task_and_group() -> None:
    options = MAINTENANCE[True]["workflow_dispatch"]["inputs"]["name"]["options"]
    assert sorted(options) == sorted(["daily-cleanup", "weekly-vacuum", *(task.name for task in TASKS)])


def test_the_schedules_are_those_of_the_other_schedulers_but_for_the_minute() -> None:
    terraform = (ROOT / "infra/variables.tf").read_text(encoding="utf-8")
    others = re.findall(r'_schedule" \{.*?default\s+= "0 0 (.*?)"', terraform, re.DOTALL)
    assert [cron.split(" ", 1)[1] for cron in (DAILY, WEEKLY)] == others


def test_the_job_has_time_for_the_whole_budget_and_a_copy_without_a_database_is_left_alone() -> None:
    budget = value(MAINTAIN["env"]["MAINTENANCE_BUDGET"], {"vars": {}})
    assert parse_duration(budget) + 600 <= JOB["timeout-minutes"] * 60
    schedule, by_hand = {"event_name": "schedule"}, {"event_name": "workflow_dispatch"}
    cases = [({}, schedule), ({"PGHOST": "h"}, schedule), ({}, by_hand)]
    assert [bool(value("${{ " + JOB["if"] + " }}", {"vars": of, "github": event})) for of, event in cases] == [
        False,
        True,
        True,
    ]


def test_every_variable_is_one_that_the_service_or_the_login_reads_and_is_documented() -> None:
    used = set(re.findall(r"vars\.(\w+)", TEXTS["maintenance.yml"]))
    ours = {*LIBPQ, *AZURE, *(setting.name for setting in SETTINGS)}
    assert used - ours == {"AZURE_TENANT_ID", "MAINTENANCE_RUNNER"}
    described = (ROOT / "docs/schedulers.md").read_text(encoding="utf-8")
    assert [name for name in sorted(used) if f"`{name}`" not in described] == []


def test_ci_checks_what_the_local_script_checks() -> None:
    local = (ROOT / ".ci/run").read_text(encoding="utf-8")
    ci = read("ci.yml")["jobs"]
    versions = re.findall(r"find_python 'v == \(3, (\d+)\)'", local)
    assert ci["test"]["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in versions]
    targets = " ".join(re.findall(r"make --no-print-directory ((?:[a-z]+ ?)+)", local)).split()
    assert {"test", "checkov", "workflows", "container"} <= set(targets)
    assert set(" ".join(re.findall(r"\bmake ((?:[a-z]+ ?)+)", TEXTS["ci.yml"])).split()) == set(targets)
    terraform = str(ci["terraform"]["steps"])
    assert all(f"terraform -chdir=infra {verb}" in terraform for verb in ("fmt", "validate", "test"))


def test_the_tools_that_check_them_are_pinned() -> None:
    pinned = Path(ROOT / "infra/requirements-linters.txt").read_text(encoding="utf-8")
    for line in (ROOT / "infra/requirements-linters.in").read_text(encoding="utf-8").splitlines():
        assert line.startswith("#") or re.search(rf"^{re.escape(line)}==[\w.]+$", pinned, re.MULTILINE), line
