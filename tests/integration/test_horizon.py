"""The horizon: a VACUUM that somebody would make useless is not begun, and he is named with what ends it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from asyncpg import Connection

from maintenance import horizon
from maintenance.demo.server import embedded_server
from maintenance.horizon import Changes, Holder, Kind, holders
from maintenance.ledger import Ledger
from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.runs import Run
from maintenance.settings import load
from maintenance.tasks import pinned
from tests.databases import Database, Spares, connect, opened, planned_step, step
from tests.replica import NAME, Pair, streaming
from tests.sessions import LEDGER_GRANTS, application, counted, role

_POLICY = "[vacuum]\ndead_rows = 100\ndead_fraction = 0.1\n"
_BURN = "do $$ begin for i in 1..{} loop perform pg_current_xact_id(); commit; end loop; end $$"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is there at the second look is in the way."""
    monkeypatch.setattr(pinned, "PATIENCE", 0.4)
    monkeypatch.setattr(pinned, "_NAP", 0.05)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    settings = {
        "autovacuum": "off", "max_prepared_transactions": "5", "wal_receiver_status_interval": "1",
        "wal_level": "logical",
    }  # fmt: skip
    with (
        embedded_server(bin_directory=load().postgres_bin, settings=settings) as primary,
        streaming(primary) as replica,
    ):
        yield Pair(primary=primary, replica=replica)


@pytest.fixture(scope="module")
async def databases(pair: Pair) -> AsyncIterator[Spares]:
    spares = Spares(pair.primary)
    yield spares
    await spares.close()


@pytest.fixture
async def table(pair: Pair, databases: Spares, tmp_path: Path) -> AsyncIterator[Database]:
    """A freshly vacuumed table of 1,000 rows, on a server with prepared transactions and a replica."""
    async with opened(pair.primary, databases, await databases.taken(), tmp_path) as database:
        await database.execute("create table t (id int primary key); insert into t select generate_series(1, 1000)")
        await counted(database)
        await database.execute("vacuum t")
        database.write_policy(_POLICY)
        yield database


async def died(database: Database, rows: int = 300) -> None:
    """So many more rows are dead."""
    await database.execute(f"delete from t where id in (select id from t order by id limit {rows})")
    await counted(database)


async def vacuumed(database: Database) -> object:
    return await database.connection.fetchval("select last_vacuum from pg_stat_user_tables where relname = 't'")


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[Connection]:
    """An application that has begun to read, and goes on with what was true then."""
    async with application(database) as reader:
        await reader.execute("set application_name = 'nightly report'")
        await reader.execute("begin isolation level repeatable read; select from t")
        yield reader


def blocked(run: Run) -> str:
    """What the only step says, which was blocked."""
    done = step(run, "vacuum", "public.t")
    assert (done.status, done.stop_reason) == (StepStatus.BLOCKED, StopReason.BLOCKED)
    assert (run.status, run.stop_reason) == (RunStatus.FAILED, StopReason.BLOCKED)
    assert done.error is not None
    return done.error


async def test_a_vacuum_is_not_begun_while_an_older_transaction_keeps_all_that_died_and_it_is_named(
    table: Database,
) -> None:
    async with reading(table) as reader:
        await died(table)
        before = await vacuumed(table)
        summary = planned_step(await table.plan("vacuum"), "vacuum").summary
        message = blocked(await table.run("vacuum"))
        pid = await reader.fetchval("select pg_backend_pid()")
        assert await vacuumed(table) == before
        assert message.startswith("VACUUM of public.t was not begun: it has 300 dead rows, and session ")
        for fact in (
            f"session {pid} (",
            "'nightly report'",
            "idle in transaction",
            f"database {table.name}",
            " since 2",
        ):
            assert fact in message
            assert fact in summary or fact == " since 2"
        assert message.endswith(f"let it commit, or end it: select pg_terminate_backend({pid});")
        await table.execute(f"select pg_terminate_backend({pid})")
    run = await table.run("vacuum")
    assert (run.status, step(run, "vacuum").note) == (RunStatus.SUCCEEDED, "300 dead rows removed")


async def test_a_transaction_that_ends_meanwhile_is_waited_for(
    table: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinned, "PATIENCE", 20.0)
    async with reading(table) as reader:
        await died(table)
        running = asyncio.create_task(table.run("vacuum"))
        await asyncio.sleep(0.6)
        assert not running.done()
        await reader.execute("commit")
        run = await running
    assert (run.status, step(run, "vacuum").note) == (RunStatus.SUCCEEDED, "300 dead rows removed")


async def test_a_transaction_that_came_after_most_had_died_is_not_in_the_way(table: Database) -> None:
    await died(table)
    await asyncio.sleep(1.0)
    async with reading(table):
        await died(table, 10)
        run = await table.run("vacuum")
    assert (run.status, step(run, "vacuum").note) == (RunStatus.SUCCEEDED, "300 dead rows removed")


async def test_a_transaction_in_another_database_is_not_in_the_way_of_tables(
    table: Database, pair: Pair, databases: Spares, tmp_path: Path
) -> None:
    async with opened(pair.primary, databases, await databases.taken(), tmp_path / "other") as other:
        await other.execute("create table t (id int)")
        async with reading(other) as reader:
            await reader.execute("select pg_current_xact_id()")
            await died(table)
            (holder,) = await holders(table.connection)
            assert (holder.kind, holder.database, holder.age) == (Kind.SESSION, other.name, None)
            assert holder.catalog_age is not None
            assert (await table.run("vacuum")).status is RunStatus.SUCCEEDED
    assert await table.values("select n_dead_tup from pg_stat_user_tables where relname = 't'") == [0]


async def test_a_prepared_transaction_is_named_by_its_gid(table: Database) -> None:
    await table.execute("begin; select pg_current_xact_id(); prepare transaction 'order ''7'''")
    try:
        await died(table)
        message = blocked(await table.run("vacuum"))
    finally:
        await table.execute("rollback prepared 'order ''7'''")
    assert "prepared transaction \"order '7'\"" in message
    assert f"commit prepared 'order ''7'''; or rollback prepared 'order ''7'''; in the database \"{table.name}\"" in (
        message
    )
    assert (await table.run("vacuum")).status is RunStatus.SUCCEEDED


@asynccontextmanager
async def feeding(pair: Pair, database: Database, **settings: str) -> AsyncIterator[Connection]:
    """A session on the replica in a transaction that reads, which the replica tells the server of."""
    await pair.caught_up()
    replica = await connect(pair.replica, database.name)
    settings = {"hot_standby_feedback": "on", **settings}
    try:
        for name, value in settings.items():
            await replica.execute(f"alter system set {name} = '{value}'")
        await replica.execute("select pg_reload_conf()")
        await replica.execute("begin isolation level repeatable read; select from t")
        await database.execute(_BURN.format(300))
        yield replica
    finally:
        await replica.execute("rollback")
        for name in settings:
            await replica.execute(f"alter system reset {name}")
        await replica.execute("select pg_reload_conf()")
        await replica.close()
        await until(database, "not exists (select from pg_stat_replication where backend_xmin is not null)")


async def until(database: Database, condition: str) -> None:
    for _ in range(600):
        if await database.connection.fetchval(f"select {condition}"):
            return
        await database.execute("select pg_logical_emit_message(true, 'tests', 'tick')")
        await asyncio.sleep(0.05)
    raise AssertionError(f"never: {condition}")


async def test_a_replica_whose_readers_are_told_of_is_named(table: Database, pair: Pair) -> None:
    async with feeding(pair, table):
        await until(table, "exists (select from pg_stat_replication where age(backend_xmin) > 250)")
        await died(table)
        message = blocked(await table.run("vacuum"))
        assert f"standby '{NAME}' by hot_standby_feedback (streaming, pid " in message
        assert "end its longest query (on the standby:" in message
        assert message.endswith("or turn hot_standby_feedback off there")
    assert (await table.run("vacuum")).status is RunStatus.SUCCEEDED


async def test_a_slot_that_its_replica_has_left_is_named_with_what_drops_it(table: Database, pair: Pair) -> None:
    await table.execute("select pg_create_physical_replication_slot('kept')")
    try:
        async with feeding(pair, table, primary_slot_name="kept"):
            await until(table, "exists (select from pg_replication_slots where age(xmin) > 250)")
            # While its reader is there: it would else tell that he has gone.
            replica = await connect(pair.replica, table.name)
            await replica.execute("alter system reset primary_slot_name")
            await replica.execute("select pg_reload_conf()")
            await replica.close()
            await until(table, "exists (select from pg_replication_slots where not active)")
        await died(table)
        message = blocked(await table.run("vacuum"))
        assert "replication slot 'kept' (physical, inactive" in message
        assert message.endswith("if it never comes back, select pg_drop_replication_slot('kept');")
    finally:
        await table.execute("select pg_drop_replication_slot('kept')")
    assert (await table.run("vacuum")).status is RunStatus.SUCCEEDED


async def test_a_logical_slot_holds_back_the_catalogs_and_no_table(table: Database) -> None:
    await table.execute("select pg_create_logical_replication_slot('logical', 'pgoutput')")
    try:
        await table.execute(_BURN.format(300))
        await died(table)
        (holder,) = await holders(table.connection)
        assert (holder.kind, holder.name, holder.database, holder.age) == (Kind.SLOT, "logical", table.name, None)
        assert (holder.catalog_age or 0) > 250
        assert (await table.run("vacuum")).status is RunStatus.SUCCEEDED
    finally:
        await table.execute("select pg_drop_replication_slot('logical')")
    assert await table.values("select n_dead_tup from pg_stat_user_tables where relname = 't'") == [0]


async def test_where_the_role_sees_nobody_it_vacuums_and_looks_afterwards(table: Database) -> None:
    await Ledger(table.connection).install()
    async with role(table, *LEDGER_GRANTS, "alter table t owner to {role}") as plain, reading(table):
        await died(table)
        before = await vacuumed(table)
        message = blocked(await table.run("vacuum", target=plain))
        assert await vacuumed(table) != before
        assert "removed none of 300 dead rows to speak of" in message
        assert "GRANT pg_read_all_stats to it" in message
        await table.execute(f"grant pg_read_all_stats to {plain.user}")
        assert "'nightly report'" in blocked(await table.run("vacuum", target=plain))


async def test_a_table_that_must_be_frozen_is_vacuumed_as_far_as_the_horizon_goes(table: Database) -> None:
    policy = f"{_POLICY}xid_age = 1000"
    await table.execute(_BURN.format(1100))
    async with reading(table):
        await died(table)
        run = await table.run("vacuum", policy=policy)
        assert (run.status, step(run, "vacuum").status) == (RunStatus.SUCCEEDED, StepStatus.SUCCEEDED)
        assert "300 could not be: session " in (step(run, "vacuum").note or "")
        assert await table.values("select age(relfrozenxid) < 1000 from pg_class where relname = 't'") == [True]
        await table.execute(_BURN.format(1100))
        assert "'nightly report'" in blocked(await table.run("vacuum", policy=policy))


def _holder(seconds: float | None, age: int | None = 100) -> Holder:
    return Holder(kind=Kind.SESSION, name="1", pid=1, seconds=seconds, age=age)


@pytest.mark.parametrize(
    ("vacuumed_ago", "held_for", "kept"),
    [
        (100.0, 100.0, 1.0),
        (100.0, 500.0, 1.0),
        (100.0, 25.0, 0.25),
        (0.0, 1.0, 0.1),
        (-5.0, 0.001, 0.1),
        (None, 50.0, 0.1),
        (9.0, None, 0.1),
    ],
)
def test_what_a_holder_keeps_is_taken_for_even_in_time_or_else_in_transactions(
    vacuumed_ago: float | None, held_for: float | None, kept: float
) -> None:
    table = Changes(dead=300, age=1000, seconds=vacuumed_ago)
    assert table.kept(_holder(held_for)) == kept
    assert table.kept(_holder(held_for, None)) == 0


def test_the_holder_that_reaches_back_furthest_comes_first_and_the_others_are_named_too() -> None:
    table = Changes(dead=300, age=1000, seconds=10.0)
    many = [replace(_holder(20.0, age), name=str(age), pid=age) for age in (600, 900, 700, 800)]
    found = pinned.pin(many, table)
    assert found is not None
    assert [holder.age for holder in found.holders] == [900, 800, 700, 600]
    assert [f"pg_terminate_backend({pid})" in found.remedy for pid in (900, 800, 700, 600)] == [True, True, True, False]
    assert found.remedy.endswith("; and 1 more")


def test_nobody_is_in_the_way_of_a_table_without_anything_to_remove() -> None:
    assert pinned.pin([_holder(20.0)], Changes(dead=0, age=10, seconds=5.0)) is None
    assert horizon.Kind("slot") is Kind.SLOT


async def test_only_the_first_of_many_tables_waits_for_one_of_whom_the_server_does_not_tell_since_when(
    table: Database, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinned, "PATIENCE", 1.5)
    names = [f"t{number}" for number in range(5)]
    for name in names:
        await table.execute(f"create table {name} (id int); insert into {name} select generate_series(1, 1000)")
        await counted(table)
        await table.execute(f"vacuum {name}")
    async with feeding(pair, table):
        await until(table, "exists (select from pg_stat_replication where age(backend_xmin) > 250)")
        for name in names:
            await table.execute(f"delete from {name} where id <= 300")
        await counted(table)
        began = time.monotonic()
        run = await table.run("vacuum")
        took = time.monotonic() - began
    assert [done.status for done in run.steps] == [StepStatus.BLOCKED] * len(names)
    assert took < 3 * pinned.PATIENCE
