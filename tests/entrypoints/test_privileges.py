"""A role with few privileges: refused before anything is touched, told what to grant, and the grants suffice."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.databases import Database

POLICY = """
[[retention]]
table = "log"
column = "created_at"
keep = "30 days"
"""
SCHEMA = """
create table log (id int primary key, created_at timestamptz);
insert into log select n, now() + interval '1 hour' - n * interval '1 day' from generate_series(1, 100) n;
create role sweeper login password 'x';
grant select, delete on log to sweeper;
"""
SWEEPER = {"PGUSER": "sweeper", "PGPASSWORD": "x"}


@pytest.fixture
async def shelf(database: Database) -> AsyncIterator[Database]:
    """70 of 100 log entries are expired; `sweeper` may delete them and no more."""
    await database.execute(SCHEMA)
    database.write_policy(POLICY)
    yield database
    await database.execute("drop owned by sweeper; drop role sweeper")


async def as_sweeper(shelf: Database, verb: str, exit_code: int = 0) -> Any:
    """The document of a verb by the role `sweeper`."""
    names = [] if verb == "history" else ["retention"]
    return await shelf.cli_json(verb, *names, exit_code=exit_code, PGUSER="sweeper", PGPASSWORD="x")


async def test_without_the_right_to_make_the_ledger_a_run_stops_and_says_what_to_grant(shelf: Database) -> None:
    done = await shelf.cli("run", "retention", **SWEEPER)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"GRANT CREATE ON DATABASE {shelf.name} TO sweeper" in done.stderr
    assert "Traceback" not in done.stderr
    assert await shelf.values("select count(*) from log") == [100]


async def test_the_plan_works_without_it(shelf: Database) -> None:
    document = await as_sweeper(shelf, "plan")
    assert [step["rows"] for step in document["steps"]] == [70]


async def test_what_the_error_says_to_grant_is_enough(shelf: Database) -> None:
    error = (await shelf.cli("run", "retention", **SWEEPER)).stderr
    first, *others = re.findall(r"GRANT [^;]+;", error)
    await shelf.execute(first)
    assert (await as_sweeper(shelf, "run"))["rows"] == 70
    assert others


async def test_so_is_a_ledger_of_another_role_with_the_other_grants(shelf: Database) -> None:
    await shelf.cli_json("install")
    error = (await shelf.cli("run", "retention", **SWEEPER)).stderr
    _, *others = re.findall(r"GRANT [^;]+;", error)
    for grant in others:
        await shelf.execute(grant)
    assert (await as_sweeper(shelf, "run"))["rows"] == 70


async def test_a_role_that_may_only_read_the_ledger_sees_the_history(shelf: Database) -> None:
    ran = await shelf.cli_json("run", "retention")
    await shelf.execute("grant usage on schema maintenance to sweeper")
    await shelf.execute("grant select on all tables in schema maintenance to sweeper")
    assert [run["id"] for run in (await as_sweeper(shelf, "history"))["runs"]] == [ran["id"]]


async def test_a_role_that_may_only_read_the_ledger_cannot_run_and_is_told_what_to_grant(shelf: Database) -> None:
    await shelf.cli_json("install")
    await shelf.execute("grant usage on schema maintenance to sweeper")
    await shelf.execute("grant select on all tables in schema maintenance to sweeper")
    done = await shelf.cli("run", "retention", **SWEEPER)
    assert (done.returncode, done.stdout) == (2, "")
    assert "GRANT SELECT, INSERT, UPDATE, DELETE" in done.stderr
    assert "Traceback" not in done.stderr
    assert await shelf.values("select count(*) from log") == [100]


async def test_a_role_that_may_not_read_the_ledger_is_not_told_that_there_are_no_runs(shelf: Database) -> None:
    await shelf.cli_json("run", "retention")
    done = await shelf.cli("history", **SWEEPER)
    assert done.returncode == 2
    assert "GRANT" in done.stderr


async def test_a_missing_privilege_on_a_table_fails_its_step_and_no_more(shelf: Database) -> None:
    await shelf.execute("revoke delete on log from sweeper")
    await shelf.execute(f"grant create on database {shelf.name} to sweeper")
    document = await as_sweeper(shelf, "run", exit_code=1)
    assert [(s["status"], s["sqlstate"]) for s in document["steps"]] == [("failed", "42501")]
