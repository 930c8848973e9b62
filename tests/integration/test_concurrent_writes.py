"""The application writes while a batch waits for its locks: a row goes only if it breaks the rule when it goes."""

from __future__ import annotations

import asyncio

import pytest

from maintenance.models import RunStatus
from maintenance.runs import Run
from tests.databases import Database
from tests.sessions import application, waiting

RETENTION = """
[[retention]]
table = "events"
column = "at"
keep = "30 days"
where = "kind is null"
"""
DUPLICATES = """
[[duplicates]]
tables = ["hardware"]
key = ["device"]
newest = ["at"]
"""
ORPHANS = """
[[orphans]]
tables = ["hardware"]
column = "device"
parent = "devices"
parent_column = "id"
"""
UNREFERENCED = """
[[unreferenced]]
table = "catalog"
column = "hash"
references = [{ table = "profiles", column = "hash" }]
count_column = "uses"
"""


async def overtaken(database: Database, policy: str, *writes: str) -> Run:
    """A run that finds rows locked by these writes, waits, and goes on once they are committed."""
    async with application(database) as session:
        async with session.transaction():
            for write in writes:
                await session.execute(write)
            run = asyncio.create_task(database.run("retention", "duplicates", "orphans", "unreferenced", policy=policy))
            await waiting(database)
        return await run


@pytest.mark.parametrize("index", ["", "create index on events (at)"])
@pytest.mark.parametrize(
    ("write", "stays"),
    [
        ("update events set at = now() where name = 'old'", {"new", "old"}),
        ("update events set at = null where name = 'old'", {"new", "old"}),
        ("update events set kind = 'state' where name = 'old'", {"new", "old"}),
        ("select from events where name = 'old' for update", {"new"}),
        ("delete from events where name = 'old'", {"new"}),
    ],
)
async def test_a_row_refreshed_while_retention_waits_for_it_stays(
    database: Database, index: str, write: str, stays: set[str]
) -> None:
    await database.execute(
        f"""create table events (name text, kind text, at timestamptz); {index};
        insert into events values ('old', null, '2001-01-01'), ('older', null, '2000-01-01'), ('new', null, now())"""
    )
    assert (await overtaken(database, RETENTION, write)).status is RunStatus.SUCCEEDED
    assert set(await database.values("select name from events")) == stays


@pytest.mark.parametrize(
    ("writes", "stays"),
    [
        (["update hardware set at = now() where name = 'loser'"], {"loser"}),
        (["update hardware set device = 'e' where name = 'loser'"], {"winner", "loser"}),
        (["select from hardware where name = 'loser' for update"], {"winner"}),
        (["delete from hardware where name = 'loser'"], {"winner"}),
        (
            ["select from hardware where name = 'loser' for update", "delete from hardware where name = 'winner'"],
            {"loser"},
        ),
        (
            [
                "select from hardware where name = 'loser' for update",
                "update hardware set device = 'e' where name = 'winner'",
            ],
            {"winner", "loser"},
        ),
    ],
)
async def test_a_duplicate_that_is_the_only_or_newest_of_its_key_when_its_lock_is_free_stays(
    database: Database, writes: list[str], stays: set[str]
) -> None:
    await database.execute(
        """create table hardware (name text, device text, at timestamptz);
        insert into hardware values ('loser', 'd', '2001-01-01'), ('winner', 'd', '2002-01-01')"""
    )
    assert (await overtaken(database, DUPLICATES, *writes)).status is RunStatus.SUCCEEDED
    assert set(await database.values("select name from hardware")) == stays


@pytest.mark.parametrize(
    ("writes", "stays"),
    [
        (["insert into devices values ('c')", "update hardware set name = 'back' where device = 'c'"], {"a", "back"}),
        (["update hardware set device = 'a' where device = 'c'"], {"a", "c"}),
        (["update hardware set device = null where device = 'c'"], {"a", "c"}),
        (["delete from hardware where device = 'c'"], {"a"}),
        (["select from hardware where device = 'c' for update"], {"a"}),
        (["select from hardware where device = 'c' for update", "insert into devices values ('c')"], {"a", "c"}),
    ],
)
async def test_an_orphan_whose_parent_is_back_when_its_lock_is_free_stays(
    database: Database, writes: list[str], stays: set[str]
) -> None:
    await database.execute(
        """create table devices (id text); insert into devices values ('a');
        create table hardware (name text, device text); insert into hardware values ('a', 'a'), ('c', 'c')"""
    )
    assert (await overtaken(database, ORPHANS, *writes)).status is RunStatus.SUCCEEDED
    assert set(await database.values("select name from hardware")) == stays


@pytest.mark.parametrize(
    ("writes", "stays"),
    [
        (["update catalog set note = 'x' where hash = 'b'", "insert into profiles values ('b')"], {"a", "b"}),
        (["delete from catalog where hash = 'b'"], {"a"}),
        (["select from catalog where hash = 'b' for update"], {"a"}),
        (["select from catalog where hash = 'b' for update", "insert into profiles values ('b')"], {"a", "b"}),
    ],
)
async def test_an_entry_that_is_referred_to_when_its_lock_is_free_stays(
    database: Database, writes: list[str], stays: set[str]
) -> None:
    await database.execute(
        """create table catalog (hash text, uses int default 0, note text);
        insert into catalog values ('a', 1), ('b', 0);
        create table profiles (hash text); insert into profiles values ('a')"""
    )
    assert (await overtaken(database, UNREFERENCED, *writes)).status is RunStatus.SUCCEEDED
    assert set(await database.values("select hash from catalog")) == stays


@pytest.mark.parametrize("action", ["cascade", "restrict", "set null", "no action"])
async def test_a_reference_by_foreign_key_that_arrives_meanwhile_keeps_the_entry_and_itself(
    database: Database, action: str
) -> None:
    await database.execute(
        f"""create table catalog (hash text primary key, uses int);
        insert into catalog values ('a', 1), ('b', 0), ('c', 0);
        create table profiles (hash text references catalog on delete {action}); insert into profiles values ('a')"""
    )
    run = await overtaken(database, UNREFERENCED, "insert into profiles values ('b')")
    assert run.status is RunStatus.SUCCEEDED
    assert await database.values("select hash from catalog order by hash") == ["a", "b"]
    assert await database.values("select hash from profiles order by hash") == ["a", "b"]


async def test_a_database_whose_transactions_see_one_snapshot_by_default_makes_no_difference(
    database: Database,
) -> None:
    await database.execute(
        f"""alter database {database.name} set default_transaction_isolation = 'repeatable read';
        create table devices (id text); insert into devices values ('a');
        create table hardware (name text, device text); insert into hardware values ('a', 'a'), ('c', 'c')"""
    )
    await overtaken(
        database, ORPHANS, "select from hardware where device = 'c' for update", "insert into devices values ('c')"
    )
    assert set(await database.values("select name from hardware")) == {"a", "c"}


@pytest.mark.parametrize("index", ["", "create index on events (at)"])
async def test_a_condition_by_a_function_that_reads_tables_is_judged_when_the_lock_is_free(
    database: Database, index: str
) -> None:
    await database.execute(
        f"""create table events (name text, kind text, at timestamptz); {index}; create table kept (name text);
        insert into events values ('old', null, '2001-01-01'), ('older', null, '2000-01-01'), ('new', null, now());
        create function is_kept(text) returns boolean stable language sql
            as 'select exists (select from kept where name = $1)'"""
    )
    policy = RETENTION.replace("kind is null", "not is_kept(name)")
    write = "select from events where name = 'old' for update"
    assert (await overtaken(database, policy, write, "insert into kept values ('old')")).status is RunStatus.SUCCEEDED
    assert set(await database.values("select name from events")) == {"old", "new"}
