"""`check`: the policy against the tables, what stands in a delete's way, and who else deletes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from maintenance.findings import Severity
from tests.checks import POLICY, check, codes, look, make, only
from tests.cron_server import cron_server
from tests.databases import Database, connect, fresh
from tests.sessions import counted, locked

_RULE = '[[retention]]\ntable = "{}"\ncolumn = "{}"\nkeep = "{}"\n'


@pytest.mark.parametrize(
    ("policy", "code", "words"),
    [
        (_RULE.format("event", "at", "30 days"), None, ""),
        (_RULE.format("event", "att", "30 days"), "policy.misfit", "no column 'att'"),
        (_RULE.format("event", "id", "30 days"), "policy.misfit", "id"),
        (_RULE.format("event", "at", "30 dazes"), "policy.misfit", "dazes"),
        (_RULE.format("event", "at", "30 days") + 'where = "no_such > 1"\n', "policy.misfit", "no_such"),
        (_RULE.format("Event", "at", "30 days"), "policy.misfit", "case counts"),
        (_RULE.format("seen", "at", "30 days"), "policy.misfit", "a view"),
        (
            _RULE.format("event", "at", "30 days") + _RULE.format("public.event", "at", "60 days"),
            "policy.misfit", "Two retention rules",
        ),
        ('[lag]\nreplay = "soon"\n', "policy.misfit", "lag.replay"),
        ('[guards]\nclock = "never"\n', "policy.misfit", "guards.clock"),
        ('[vacuum]\nbuffer_usage_limit = "much"\n', "policy.misfit", "buffer_usage_limit"),
        (
            _RULE.format("event", "at", "30 days") + 'archive = "azure-blob"\n',
            "policy.misfit", "MAINTENANCE_ARCHIVE_URL is not set",
        ),
        (_RULE.format("event", "at", "30 days") + 'lag_objective = "soon"\n', "policy.misfit", "lag_objective"),
        (POLICY + _RULE.format("gone", "at", "30 days"), "policy.absent", "no such table"),
        (_RULE.format("gone", "at", "30 days"), "policy.elsewhere", "not one table"),
    ],
)  # fmt: skip
async def test_a_policy_that_does_not_fit(database: Database, policy: str, code: str | None, words: str) -> None:
    await make(database)
    await database.execute("create view seen as select * from event")
    if "buffer" in policy and database.connection.get_server_version().major < 16:
        code = None
    found = [one for one in (await check(database, policy=policy)).findings if one.code.startswith("policy.")]
    found = [one for one in found if one.code != "policy.empty"]
    assert [one.code for one in found] == ([] if code is None else [code])
    assert all(words in one.fact for one in found)


async def test_one_rule_that_does_not_fit_hides_no_other(database: Database) -> None:
    await make(database)
    examination = await look(
        database, "schema", policy=_RULE.format("event", "no", "1 day") + _RULE.format("item", "not", "1 day")
    )
    assert codes(examination) == ["policy.misfit", "policy.misfit"]
    assert [one.subject for one in examination.findings] == ["retention event", "retention item"]


async def test_a_table_that_somebody_has_for_himself_is_unseen_and_no_error(database: Database) -> None:
    await make(database)
    async with locked(database, "event"):
        examination = await look(database, "schema")
    assert examination.findings == ()
    assert [one.look for one in examination.unseen] == ["schema"]


@pytest.mark.parametrize(
    ("sql", "code", "severity"),
    [
        ("create rule kept as on delete to event do instead nothing", "delete.blocked", Severity.ERROR),
        ("alter table event drop constraint event_pkey; create publication told for table event",
         "delete.blocked", Severity.ERROR),
        ("create trigger kept before delete on event for each row execute function pass()",
         "delete.triggers", Severity.ADVICE),
        ("create table more () inherits (event)", "delete.inherited", Severity.WARNING),
    ],
)  # fmt: skip
async def test_what_stands_in_the_way_of_a_delete(database: Database, sql: str, code: str, severity: Severity) -> None:
    await make(database)
    await database.execute("create function pass() returns trigger language plpgsql as 'begin return old; end'")
    assert codes(await look(database, "schema")) == []
    await database.execute(sql)
    found = only(await look(database, "schema"), code)
    assert (found.severity, found.subject) == (severity, "public.event")
    if found.cure is not None:
        await database.execute(found.cure)
        assert codes(await look(database, "schema")) == []


async def test_rows_that_somebody_else_deletes(database: Database) -> None:
    await make(database)
    await database.execute("insert into event select i, now() - interval '40 days' from generate_series(1000, 1005) i")
    await counted(database)
    await database.run("daily-cleanup")
    assert codes(await look(database, "deleters")) == []
    other = await connect(database.server, database.name)
    await other.execute("insert into event select i, now() from generate_series(2000, 4000) i")
    await other.execute("delete from event where id >= 2000")
    await other.close()
    if database.connection.get_server_version().major < 15:
        # Its counters come too late for the ledger to have any.
        assert codes(await look(database, "deleters")) == []
        return
    found = only(await look(database, "deleters"), "deleter.unknown")
    assert (found.severity, found.subject) == (Severity.WARNING, "public.event")
    assert "others deleted 2,001 rows" in found.fact


# --- pg_cron


@pytest.fixture
async def with_cron(tmp_path: Path) -> AsyncIterator[Database]:
    """The database of the jobs of a server with the real pg_cron; none of them comes to run."""
    async with cron_server(launch=False) as (server, connection):
        database = Database(server=server, name="postgres", connection=connection, folder=tmp_path)
        await make(database)
        yield database


async def test_jobs_of_pg_cron(with_cron: Database) -> None:
    database = with_cron
    assert codes(await look(database, "deleters")) + codes(await look(database, "schedule")) == []
    await database.execute("select cron.schedule('nightly', '0 3 * * *', 'delete from event where id % 2 = 0')")
    found = only(await look(database, "deleters"), "deleter.cron")
    assert (found.severity, found.subject, "nightly" in found.fact) == (Severity.WARNING, "public.event", True)

    assert (await database.cli("install", "--pg-cron")).returncode == 0
    assert codes(await look(database, "schedule")) == []
    name = "maintenance postgres daily-cleanup"
    await database.execute(f"update cron.job set active = false where jobname = '{name}'")
    found = only(await look(database, "schedule"), "schedule.inactive")
    assert (found.severity, found.subject) == (Severity.ERROR, name)
    await database.execute(str(found.cure))
    assert codes(await look(database, "schedule")) == []

    await database.execute(
        "insert into cron.job_run_details (jobid, runid, database, command, status, return_message, start_time)"
        f" select jobid, 1, 'postgres', 'x', 'failed', 'ERROR: it broke', now() from cron.job where jobname = '{name}'"
    )
    found = only(await look(database, "schedule"), "schedule.failed")
    assert "it broke" in found.fact
    await database.execute(
        "insert into cron.job_run_details (jobid, runid, database, command, status, start_time)"
        f" select jobid, 2, 'postgres', 'x', 'succeeded', now() from cron.job where jobname = '{name}'"
    )
    assert codes(await look(database, "schedule")) == []
    async with fresh(database.server, "another", database.folder) as other:
        assert codes(await look(other, "schedule")) == []


async def test_a_rule_that_the_server_refuses_when_it_is_planned(database: Database) -> None:
    await make(database)
    await database.execute(
        "create function broken(int) returns boolean immutable language plpgsql as"
        " 'begin raise exception ''out of order''; end'"
    )
    policy = _RULE.format("event", "at", "30 days") + 'where = "broken(1)"\n'
    found = only(await look(database, "schema", policy=policy), "policy.refused")
    assert (found.severity, "out of order" in found.fact) == (Severity.ERROR, True)


async def test_a_policy_without_a_rule_is_no_good_night(database: Database) -> None:
    assert only(await look(database, "schema", policy=""), "policy.empty").severity is Severity.WARNING
