"""`check`: bloat of heaps, TOAST and indexes, measured by pgstattuple where it is installed, else estimated."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.checks import codes, look, only
from tests.databases import Database
from tests.sessions import counted

_FILL = "insert into t select i, repeat('x', 200) from generate_series(1, 20000) i"
_WASTED: dict[str, Any] = {"wasted": 1 << 20}


async def _table(database: Database) -> None:
    """4 MB of rows and an index, nothing of it wasted."""
    await database.execute(f"create table t (id int, filler text) with (autovacuum_enabled = off); {_FILL}")
    await database.execute("create index t_id on t (id)")
    await database.execute("vacuum analyze t")


@pytest.mark.parametrize("extension", [False, True])
async def test_a_bloated_heap(database: Database, extension: bool) -> None:
    if extension:
        await database.execute("create extension pgstattuple")
    await _table(database)
    assert codes(await look(database, "bloat", policy="", **_WASTED)) == []
    await database.execute("delete from t where id % 5 > 0")
    await database.execute("vacuum analyze t")
    assert codes(await look(database, "bloat", policy="")) == []
    found = only(await look(database, "bloat", policy="", **_WASTED), "bloat.table")
    assert ("measured by pgstattuple" in found.fact) is extension
    assert ("estimated" in found.fact) is not extension
    share = int(found.fact.split("(")[1].split("%")[0])
    assert 70 < share < 85
    await database.execute("vacuum full t")
    await database.execute("vacuum analyze t")
    assert codes(await look(database, "bloat", policy="", **_WASTED)) == []


@pytest.mark.parametrize("extension", [False, True])
async def test_a_bloated_index(database: Database, extension: bool) -> None:
    if extension:
        await database.execute("create extension pgstattuple")
    await database.execute("create table t (id int) with (autovacuum_enabled = off)")
    await database.execute("insert into t select generate_series(1, 200000); create index t_id on t (id)")
    await database.execute("vacuum analyze t")
    assert codes(await look(database, "bloat", policy="", **_WASTED)) == []
    await database.execute("delete from t where id % 10 > 0")
    await database.execute("vacuum analyze t")
    found = [one for one in (await look(database, "bloat", policy="", **_WASTED)).findings if one.code == "bloat.index"]
    assert ["the index t_id are empty" in one.fact for one in found] == [True]
    assert ("measured" in found[0].fact) is extension
    await database.execute(str(found[0].cure))
    await database.execute("vacuum analyze t")
    left = await look(database, "bloat", policy="", **_WASTED)
    assert "bloat.index" not in codes(left)


@pytest.mark.parametrize("extension", [False, True])
async def test_bloated_toast(database: Database, extension: bool) -> None:
    if extension:
        await database.execute("create extension pgstattuple")
    await database.execute(
        "create table t (id int, filler text) with (autovacuum_enabled = off, toast.autovacuum_enabled = off)"
    )
    await database.execute("alter table t alter filler set storage external")
    await database.execute("insert into t select i, repeat('x', 10000) from generate_series(1, 500) i")
    await database.execute("vacuum analyze t")
    assert codes(await look(database, "bloat", policy="", **_WASTED)) == []
    await database.execute("delete from t where id % 5 > 0")
    await database.execute("vacuum analyze t")
    found = only(await look(database, "bloat", policy="", **_WASTED), "bloat.toast")
    assert ("measured" in found.fact) is extension
    assert found.cure is None
    await database.execute("vacuum full t")
    await database.execute("vacuum analyze t")
    assert codes(await look(database, "bloat", policy="", **_WASTED)) == []


async def test_a_heap_without_statistics_is_said_to_be_unseen(database: Database) -> None:
    await database.execute(f"create table t (id int, filler text) with (autovacuum_enabled = off); {_FILL}")
    await database.execute("vacuum t")
    examination = await look(database, "bloat", policy="", **_WASTED)
    assert (examination.findings, [one.what for one in examination.unseen]) == ((), ["the heaps of 1 tables"])
    assert os.linesep not in examination.unseen[0].why


async def test_what_takes_too_long_to_measure_is_estimated(database: Database) -> None:
    await database.execute("create extension pgstattuple")
    await _table(database)
    await database.execute("delete from t where id % 5 > 0")
    await database.execute("vacuum analyze t")
    await database.execute(
        "alter function pgstattuple_approx(regclass) rename to slow;"
        "create function pgstattuple_approx(regclass, out approx_free_space bigint, out dead_tuple_len bigint,"
        " out table_len bigint) language sql as 'select 1, 1, 1 from pg_sleep(5)'"
    )
    found = only(await look(database, "bloat", policy="", measure=0.2, **_WASTED), "bloat.table")
    assert "estimated" in found.fact


async def test_what_a_vacuum_has_yet_to_take_is_not_called_bloat(database: Database) -> None:
    await database.execute(
        "create table big (id int primary key, filler text) with (autovacuum_enabled = false);"
        "insert into big select i, repeat('x', 200) from generate_series(1, 20000) i; analyze big;"
        "delete from big where id > 1000; analyze big"
    )
    await counted(database)
    found = only(await look(database, "bloat", policy="", wasted=1 << 20), "bloat.table")
    assert "dead rows wait for VACUUM" in found.fact
    assert found.remedy == "first `python -m maintenance run vacuum --tables public.big`, then check again"
    await database.execute("vacuum big")
    assert codes(await look(database, "bloat", wasted=1 << 20)) in ([], ["bloat.index"])
