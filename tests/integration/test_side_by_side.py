"""Tables side by side: how many connections there are, and what becomes of them when one is lost, late or refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from asyncpg import Connection

from maintenance import crew
from maintenance.errors import ConnectionLost
from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.witness import Event
from tests.databases import Database, planned_step
from tests.sessions import LEDGER_GRANTS, all_waiting, application, counted, role

_TABLES = ("a", "b", "c", "d", "e")
_QUIET = "with (autovacuum_enabled = false)"
_OURS = (
    "select {} from pg_stat_activity where application_name like 'maintenance run%' and datname = current_database()"
)


def policy(jobs: int) -> str:
    return f"[vacuum]\ndead_rows = 0\ndead_fraction = 0\ninsert_rows = 0\ninsert_fraction = 0\njobs = {jobs}\n"


async def needy(database: Database, *tables: str) -> None:
    """Tables that need a VACUUM and an ANALYZE, each less than the one before it."""
    for place, name in enumerate(tables):
        await database.execute(f"create table {name} {_QUIET} as select generate_series(1, {900 - place * 100}) id")
    await counted(database)


@asynccontextmanager
async def held(database: Database, *tables: str) -> AsyncIterator[Connection]:
    """What VACUUM and ANALYZE have to wait for; it ends with the block, or with a rollback before."""
    async with application(database) as connection:
        await connection.execute(f"begin; lock table {', '.join(tables)} in share update exclusive mode")
        yield connection


async def gone(database: Database) -> bool:
    """Whether no session of ours is left a moment later."""
    for _ in range(500):
        if await database.values(_OURS.format("count(*)")) == [0]:
            return True
        await asyncio.sleep(0.01)
    return False


async def leaseholder(database: Database) -> int:
    found = "select pid from pg_locks where locktype = 'advisory' and database = (select oid from pg_database"
    return int((await database.values(f"{found} where datname = current_database())"))[0])


@pytest.mark.parametrize("task", ["vacuum", "statistics"])
@pytest.mark.parametrize(("jobs", "connections"), [(1, 1), (3, 3), (9, 5)])
async def test_there_are_as_many_connections_as_asked_for_and_never_more_than_steps(
    database: Database, task: str, jobs: int, connections: int
) -> None:
    await needy(database, *_TABLES)
    async with held(database, *_TABLES) as holder:
        running = asyncio.create_task(database.run(task, policy=policy(jobs)))
        names = await all_waiting(database, connections)
        assert names == [f"maintenance run 1 {task} public.{name}" for name in _TABLES[:connections]]
        assert await database.values(_OURS.format("count(*)")) == [connections]
        await holder.execute("rollback")
        run = await running
    assert await gone(database)
    assert run.status is RunStatus.SUCCEEDED
    assert [(s.table, s.status, s.batches) for s in run.steps] == [
        (f"public.{name}", StepStatus.SUCCEEDED, 1) for name in _TABLES
    ]
    assert all(s.bytes_before and s.bytes_after and s.seconds > 0 for s in run.steps)
    stamp = {"vacuum": "last_vacuum", "statistics": "last_analyze"}[task]
    assert await database.values(f"select count({stamp}) from pg_stat_user_tables where schemaname = 'public'") == [5]


async def test_a_partitioned_parent_is_analyzed_after_its_partitions_and_alone(database: Database) -> None:
    await database.execute(
        "create table parent (id int) partition by range (id);"
        f"create table p0 partition of parent for values from (0) to (1000) {_QUIET};"
        f"create table p1 partition of parent for values from (1000) to (2000) {_QUIET};"
        "insert into parent select generate_series(1, 1999)"
    )
    await counted(database)
    plan = await database.plan("statistics", policy=policy(3))
    assert {str(s.table): s.jobs for s in plan.steps} == {"public.p0": 3, "public.p1": 3, "public.parent": 1}
    run = await database.run("statistics")
    assert (run.status, [s.table for s in run.steps][-1]) == (RunStatus.SUCCEEDED, "public.parent")


@pytest.mark.parametrize("lost", ["the lease's", "another's"])
async def test_a_lost_connection_ends_the_run_and_all_that_goes_on_beside_it(database: Database, lost: str) -> None:
    await needy(database, *_TABLES)
    tasks = asyncio.all_tasks()
    async with held(database, *_TABLES):
        running = asyncio.create_task(database.run("vacuum", policy=policy(3)))
        await all_waiting(database, 3)
        leaders = await leaseholder(database)
        pids = await database.values(_OURS.format("pid"))
        (victim, *_) = [leaders] if lost == "the lease's" else [pid for pid in pids if pid != leaders]
        await database.execute(f"select pg_terminate_backend({victim})")
        with pytest.raises(ConnectionLost, match="run again to go on"):
            await running
        assert await gone(database)
    assert asyncio.all_tasks() <= tasks
    assert await database.values("select status from maintenance.run") == ["running"]
    again = await database.run("vacuum")
    assert (again.status, len(again.steps)) == (RunStatus.SUCCEEDED, 5)


async def test_nobody_works_on_when_the_lease_is_lost_whose_connection_has_nothing_to_do(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "_WATCH", 0.05)
    await needy(database, "a", "b")
    async with held(database, "a") as first, held(database, "b"):
        running = asyncio.create_task(database.run("vacuum", policy=policy(2)))
        await all_waiting(database, 2)
        await first.execute("rollback")
        await all_waiting(database, 1)
        await database.execute(f"select pg_terminate_backend({await leaseholder(database)})")
        with pytest.raises(ConnectionLost, match="run again to go on"):
            await running
        assert await gone(database)
    assert (await database.run("vacuum")).status is RunStatus.SUCCEEDED


async def test_a_run_goes_on_with_the_connections_that_it_gets_and_says_so(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await database.run(policy=policy(3))  # makes the ledger
    await needy(database, *_TABLES)
    owned = [f"alter table {name} owner to {{role}}" for name in _TABLES]
    async with (
        role(database, *LEDGER_GRANTS, "alter role {role} connection limit 2", *owned) as limited,
        held(database, *_TABLES) as holder,
    ):
        running = asyncio.create_task(database.run("vacuum", target=limited))
        await all_waiting(database, 2)
        for _ in range(500):
            if caplog.records:
                break
            await asyncio.sleep(0.01)
        await holder.execute("rollback")
        run = await running
        assert {(s.status, s.batches) for s in run.steps} == {(StepStatus.SUCCEEDED, 1)}
        assert (run.status, len(run.steps)) == (RunStatus.SUCCEEDED, 5)
    (record,) = caplog.records
    assert (record.levelno, vars(record)["event"]) == (logging.WARNING, Event.CONNECTION_MISSED)
    assert "the run goes on with those it has" in record.getMessage()
    assert "too many connections" in record.getMessage()


@asynccontextmanager
async def only_one(database: Database) -> AsyncIterator[int]:
    """A port that leads the first connection to the server, and leaves those after it without an answer."""
    writers: list[asyncio.StreamWriter] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            writer.write(part)
        writer.close()

    async def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if len(writers) == 1:
            answers, server = await asyncio.open_connection(database.server.host, database.server.port)
            await asyncio.gather(pass_on(reader, server), pass_on(answers, writer))

    async with await asyncio.start_server(came, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]
        for writer in writers:
            writer.close()


async def test_a_connection_that_does_not_come_is_not_waited_for(database: Database) -> None:
    await needy(database, *_TABLES)
    async with only_one(database) as port:
        target = replace(database.settings.required_target(), port=port)
        running = database.run("vacuum", policy=policy(5), target=target, connect_timeout=60)
        run = await asyncio.wait_for(running, 30)
    assert (run.status, len(run.steps)) == (RunStatus.SUCCEEDED, 5)


async def test_a_pause_holds_for_all_connections(database: Database) -> None:
    await needy(database, *_TABLES)
    async with held(database, *_TABLES) as holder:
        running = asyncio.create_task(database.run("vacuum", policy=policy(2)))
        await all_waiting(database, 2)
        await database.execute("insert into maintenance.pause (reason) values ('migration')")
        await holder.execute("rollback")
        run = await running
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.PAUSED)
    assert [s.stop_reason for s in run.steps] == ["done", "done", "paused", "paused", "paused"]
    assert "migration" in (run.error or "")
    await database.execute("delete from maintenance.pause")
    assert [s.table for s in (await database.run("vacuum")).steps] == ["public.c", "public.d", "public.e"]


async def test_the_budget_ends_all_connections_and_no_other_step_begins(database: Database) -> None:
    await needy(database, *_TABLES)
    async with held(database, *_TABLES):
        run = await asyncio.wait_for(database.run("vacuum", policy=policy(2), budget=0.6), 10)
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.BUDGET)
    assert [s.stop_reason for s in run.steps] == ["budget"] * 5
    begun = "select table_name from maintenance.step where began_at is not null order by 1"
    assert await database.values(begun) == ["public.a", "public.b"]


async def test_a_step_that_fails_beside_others_harms_none_of_them(database: Database) -> None:
    await needy(database, *_TABLES)
    async with held(database, *_TABLES) as holder:
        running = asyncio.create_task(database.run("vacuum", policy=policy(3)))
        await all_waiting(database, 3)
        name = "application_name like '%public.b'"
        await database.execute(f"select pg_cancel_backend(pid) from pg_stat_activity where {name}")
        await holder.execute("rollback")
        run = await running
    assert run.status is RunStatus.FAILED
    assert {s.table: s.sqlstate for s in run.steps if s.status is not StepStatus.SUCCEEDED} == {"public.b": "57014"}


async def test_side_by_side_only_what_says_that_it_may_be(database: Database) -> None:
    await database.execute("create table log (at timestamptz); insert into log values ('2020-01-01'), (now())")
    rule = '[[retention]]\ntable = "log"\ncolumn = "at"\nkeep = "30 days"\n'
    plan = await database.plan("retention", "vacuum", policy=rule + policy(4))
    assert (planned_step(plan, "retention").jobs, planned_step(plan, "vacuum").jobs) == (1, 4)
