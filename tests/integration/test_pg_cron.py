"""The real pg_cron, as Azure has it: the compiled policy put in, run, and taken out, by a role that is no superuser."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from asyncpg import Connection

from maintenance.gathering import gathered
from maintenance.ledger import Ledger
from maintenance.models import RunStatus
from maintenance.schedules import next_runs
from maintenance.settings import Settings
from tests.cron_server import binaries, cron_server, until
from tests.databases import Database, connect

_POLICY = '[[retention]]\ntable = "events"\ncolumn = "at"\nkeep = "30 days"\n'
_TABLES = """
create table events (id int primary key, at timestamptz);
insert into events select i, now() - case when i % 2 = 0 then interval '40 days' else interval '1 day' end
from generate_series(1, 2000) i;
create table "Other" (id int);
"""
_ROLE = """
create role keeper login password 'x'; grant usage on schema cron to keeper;
grant execute on function cron.schedule_in_database(text, text, text, text, text, boolean) to keeper;
"""
_DATABASES = ("app", "postgres")
"""The maintained one is another than pg_cron's, or the same."""


@asynccontextmanager
async def _installed(name: str, folder: Path, *, launch: bool) -> AsyncIterator[tuple[Database, Connection]]:
    """A database of the role `keeper` with its policy; and a superuser's connection to pg_cron's database."""
    async with cron_server(launch=launch) as (server, admin):
        await admin.execute(_ROLE)
        await admin.execute("create database app owner keeper")
        await admin.execute("grant create on database postgres to keeper; grant create on schema public to keeper")
        keeper = replace(server, user="keeper", password="x")
        connection = await connect(keeper, name)
        try:
            await connection.execute(_TABLES)
            database = Database(server=keeper, name=name, connection=connection, folder=folder)
            database.write_policy(_POLICY)
            yield database, admin
        finally:
            await connection.close()


async def test_the_hours_of_pg_cron_are_those_of_its_time_zone() -> None:
    zone = "America/New_York"
    async with cron_server(launch=False, timezone=zone) as (server, admin):
        await admin.execute(_ROLE + "grant select on cron.job to keeper")
        keeper = await connect(replace(server, user="keeper", password="x"), "postgres")
        await keeper.execute("select cron.schedule('ours', '0 2 * * *', 'call maintenance.cron_run()')")
        (run,) = await next_runs(keeper, Settings(), datetime.now(UTC))
        await keeper.close()
    assert (run.name, run.source) == ("ours", f"pg_cron, in the time zone {zone}")
    assert run.at is not None
    assert run.due is not None
    assert {instant.astimezone(ZoneInfo(zone)).strftime("%H:%M") for instant in (run.at, run.due)} == {"02:00"}


@pytest.fixture(params=_DATABASES)
async def idle(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Database, Connection]]:
    async with _installed(request.param, tmp_path, launch=False) as both:
        yield both


async def _jobs(admin: Connection) -> list[tuple[str, ...]]:
    rows = await admin.fetch("select jobname, schedule, command, database, username from cron.job order by jobname")
    return [tuple(row) for row in rows]


async def test_a_report_tells_what_pg_cron_will_run_where_its_jobs_can_be_seen(
    idle: tuple[Database, Connection],
) -> None:
    database, _ = idle
    await database.cli_json("install", "--pg-cron")
    told = await gathered(database.settings)
    # They lie in one database, and are not seen from another.
    here = database.name == "postgres"
    assert {run.name: run.source for run in told.next_runs} == (
        {"daily-cleanup": "pg_cron", "weekly-vacuum": "pg_cron"} if here else {}
    )
    assert all(run.due and run.at and run.due <= told.as_of < run.at for run in told.next_runs)
    assert (told.unscheduled is None) is here


async def test_jobs_are_put_in_replaced_and_taken_out(idle: tuple[Database, Connection]) -> None:
    database, admin = idle
    name = database.name
    told = await database.cli_json("install", "--pg-cron")
    expected = [
        (f"maintenance {name} daily-cleanup", "0 2 * * *", "call maintenance.cron_run('daily-cleanup')"),
        (f"maintenance {name} vacuum public.Other", "0 3 * * 0", 'vacuum (analyze, truncate true) "public"."Other"'),
        (f"maintenance {name} vacuum public.events", "1 3 * * 0", 'vacuum (analyze, truncate true) "public"."events"'),
        (f"maintenance {name} weekly-vacuum", "2 4 * * 0", "call maintenance.cron_vacuumed('62 minutes')"),
    ]
    assert await _jobs(admin) == [(*job, name, "keeper") for job in expected]
    assert [(job["name"], job["schedule"], job["command"]) for job in told["jobs"]] == [
        expected[0], expected[1], expected[2], expected[3]
    ]  # fmt: skip
    await admin.execute(
        f"select cron.schedule_in_database('maintenance {name} mine', '0 0 * * *', 'select 1', '{name}')"
    )
    await database.execute('drop table "Other"')
    done = await database.cli("install", "--pg-cron", "--daily", "30 1 * * *", "--weekly", "5 4 * * 6")
    assert done.returncode == 0, done.stderr
    assert "The policy is compiled, and pg_cron has 3 jobs for it (database postgres, hours in GMT)" in done.stdout
    names = [(job[0], job[1]) for job in await _jobs(admin)]
    assert names == [
        (f"maintenance {name} daily-cleanup", "30 1 * * *"), (f"maintenance {name} mine", "0 0 * * *"),
        (f"maintenance {name} vacuum public.events", "5 4 * * 6"), (f"maintenance {name} weekly-vacuum", "6 5 * * 6"),
    ]  # fmt: skip
    assert (await database.cli_json("install", "--pg-cron", "--remove"))["removed"] == 3
    assert [job[0] for job in await _jobs(admin)] == [f"maintenance {name} mine"]
    left = "select proname from pg_proc where pronamespace = 'maintenance'::regnamespace"
    assert await database.values(left) == []
    assert await database.values("select relname from pg_class where relname like 'cron\\_%' and relkind = 'r'") == []
    assert await database.values("select count(*) from maintenance.run") == [0]


async def test_what_is_printed_is_what_is_installed(idle: tuple[Database, Connection]) -> None:
    database, admin = idle
    assert (await database.cli("install", "--pg-cron")).returncode == 0
    rules = "select r::text from maintenance.cron_rule r order by place"
    by_install = (await _jobs(admin), await database.values(rules))
    printed = await database.cli("sql", "pg-cron")
    assert await database.cli_json("sql", "pg-cron") == {"sql": printed.stdout}
    assert (await database.cli("install", "--pg-cron", "--remove")).returncode == 0
    (database.folder / "cron.sql").write_text(printed.stdout, encoding="utf-8")
    done = await asyncio.to_thread(
        subprocess.run, [str(binaries() / "psql"), "-v", "ON_ERROR_STOP=1", "-q", "-o", "out.txt", "-f", "cron.sql"],
        env=database.environment, cwd=database.folder, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (await _jobs(admin), await database.values(rules)) == by_install


async def test_a_role_that_may_not_schedule_is_told_what_it_needs(idle: tuple[Database, Connection]) -> None:
    database, admin = idle
    await admin.execute("revoke usage on schema cron from keeper")
    done = await database.cli("install", "--pg-cron")
    assert done.returncode == 1
    assert "the role needs CREATE on schema maintenance, USAGE on schema cron" in done.stderr
    assert await _jobs(admin) == []


async def test_words_that_mean_nothing_without_pg_cron_are_refused(idle: tuple[Database, Connection]) -> None:
    database, _ = idle
    for words in (["--remove"], ["--daily", "0 2 * * *"]):
        done = await database.cli("install", *words)
        assert (done.returncode, "write install --pg-cron" in done.stderr) == (2, True)


_DONE = """
select 1 from cron.job_run_details d join cron.job j using (jobid)
where j.jobname = $1 and d.status = $2 and d.return_message ~ $3
"""
_MINUTE = """
select pg_catalog.to_char(m, 'FMMI FMHH24 "* *" ') || extract(dow from m)
from (select now() at time zone 'UTC' + interval '1 minute') as next (m)
"""
_LOOKS = """
create procedure {name}() language plpgsql as $$ begin
    perform pg_sleep({after}); commit; call maintenance.cron_vacuumed('{within}');
end $$
"""


async def test_pg_cron_cleans_up_vacuums_and_gives_way(tmp_path: Path) -> None:
    """One minute begins while Python is at work, and the next one while nobody is."""
    async with _installed("app", tmp_path, launch=True) as (database, admin):
        await database.execute('drop table "Other"')
        if await admin.fetchval("select extract(second from now()) > 50"):
            await admin.execute("select pg_sleep(60 - extract(second from now()) + 0.5)")
        weekly = await admin.fetchval(_MINUTE)
        done = await database.cli("install", "--pg-cron", "--daily", "* * * * *", "--weekly", weekly)
        assert done.returncode == 0, done.stderr
        # Python waits for the table, with the lease in its hands; so does VACUUM.
        locker = await connect(database.server, "app")
        await locker.execute("begin; lock table events in access exclusive mode")
        working = asyncio.create_task(database.cli("run", "retention", MAINTENANCE_LOCK_TIMEOUT="10m"))
        await until(admin, _DONE, "maintenance app daily-cleanup", "succeeded", "")
        skipped = await database.connection.fetchrow("select * from maintenance.run where scheduler = 'pg_cron'")
        assert skipped is not None
        assert (skipped["status"], skipped["stop_reason"]) == ("skipped", "lease")
        await locker.close()
        assert (await working).returncode == 0
        await until(admin, _DONE, "maintenance app vacuum public.events", "succeeded", "VACUUM")
        rows = "insert into events select i, now() - interval '50 days' from generate_series(5001, 5100) i"
        await database.execute(rows)
        # Not at once, when the clean-up has the lease.
        for name, after, within in (("look", 5, "5 minutes"), ("fail", 10, "0 seconds")):
            await database.execute(_LOOKS.format(name=name, after=after, within=within))
            await admin.execute(
                "select cron.schedule_in_database($1, '* * * * *', $2, 'app', 'keeper')", name, f"call {name}()"
            )
        cleaned = "select 1 from maintenance.run where scheduler = 'pg_cron' and status = 'succeeded' and rows = 100"
        await until(database.connection, cleaned)
        assert await database.values("select count(*) from events") == [1000]
        await until(admin, _DONE, "look", "succeeded", "CALL")
        await until(admin, _DONE, "fail", "failed", "run [0-9]+ failed: public.events was not vacuumed within")
        looks = [run for run in await Ledger(database.connection).runs(10) if run.name == "weekly-vacuum"]
        assert [(run.status, run.scheduler) for run in looks] == [
            (RunStatus.FAILED, "pg_cron"), (RunStatus.SUCCEEDED, "pg_cron"),
        ]  # fmt: skip
