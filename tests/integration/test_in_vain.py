"""A VACUUM is judged by what it did: in vain it is never a success, and nobody is blamed who is not in the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from asyncpg import Connection

from maintenance.demo.server import embedded_server
from maintenance.horizon import Changes, Holder, Kind
from maintenance.ledger import Ledger
from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.runs import Run
from maintenance.settings import load
from maintenance.tasks import pinned
from tests.databases import Database, Spares, fresh, opened, step
from tests.sessions import LEDGER_GRANTS, application, counted, delayed, locked, role

_QUIET = "with (autovacuum_enabled = off)"
_POLICY = "[vacuum]\ndead_rows = 3\ndead_fraction = 0\n"
_FREEZE = "[vacuum]\nxid_age = 1000\n"
_BURN = "do $$ begin for i in 1..{} loop perform pg_current_xact_id(); commit; end loop; end $$"
_AGE = "select age(relfrozenxid) from pg_class where relname = 't'"


async def slowed(database: Database, delay: str) -> None:
    """Each page that a VACUUM of a new session reads takes its time; 0 for none."""
    await database.execute(
        f"alter database {database.name} set vacuum_cost_delay = '{delay}';"
        f"alter database {database.name} set vacuum_cost_limit = 1"
    )


async def made(database: Database, rows: int = 100, *, vacuumed: bool = True) -> None:
    await database.execute(f"create table t (id int primary key, n int) {_QUIET}")
    await database.execute(f"insert into t select g, g from generate_series(1, {rows}) g")
    await counted(database)
    if vacuumed:
        await database.execute("vacuum t")


async def died(database: Database, rows: int = 50) -> None:
    await database.execute(f"delete from t where id <= {rows}")
    await counted(database)


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[Connection]:
    """An application that has begun to read, and goes on with what was true then."""
    async with application(database) as reader:
        await reader.execute("begin isolation level repeatable read; select from t")
        yield reader


def ended(run: Run) -> tuple[StepStatus, StopReason | None]:
    done = step(run, "vacuum")
    return done.status, done.stop_reason


_BLOCKED = (StepStatus.BLOCKED, StopReason.BLOCKED)
_OUT_OF_TIME = (StepStatus.INTERRUPTED, StopReason.BUDGET)
_DONE = (StepStatus.SUCCEEDED, StopReason.DONE)


async def test_a_table_that_nobody_changes_is_not_frozen_in_vain_under_an_old_transaction(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinned, "PATIENCE", 0.4)
    await made(database)
    async with reading(database):
        await database.execute(_BURN.format(1100))
        for _ in range(2):
            run = await database.run("vacuum", policy=_FREEZE)
            assert ended(run) == _BLOCKED
            assert "VACUUM of public.t was not begun: it has 1,1" in (step(run, "vacuum").error or "")
            assert "transactions since the last freeze, and session " in (step(run, "vacuum").error or "")
        (age,) = await database.values(_AGE)
        assert age > 1000
    assert ended(await database.run("vacuum")) == _DONE
    (age,) = await database.values(_AGE)
    assert age < 1000


async def test_a_freeze_in_vain_is_told_by_its_result_where_the_role_sees_nobody(database: Database) -> None:
    await made(database)
    await Ledger(database.connection).install()
    async with role(database, *LEDGER_GRANTS, "alter table t owner to {role}") as plain:
        async with reading(database):
            await database.execute(_BURN.format(1100))
            run = await database.run("vacuum", policy=_FREEZE, target=plain)
            assert ended(run) == _BLOCKED
            assert "VACUUM of public.t froze next to nothing: 1,1" in (step(run, "vacuum").error or "")
            assert "above xid_age = 1,000" in (step(run, "vacuum").error or "")
            assert "GRANT pg_read_all_stats to it" in (step(run, "vacuum").error or "")
        assert ended(await database.run("vacuum", target=plain)) == _DONE


async def test_a_reader_does_not_keep_the_vacuum_of_a_table_of_nothing_but_new_rows(database: Database) -> None:
    await made(database, 20_000, vacuumed=False)
    async with reading(database):
        await database.execute(_BURN.format(50))
        run = await database.run("vacuum", policy="[vacuum]\ninsert_rows = 100\n")
    assert ended(run) == _DONE
    visible = "select relallvisible = relpages from pg_class where relname = 't'"
    assert await database.values(visible) == [True]


async def test_a_table_that_was_never_vacuumed_is_judged_by_the_result_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinned, "PATIENCE", 0.4)
    await made(database, vacuumed=False)
    await died(database)
    async with reading(database):
        await database.execute(_BURN.format(50))
        run = await database.run("vacuum", policy=_POLICY)
        assert (ended(run), step(run, "vacuum").note) == (_DONE, "50 dead rows removed")
    await database.execute(f"drop table t; create table t (id int primary key) {_QUIET}")
    await database.execute("insert into t select generate_series(1, 100)")
    async with reading(database):
        await died(database)
        run = await database.run("vacuum")
        assert ended(run) == _BLOCKED
        message = step(run, "vacuum").error or ""
        assert "VACUUM of public.t removed none of 50 dead rows to speak of, and the table grows: session " in message


@pytest.mark.parametrize("vacuumed", [True, False])
async def test_a_short_query_is_no_failure_where_there_is_no_time_to_wait_for_its_end(
    database: Database, vacuumed: bool
) -> None:
    await made(database, vacuumed=vacuumed)
    async with reading(database):
        await died(database)
        run = await database.run("vacuum", policy=_POLICY, budget=5)
    assert (run.status, ended(run)) == (RunStatus.INTERRUPTED, _OUT_OF_TIME)
    assert "he may be gone soon, but there was no more time to wait for that" in (step(run, "vacuum").error or "")


async def test_what_was_waited_for_a_transaction_is_taken_off_the_time_for_the_vacuum(database: Database) -> None:
    budget, waited = 8, 1.4
    await made(database)

    async def leave(reader: Connection) -> None:
        await asyncio.sleep(waited)
        await reader.execute("commit")

    async with reading(database) as reader:
        await died(database)
        async with locked(database, "t", "share update exclusive"):
            leaving, began = asyncio.create_task(leave(reader)), time.monotonic()
            run = await database.run("vacuum", policy=_POLICY, budget=budget, lock_timeout=60)
            took = time.monotonic() - began
            await leaving
    assert ended(run) == _OUT_OF_TIME
    assert took < budget + waited / 2


async def test_a_second_vacuum_is_not_begun_where_the_first_took_longer_than_is_left(database: Database) -> None:
    await made(database, rows=20_000, vacuumed=False)
    await slowed(database, "20ms")

    async def leave(reader: Connection) -> None:
        await delayed(database)
        await reader.execute("commit")

    async with reading(database) as reader:
        await died(database, 10)
        leaving = asyncio.create_task(leave(reader))
        run = await database.run("vacuum", policy=_POLICY, budget=6)
        await leaving
    assert ended(run) == _OUT_OF_TIME
    message = step(run, "vacuum").error or ""
    assert "removed none of 10 dead rows to speak of" in message
    assert "and for another VACUUM " in message
    assert "is left of the budget, and it is expected to take about " in message
    await slowed(database, "0")
    assert ended(await database.run("vacuum", budget=6)) == _DONE, "what it waited is not taken for what it needs"


async def test_where_nobody_is_seen_and_a_second_vacuum_does_not_fit_it_is_blocked_all_the_same(
    database: Database,
) -> None:
    await made(database, rows=20_000, vacuumed=False)
    await slowed(database, "20ms")
    await Ledger(database.connection).install()
    async with role(database, *LEDGER_GRANTS, "alter table t owner to {role}") as plain, reading(database):
        await died(database, 10)
        run = await database.run("vacuum", policy=_POLICY, budget=6, target=plain)
    assert ended(run) == _BLOCKED
    assert "GRANT pg_read_all_stats to it" in (step(run, "vacuum").error or "")


async def test_rows_that_die_while_it_goes_on_are_not_taken_for_rows_that_it_left(database: Database) -> None:
    await Ledger(database.connection).install()
    slowly = ("alter role {role} set vacuum_cost_delay = 20", "alter role {role} set vacuum_cost_limit = 20")
    async with role(database, *LEDGER_GRANTS, *slowly) as plain:
        await made(database, 20_000)
        await database.execute(f"alter table t owner to {plain.user}; create index on t (n)")
        await died(database, 10)
        going_on = asyncio.Event()

        async def change() -> None:
            async with application(database) as writer:
                number = 0
                while not going_on.is_set():
                    number += 1
                    await writer.execute(f"update t set n = n + 1 where id = {number % 15_000 + 100}")
                    await asyncio.sleep(0.002)

        changing = asyncio.create_task(change())
        try:
            run = await database.run("vacuum", policy=_POLICY, target=plain)
        finally:
            going_on.set()
            await changing
    assert ended(run) == _DONE, step(run, "vacuum").error


async def test_autovacuums_own_analyze_is_not_in_the_way_of_its_table_nor_ever_to_be_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinned, "PATIENCE", 0.4)
    settings = {"autovacuum_naptime": "1s"}
    with embedded_server(bin_directory=load().postgres_bin, settings=settings) as server:
        async with fresh(server, "analyzed", tmp_path) as database:
            await made(database)
            await database.execute(
                "create function slow(int) returns int language plpgsql immutable as $$ begin"
                " if (select backend_type from pg_stat_activity where pid = pg_backend_pid()) = 'autovacuum worker'"
                " then perform pg_sleep(0.1); end if; return $1; end $$;"
                "create table busy (id int primary key) with (autovacuum_analyze_threshold = 100,"
                " autovacuum_vacuum_threshold = 1000000, autovacuum_vacuum_insert_threshold = -1);"
                "create index on busy (slow(id))"
            )
            await database.execute("vacuum busy")
            await database.execute("vacuum t")
            await database.execute("insert into busy select generate_series(1, 1000)")
            analyzed = "select from pg_stat_progress_analyze where relid = 'busy'::regclass and phase like 'computing%'"
            for _ in range(300):
                if await database.connection.fetchval(f"select exists ({analyzed})"):
                    break
                await asyncio.sleep(0.1)
            else:
                raise AssertionError("autovacuum never analyzed it")
            await died(database)
            run = await database.run("vacuum", policy=_POLICY, tables=["t"])
            assert (run.status, ended(run)) == (RunStatus.INTERRUPTED, (StepStatus.INTERRUPTED, StopReason.LOCK))
            message = step(run, "vacuum").error or ""
            assert "autovacuum worker " in message
            assert "it ends by itself" in message
            assert "terminate" not in message
            await database.execute("delete from busy where id <= 300")
            await counted(database)
            run = await database.run("vacuum", tables=["busy"])
            assert ended(run) == _DONE, step(run, "vacuum").error


async def test_what_the_server_itself_defers_is_named_and_never_a_success(tmp_path: Path) -> None:
    found = sorted(Path("/usr/lib/postgresql").glob("1[45]/bin/postgres"))
    if not found:
        pytest.skip("needs PostgreSQL 14 or 15: vacuum_defer_cleanup_age went with 16")
    settings = {"autovacuum": "off", "vacuum_defer_cleanup_age": "1000000"}
    with embedded_server(bin_directory=found[-1].parent, settings=settings) as server:
        spares = Spares(server)
        async with opened(server, spares, await spares.taken(), tmp_path) as database:
            await made(database, vacuumed=False)
            await died(database)
            run = await database.run("vacuum", policy=_POLICY)
        await spares.close()
    assert ended(run) == _BLOCKED
    assert "the server's vacuum_defer_cleanup_age = 1,000,000 keeps" in (step(run, "vacuum").error or "")


def test_where_the_clock_was_set_back_behind_the_last_vacuum_nobody_is_blamed() -> None:
    passing = Holder(kind=Kind.SESSION, name="1", pid=1, seconds=0.001, age=9)
    for seconds in (-5.0, 0.0, None):
        assert pinned.pin([passing], Changes(dead=1000, age=10, seconds=seconds)) is None
    assert pinned.pin([passing], Changes(dead=1000, age=10, seconds=0.001)) is not None


def test_only_a_result_tells_whether_multixacts_can_be_frozen() -> None:
    holder = Holder(kind=Kind.SESSION, name="1", pid=1, seconds=60.0, age=2000)
    old = Changes(dead=0, age=2000, multixact_age=2000, seconds=60.0)
    assert pinned.pin([holder], old, max_age=1000) is None
    assert pinned.pin([holder], replace(old, multixact_age=0), max_age=1000) is not None


def test_only_what_began_before_is_before_however_often_the_numbers_went_round() -> None:
    epoch = 3 * 2**32
    for xmin, xid, earlier in ((99, 100, True), (100, 100, False), (101, 100, False), (2**32 - 1, 5, True)):
        holder = Holder(kind=Kind.SESSION, name="1", pid=1, age=1, xmin=xmin)
        assert holder.before(epoch + xid) is earlier
    assert not Holder(kind=Kind.SESSION, name="1", pid=1).before(100)


async def test_old_multixacts_are_frozen_even_if_that_makes_the_table_no_younger_in_transactions(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinned, "PATIENCE", 0.4)
    await made(database, 1)
    async with application(database) as reader:
        await reader.execute("begin isolation level repeatable read; select from pg_class")
        async with application(database) as first, application(database) as second:
            await first.execute("begin; select from t for key share")
            for _ in range(12):
                await second.execute("begin; select from t for key share; commit")
            await first.execute("commit")
        run = await database.run("vacuum", policy="[vacuum]\nxid_age = 10\n")
    assert ended(run) == _BLOCKED
    message = step(run, "vacuum").error or ""
    assert "froze next to nothing: " in message
    assert " transactions since the last freeze, above xid_age = 10" in message
    assert await database.values("select mxid_age(relminmxid) <= 10 from pg_class where relname = 't'") == [True]


async def test_what_vacuum_leaves_in_the_place_of_a_few_rows_is_no_sign_of_a_holder(database: Database) -> None:
    await database.execute(
        "create table t (id int primary key, filler text) with (autovacuum_enabled = false);"
        "insert into t select i, repeat('x', 500) from generate_series(1, 20000) i"
    )
    await database.execute("vacuum (freeze, analyze) t")
    await database.execute("delete from t where id in (5, 7, 9)")
    await counted(database)
    # Of so few pages VACUUM does not clean the indexes, and ANALYZE counts what is left of the rows as dead.
    await database.execute("vacuum (analyze) t")
    assert await database.values("select n_dead_tup from pg_stat_user_tables where relname = 't'") == [3]
    run = await database.run("vacuum", policy="[vacuum]\ndead_rows = 1\ndead_fraction = 0\n")
    assert (run.status, run.steps[0].note) == (RunStatus.SUCCEEDED, "3 dead rows removed")
