"""`check`: autovacuum, the age of transactions, what pins the horizon: each where it is, and where not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asyncpg import Connection

from maintenance import settings as environment
from maintenance.demo.server import Server, embedded_server
from maintenance.findings import Severity
from tests.checks import POLICY, codes, look, make, only
from tests.databases import Database, connect
from tests.replica import NAME, Pair, streaming
from tests.sessions import application, counted

# --- autovacuum


async def until(database: Database, query: str, *values: object) -> None:
    """Wait until a query has a row."""
    for _ in range(1500):
        if await database.values(query, *values):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"never came true: {query}")


@asynccontextmanager
async def altered(database: Database, *settings: str) -> AsyncIterator[None]:
    """Settings of the whole server inside the block."""
    for setting in settings:
        await database.execute(f"alter system set {setting}")
    await _reloaded(database)
    try:
        yield
    finally:
        for setting in settings:
            await database.execute(f"alter system reset {setting.split()[0]}")
        await _reloaded(database)


async def _reloaded(database: Database) -> None:
    before = (await database.values("select pg_conf_load_time()"))[0]
    await database.execute("select pg_reload_conf()")
    await until(database, "select 1 where pg_conf_load_time() <> $1", before)


@pytest.mark.parametrize(
    ("setting", "code", "severity"),
    [
        ("autovacuum = off", "autovacuum.off", Severity.WARNING),
        ("track_counts = off", "autovacuum.blind", Severity.ERROR),
    ],
)
async def test_autovacuum_that_is_off(database: Database, setting: str, code: str, severity: Severity) -> None:
    assert codes(await look(database, "autovacuum", policy="")) == []
    async with altered(database, setting):
        found = only(await look(database, "autovacuum"), code)
        assert found.severity is severity
        for sql in str(found.cure).split("\n"):
            await database.execute(sql)
        name = setting.split()[0]
        await until(database, f"select 1 where current_setting('{name}') = 'on'")
        assert codes(await look(database, "autovacuum")) == []


async def test_autovacuum_that_is_off_for_a_table(database: Database) -> None:
    await database.execute('create table "T" (x int) with (autovacuum_enabled = off); create table u (x int)')
    found = only(await look(database, "autovacuum", policy=""), "autovacuum.table_off")
    assert found.subject == "public.T"
    await database.execute(str(found.cure))
    assert codes(await look(database, "autovacuum", policy="")) == []


async def dead(database: Database, rows: int, options: str = "autovacuum_vacuum_threshold = 1000") -> None:
    await database.execute(f"create table t (x int) with ({options}); insert into t select generate_series(1, {rows})")
    await database.execute("analyze t; delete from t")
    await counted(database)


@pytest.mark.parametrize(
    ("rows", "options", "found"),
    [
        (5000, "autovacuum_vacuum_threshold = 1000", ["autovacuum.behind"]),
        (5000, "autovacuum_vacuum_threshold = 10000", []),
        (5000, "autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0.6", []),
        (500, "autovacuum_vacuum_threshold = 100", []),
    ],
)
async def test_a_table_that_autovacuum_has_left_alone(
    database: Database, rows: int, options: str, found: list[str]
) -> None:
    async with altered(database, "autovacuum_naptime = '1d'"):
        await dead(database, rows, options)
        limits: dict[str, Any] = {"dead": 1000, "behind_after": 0.0}
        assert codes(await look(database, "autovacuum", policy="", **limits)) == found
        if found:
            assert codes(await look(database, "autovacuum", policy="")) == []
            (one,) = (await look(database, "autovacuum", policy="", **limits)).findings
            await database.execute(str(one.cure))
            await counted(database)
            assert codes(await look(database, "autovacuum", policy="", **limits)) == []


async def test_the_most_that_a_threshold_can_be(database: Database) -> None:
    """From PostgreSQL 18 on."""
    if database.connection.get_server_version().major < 18:
        return
    async with altered(database, "autovacuum_naptime = '1d'"):
        await dead(database, 5000, "autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_max_threshold = 1000")
        limits: dict[str, Any] = {"dead": 1000, "behind_after": 0.0}
        found = only(await look(database, "autovacuum", policy="", **limits), "autovacuum.behind")
        assert "where autovacuum begins at 1,000" in found.fact
        await database.execute("alter table t set (autovacuum_vacuum_max_threshold = -1)")
        assert codes(await look(database, "autovacuum", policy="", **limits)) == []


async def test_what_our_own_run_has_just_deleted_is_not_behind(database: Database) -> None:
    async with altered(database, "autovacuum_naptime = '1d'"):
        await make(database, POLICY + "[vacuum]\ndead_rows = 100000000\n")
        await database.execute(
            "insert into event select i, now() - interval '40 days' from generate_series(100, 9000) i"
        )
        await database.run("daily-cleanup")
        await counted(database)
        limits: dict[str, Any] = {"dead": 100, "behind_after": 0.0}
        assert codes(await look(database, "autovacuum", **limits)) == []
        await database.execute("update maintenance.step set changed_at = changed_at - interval '2 hours'")
        assert codes(await look(database, "autovacuum", **limits)) == ["autovacuum.behind"]


_SLOW = {
    "autovacuum_max_workers": "1", "autovacuum_naptime": "1s", "autovacuum_vacuum_cost_delay": "100ms",
    "autovacuum_vacuum_cost_limit": "1",
}  # fmt: skip


async def test_autovacuum_without_a_free_worker(tmp_path: Path) -> None:
    with embedded_server(bin_directory=environment.load().postgres_bin, settings=_SLOW) as server:
        connection = await connect(server, "postgres")
        database = Database(server=server, name="postgres", connection=connection, folder=tmp_path)
        limits: dict[str, Any] = {"dead": 1000, "behind_after": 0.0}
        try:
            assert codes(await look(database, "autovacuum", policy="", **limits)) == []
            await database.execute("create table busy (x int) with (autovacuum_vacuum_threshold = 100)")
            await database.execute("insert into busy select generate_series(1, 100000)")
            await database.execute("delete from busy")
            await counted(database)
            await until(database, "select 1 from pg_stat_progress_vacuum where relid = 'busy'::regclass")
            found = only(await look(database, "autovacuum", policy="", **limits), "autovacuum.starved")
            assert "all 1 of its workers are busy" in found.fact
            await database.execute("drop table busy")
            assert codes(await look(database, "autovacuum", policy="", **limits)) == []
        finally:
            await connection.close()


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({}, None),
        ({"xid_warning": 5, "xid_error": 10**9}, "xid.age"),
        ({"xid_warning": 5, "xid_error": 6}, "xid.exhausted"),
    ],
)
async def test_the_age_of_transactions(database: Database, limits: dict[str, Any], code: str | None) -> None:
    await database.execute("create table t (x int)")
    for _ in range(20):
        await database.execute("select pg_current_xact_id()")
    examination = await look(database, "autovacuum", policy="", **limits)
    assert codes(examination) == ([] if code is None else [code])
    if code is not None:
        severity = Severity.WARNING if code == "xid.age" else Severity.ERROR
        assert examination.findings[0].severity is severity
        assert "of 2.1 billion" in examination.findings[0].fact


# --- the horizon


_HELD: dict[str, Any] = {"held": 0.3}


async def test_a_transaction_that_is_left_open(database: Database) -> None:
    await database.execute("create table t (x int)")
    async with application(database) as session:
        await session.execute("set application_name = 'the report'; begin; insert into t values (1)")
        await asyncio.sleep(0.4)
        assert codes(await look(database, "horizon", policy="")) == []
        found = only(await look(database, "horizon", policy="", **_HELD), "horizon.transaction")
        pid = session.get_server_pid()
        assert found.subject == f"pid {pid}"
        assert "the report" in found.fact
        assert "idle in transaction" in found.fact
        assert found.risky
        await database.execute(str(found.cure))
        await until(database, "select 1 where not exists (select from pg_stat_activity where pid = $1)", pid)
    assert codes(await look(database, "horizon", policy="", **_HELD)) == []


async def test_a_transaction_of_another_database_holds_nothing_here(database: Database) -> None:
    database.write_policy("")
    other = await connect(database.server, "postgres")
    try:
        await other.execute("begin isolation level repeatable read; select 1")
        await asyncio.sleep(0.4)
        assert codes(await look(database, "horizon", **_HELD)) == []
    finally:
        await other.close()


@pytest.fixture(scope="module")
def logical() -> Iterator[Server]:
    settings = {"wal_level": "logical", "max_prepared_transactions": "5", "max_replication_slots": "5"}
    with embedded_server(bin_directory=environment.load().postgres_bin, settings=settings) as running:
        yield running


@pytest.fixture
async def own(logical: Server, tmp_path: Path) -> AsyncIterator[Database]:
    """The database postgres of a server that can prepare transactions and decode WAL."""
    connection = await connect(logical, "postgres")
    database = Database(server=logical, name="postgres", connection=connection, folder=tmp_path)
    database.write_policy("")
    try:
        yield database
    finally:
        await connection.close()


async def test_a_prepared_transaction(own: Database) -> None:
    gid = 'it\'s mine; "or" yours'
    await own.execute("create table t (x int)")
    await own.execute("begin; insert into t values (1)")
    await own.execute("prepare transaction '" + gid.replace("'", "''") + "'")
    await asyncio.sleep(0.4)
    assert codes(await look(own, "horizon")) == []
    found = only(await look(own, "horizon", **_HELD), "horizon.prepared")
    assert (found.subject, found.risky) == (gid, True)
    await own.execute(str(found.cure))
    await own.execute("drop table t")
    assert codes(await look(own, "horizon", **_HELD)) == []


async def test_a_slot_that_nobody_reads(own: Database) -> None:
    await own.execute("select pg_create_logical_replication_slot('left', 'test_decoding')")
    await own.execute("create table t as select generate_series(1, 10000)")
    await asyncio.sleep(0.4)
    assert codes(await look(own, "horizon")) == []
    told = own.connection.get_server_version().major >= 17
    ways: list[dict[str, Any]] = [{"pinned": 1}, {"kept_wal": 1}, *([_HELD] if told else [])]
    many = [only(await look(own, "horizon", **limits), "horizon.slot") for limits in ways]
    for one in many:
        assert one.subject == "left"
        assert "nobody reads it" in one.fact
        assert "of WAL" in one.fact
        assert "it pins rows of" in one.fact
    found = many[0]
    assert found.risky
    await own.execute(str(found.cure))
    assert codes(await look(own, "horizon", pinned=1, kept_wal=1, **_HELD)) == []
    await own.execute("drop table t")


async def test_a_standby_that_holds_back_the_horizon(tmp_path: Path) -> None:
    with embedded_server(bin_directory=environment.load().postgres_bin) as primary, streaming(primary) as replica:
        connection = await connect(primary, "postgres")
        own = Database(server=primary, name="postgres", connection=connection, folder=tmp_path)
        own.write_policy("")
        await Pair(primary=primary, replica=replica).caught_up()
        assert codes(await look(own, "horizon", pinned=10)) == []
        reader = await connect(replica, "postgres")
        await _fed_back(reader)
        await reader.execute("begin isolation level repeatable read")
        await reader.fetch("select * from pg_class limit 1")
        for _ in range(20):
            await own.execute("select pg_current_xact_id()")
        await until(own, "select 1 from pg_stat_replication where age(backend_xmin) >= 10")
        found = only(await look(own, "horizon", pinned=10), "horizon.standby")
        assert (found.subject, found.severity) == (NAME, Severity.WARNING)
        await reader.close()
        await connection.close()


async def _fed_back(reader: Connection) -> None:
    await reader.execute("alter system set hot_standby_feedback = on")
    await reader.execute("alter system set wal_receiver_status_interval = '1s'")
    await reader.execute("select pg_reload_conf()")
