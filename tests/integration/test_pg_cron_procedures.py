"""The compiled procedures beside an application, other runs and changes, of which conformance says nothing."""

from __future__ import annotations

import asyncio

import pytest

from maintenance import switch
from maintenance.database import connected
from maintenance.errors import PolicyError, SettingsError, StatementRefused, UsageError
from maintenance.lease import lease
from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.pg_cron.compiler import compiled
from maintenance.pg_cron.installation import When, install, printed, remove
from maintenance.pg_cron.jobs import DAILY, WEEKLY, jobs, later
from tests.compiled import call, compile_policy
from tests.cron_server import until
from tests.databases import Database, connect, step

_POLICY = '[[retention]]\ntable = "t"\ncolumn = "at"\nkeep = "30 days"\n'
_TABLE = """
create table t (id int primary key, at timestamptz, filler text);
insert into t select i, now() - case when i % 2 = 0 then interval '40 days' else interval '1 day' end, repeat('x', 400)
from generate_series(1, 4000) i;
"""
_WHEN = When(daily=DAILY, weekly=WEEKLY)
_SMALL = "update maintenance.cron_rule set smallest = 8, first_size = 8, largest = 8"


async def _made(database: Database, policy: str = _POLICY) -> None:
    await database.execute(_TABLE)
    database.write_policy(policy)
    await compile_policy(database)


async def test_what_is_paused_does_not_begin_and_says_so(database: Database) -> None:
    await _made(database)
    async with connected(database.settings, name="test") as connection:
        await switch.pause(connection, by="somebody", reason="a release")
    run = await call(database)
    assert (run.status, run.stop_reason, run.rows, run.steps) == (RunStatus.INTERRUPTED, StopReason.PAUSED, 0, ())
    async with connected(database.settings, name="test") as connection:
        await switch.resume(connection)
    assert (await call(database)).rows == 2000


async def test_a_pause_in_the_middle_ends_it_after_the_batch_and_python_goes_on_from_there(database: Database) -> None:
    await _made(database)
    await database.execute(_SMALL)
    await database.execute(
        "create function pause() returns trigger language plpgsql as $$ begin"
        " insert into maintenance.pause (paused_by) values ('the trigger') on conflict do nothing; return null; end $$;"
        "create trigger pause after delete on t execute function pause();"
    )
    halted = await call(database)
    assert (halted.status, halted.stop_reason) == (RunStatus.INTERRUPTED, StopReason.PAUSED)
    assert 0 < halted.rows < 2000
    await database.execute("drop trigger pause on t; delete from maintenance.pause")
    by_python = await database.run("retention")
    assert '"taken_up"' in str(step(by_python, "retention").cursor)
    assert (by_python.status, halted.rows + by_python.rows) == (RunStatus.SUCCEEDED, 2000)


async def test_it_goes_on_from_where_python_stopped(database: Database) -> None:
    await _made(database)
    await database.run("retention", policy=_POLICY + "max_rows = 1\n")
    await database.execute(
        "update maintenance.step set strategy = 'heap', status = 'interrupted',"
        ' cursor = \'{"block": 100, "end": 200}\''
    )
    run = await call(database)
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 2000)
    # The blocks in front of where it was taken up come last.
    assert '"end": 100' in str(step(run, "retention").cursor)


async def test_no_budget_is_no_work_and_the_next_run_does_it(database: Database) -> None:
    await _made(database)
    await database.execute("update maintenance.cron_policy set budget = 0")
    starved = await call(database)
    assert (starved.status, starved.stop_reason, starved.rows) == (RunStatus.INTERRUPTED, StopReason.BUDGET, 0)
    await database.execute("update maintenance.cron_policy set budget = 480")
    assert (await call(database)).rows == 2000


async def test_each_batch_is_committed_with_its_checkpoint(database: Database) -> None:
    await _made(database)
    await database.execute(_SMALL)
    run = await call(database)
    only = step(run, "retention")
    blocks = await database.connection.fetchval("select pg_relation_size('t') / 8192")
    assert (only.rows, only.batches) == (2000, -(-blocks // 8))


@pytest.mark.parametrize("holder", ["service", "procedure"])
async def test_two_never_work_at_once_whichever_came_first(database: Database, holder: str) -> None:
    await _made(database)
    if holder == "service":
        async with connected(database.settings, name="maintenance run") as connection, lease(connection):
            run = await call(database)
        assert (run.status, run.stop_reason, run.scheduler) == (RunStatus.SKIPPED, StopReason.LEASE, "pg_cron")
        assert "maintenance run, process" in str(run.error)
        return
    locker = await connect(database.server, database.name)
    await locker.execute("begin; lock table t in access exclusive mode")
    await database.execute("update maintenance.cron_policy set lock_timeout = '60s'")
    working = asyncio.create_task(call(database))
    await until(
        database.connection, "select 1 from pg_stat_activity where application_name like 'maintenance pg_cron%'"
    )
    await until(database.connection, "select 1 from pg_locks where locktype = 'advisory' and granted and objid = 1")
    assert (await database.run("retention")).status is RunStatus.SKIPPED
    await locker.close()
    await working
    assert await database.values("select status from maintenance.run order by id") == ["succeeded", "skipped"]


async def test_a_row_that_somebody_holds_stays_and_all_others_go(database: Database) -> None:
    await _made(database)
    await database.execute("update maintenance.cron_policy set lock_timeout = '50ms'")
    holder = await connect(database.server, database.name)
    await holder.execute("begin; select from t where id = 2 for update")
    run = await call(database)
    assert (run.status, run.stop_reason, run.rows) == (RunStatus.INTERRUPTED, StopReason.LOCK, 1999)
    assert "1 rows were locked by other transactions" in str(run.error)
    await holder.close()
    assert (await call(database)).rows == 1


async def test_rows_that_the_application_writes_to_meanwhile_stay(database: Database) -> None:
    await _made(database)
    await database.execute("update maintenance.cron_policy set lock_timeout = '60s'")
    writer = await connect(database.server, database.name)
    await writer.execute("begin; update t set at = now() where id = 2")
    working = asyncio.create_task(call(database))
    await until(database.connection, "select 1 from pg_locks where not granted")
    await writer.execute("commit")
    await writer.close()
    assert (await working).rows == 1999
    assert await database.values("select id from t where id % 2 = 0") == [2]


@pytest.mark.parametrize(
    "change",
    [
        "alter table t alter at type timestamp", "alter table t rename at to moment", "alter table t rename to u",
        "create table child (t int references t on delete cascade)", "create table gone (at timestamptz)",
    ],
)  # fmt: skip
async def test_what_was_compiled_for_other_tables_deletes_nothing(database: Database, change: str) -> None:
    await _made(database, _POLICY.replace('"t"', '"gone"') + _POLICY)
    await database.execute(change)
    run = await call(database)
    told = [one for one in run.steps if one.status is StepStatus.FAILED]
    assert (run.status, len(told)) == (RunStatus.FAILED, 1)
    assert "is not what the policy was compiled for, so nothing was deleted" in str(told[0].error)
    if "gone" not in change:
        assert run.rows == 0


async def test_a_reference_that_came_later_is_not_overlooked(database: Database) -> None:
    await database.execute(
        "create table t (k text); insert into t values ('a'), ('b'), ('c'); create table p (id int, one text);"
        "insert into p values (1, 'a');"
    )
    database.write_policy(
        '[[unreferenced]]\ntable = "t"\ncolumn = "k"\n'
        'references = [{ table = "p", column = "one" }, { table = "p", column = "another" }]\n'
    )
    await compile_policy(database)
    await database.execute("alter table p add another text; update p set another = 'b'")
    assert (await call(database)).status is RunStatus.FAILED
    assert await database.values("select k from t order by 1") == ["a", "b", "c"]
    await compile_policy(database)
    assert (await call(database)).rows == 1


async def test_a_second_compilation_changes_nothing_under_a_run(database: Database) -> None:
    await _made(database)
    async with connected(database.settings, name="maintenance run") as connection, lease(connection):
        with pytest.raises(StatementRefused, match="lock timeout"):
            await compile_policy(database, lock_timeout=0.05)


async def test_a_time_out_of_the_role_cuts_the_budget_and_not_the_run(database: Database) -> None:
    await _made(database)
    await database.execute(f"alter database \"{database.name}\" set statement_timeout = '1ms'")
    try:
        session = await connect(database.server, database.name)
        await session.execute("set statement_timeout = '100s'")
        await session.execute("call maintenance.cron_run('daily-cleanup')")
        await session.close()
    finally:
        await database.execute(f'alter database "{database.name}" reset statement_timeout')
    assert await database.values("select count(*) from t") == [2000]


async def test_vacuum_that_did_not_happen_is_said_so(database: Database) -> None:
    await _made(database)
    await database.execute("vacuum t")
    if database.connection.get_server_version().major < 15:
        await asyncio.sleep(1)  # it counts with a delay
    good = await call(database, "cron_vacuumed('1 hour')")
    assert [(s.table, s.status) for s in good.steps] == [("public.t", StepStatus.SUCCEEDED)]
    bad = await call(database, "cron_vacuumed('0 seconds')")
    assert (bad.status, bad.steps[0].status) == (RunStatus.FAILED, StepStatus.BLOCKED)
    assert "was not vacuumed within" in str(bad.error)


_BEYOND = {
    'archive = "azure-blob"': "retention of t: archive",
    "\n[lag]\nreplay = '1 second'": "[lag] replay",
    "\n[lag]\nwaiting = 1": "[lag] waiting",
    "\n[guards]\nclock = '1 minute'": "[guards] clock",
    "\n[vacuum]\ndead_rows = 10": "[vacuum] dead_rows",
    "\n[vacuum]\nxid_age = 10": "[vacuum] xid_age",
    "\n[vacuum]\njobs = 2": "[vacuum] jobs = 2",
    "\n[vacuum]\nwindow = '02:00-05:00 UTC'": "[vacuum] window = '02:00-05:00 UTC'",
    "\n[[shrink]]\ntables = ['a', 'b']": "[[shrink]] of a, b: VACUUM FULL",
    "\n[[retention]]\ntable = 'parts'\ncolumn = 'at'\nkeep = '1 day'": "retention of public.parts: whole partitions",
    "max_rows = 5\n[[retention]]\ntable = 'u'\ncolumn = 'at'\nkeep = '1 day'": "the foreign key child_t_fkey",
}


@pytest.mark.parametrize("said", _BEYOND)
async def test_what_cannot_be_compiled_is_refused_by_name(database: Database, said: str) -> None:
    await database.execute(
        _TABLE + "create table child (t int references t on delete cascade);"
        "create table parts (at timestamptz) partition by range (at);"
        "create table one partition of parts for values from ('2000-01-01') to ('2001-01-01');"
    )
    database.write_policy(_POLICY + said)
    with pytest.raises(PolicyError) as refused:
        await printed(database.settings, _WHEN)
    assert _BEYOND[said] in str(refused.value)
    assert "nothing was compiled" in str(refused.value)


async def test_all_that_is_refused_is_named_at_once(database: Database) -> None:
    await database.execute(_TABLE)
    database.write_policy(_POLICY + 'archive = "azure-blob"\n[lag]\nwal = "1MB"\n[vacuum]\njobs = 3\n')
    with pytest.raises(PolicyError, match=r"(?s)archive.*\[lag\] wal.*jobs = 3"):
        await printed(database.settings, _WHEN)


async def test_without_pg_cron_nothing_is_installed(database: Database) -> None:
    await database.execute(_TABLE)
    database.write_policy(_POLICY)
    for attempt in (install(database.settings, _WHEN), remove(database.settings)):
        with pytest.raises(SettingsError, match="Database postgres has no pg_cron"):
            await attempt
    assert await database.values("select to_regclass('maintenance.cron_policy')::text") == [None]


async def test_jobs_follow_each_other_over_midnight_and_the_weeks_end(database: Database) -> None:
    assert later("50 23 * * 6", 0) == "50 23 * * 6"
    assert later("50 23 * * 6", 20) == "10 0 * * 0"
    await database.execute("create table a (id int); create table b (id int);")
    database.write_policy('[vacuum]\ntables = ["*", "!b"]\n')
    async with connected(database.settings, name="test") as connection:
        compilation = await compiled(connection, database.settings)
    made = {job.name: job for job in jobs(compilation, DAILY, "59 23 * * 6")}
    start = f"maintenance {database.name}"
    assert set(made) == {f"{start} daily-cleanup", f"{start} vacuum public.a", f"{start} weekly-vacuum"}
    assert made[f"{start} weekly-vacuum"].schedule == "0 1 * * 0"
    for wrong in ("0 3 * * *", "60 3 * * 0", "0 24 * * 0", "0 3 * * 7", "@weekly"):
        with pytest.raises(UsageError, match="--weekly"):
            later(wrong, 0)
    with pytest.raises(UsageError, match="--daily"):
        list(jobs(compilation, "every day", WEEKLY))
