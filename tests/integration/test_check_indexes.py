"""`check`: indexes, constraints, partitions: each where it is needed, and where it is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from maintenance.findings import Severity
from tests.checks import apply, codes, look, make, only
from tests.cron_server import until
from tests.databases import Database, connect
from tests.sessions import counted

_RULE = '[[retention]]\ntable = "log"\ncolumn = "at"\nkeep = "30 days"\n'
_LARGE: dict[str, Any] = {"large": 1}


# --- indexes among themselves


@pytest.mark.parametrize(
    ("indexes", "needless"),
    [
        ([], []),
        (["a on t (x)", "b on t (y)"], []),
        (["a on t (x)", "b on t (x, y)"], ["a"]),
        (["a on t (x, y)", "b on t (x)"], ["b"]),
        (["a on t (y, x)", "b on t (x)"], []),
        (["a on t (x)", "b on t (x)"], ["b"]),
        (["a on t (x)", "b on t (x desc)"], []),
        (["a on t (x)", "b on t (x) where y > 1"], []),
        (["a on t (x) where y > 1", "b on t (x, y) where y > 1"], ["a"]),
        (["a on t (x) where y > 1", "b on t (x, y)"], []),
        (["a on t (x)", "b on t using hash (x)"], []),
        (["a on t (z text_pattern_ops)", "b on t (z, x)"], []),
        (['a on t (z collate "C")', 'b on t (z collate "POSIX", x)'], []),
        (["a on t (x)", "b on t ((y + 1), x)"], []),
        (["a on t ((x + 1))", "b on t ((x + 1))"], ["b"]),
        (["a on t ((x + 1))", "b on t ((x + 2))"], []),
        (["a on t (x) include (z)", "b on t (x, y)"], []),
        (["a on t (x) include (z)", "b on t (x, y) include (z)"], ["a"]),
        (["a on t (x)", "b on t (x) include (z)"], ["a"]),
        (["a on t (x) with (fillfactor = 50)", "b on t (x)"], ["b"]),
        (["a on t using brin (x)", "b on t using brin (x)"], ["b"]),
        (["a on t using brin (x)", "b on t using brin (x) with (pages_per_range = 4)"], []),
    ],
)
async def test_a_redundant_index(database: Database, indexes: list[str], needless: list[str]) -> None:
    await database.execute("create table t (x int, y int, z text)")
    for index in indexes:
        await database.execute(f"create index {index}")
    examination = await look(database, "indexes", policy="")
    assert codes(examination) == ["index.redundant"] * len(needless)
    assert [one.fact.split()[2] for one in examination.findings] == needless
    for one in examination.findings:
        await apply(database, one.cure)
    assert codes(await look(database, "indexes", policy="")) == []


@pytest.mark.parametrize(
    "sql",
    [
        "alter table t add primary key (x)",
        "create index i on t (x); cluster t using i",
        "alter table t add unique (x)",
        "create unique index on t (x)",
        "alter table t add constraint i unique (x), alter x set not null, replica identity using index i",
    ],
)
async def test_an_index_that_keeps_something_is_never_redundant(database: Database, sql: str) -> None:
    await database.execute(f"create table t (x int, y int); {sql}; create index on t (x, y)")
    assert codes(await look(database, "indexes", policy="")) == []


async def test_partitions_of_an_index_go_with_it(database: Database) -> None:
    await database.execute(
        "create table t (x int, y int) partition by list (x); create table t1 partition of t for values in (1);"
        "create table t2 partition of t default; create index a on t (x); create index b on t (x, y)"
    )
    found = only(await look(database, "indexes", policy=""), "index.redundant")
    assert (found.subject, found.cure) == ("public.t", 'drop index "public"."a";')
    # It locks the table and all its partitions.
    assert found.risky
    await apply(database, found.cure)
    assert codes(await look(database, "indexes", policy="")) == []


async def test_an_index_with_partitions_that_is_half_made_is_never_dropped(database: Database) -> None:
    await database.execute(
        "create table t (x int) partition by list (x); create table t1 partition of t for values in (1);"
        "create table t2 partition of t default; create index whole on only t (x); create index t1_x on t1 (x);"
        "alter index whole attach partition t1_x"
    )
    found = only(await look(database, "indexes", policy=""), "index.invalid")
    assert (found.cure, "1 of 2 partitions have their part" in found.fact) == (None, True)
    assert "ATTACH PARTITION" in found.remedy
    await database.execute("create index concurrently t2_x on t2 (x)")
    await database.execute("alter index whole attach partition t2_x")
    assert codes(await look(database, "indexes", policy="")) == []


async def test_an_invalid_index(database: Database) -> None:
    await database.execute("create table t (x int); insert into t values (1), (1)")
    with pytest.raises(Exception, match="could not create unique index"):
        await database.execute("create unique index concurrently broken on t (x)")
    found = only(await look(database, "indexes", policy=""), "index.invalid")
    assert (found.severity, "broken" in found.fact) == (Severity.WARNING, True)
    await apply(database, found.cure)
    assert codes(await look(database, "indexes", policy="")) == []


async def test_an_index_that_is_being_made_is_not_invalid(database: Database) -> None:
    await database.execute("create table t (x int)")
    holder, maker = [await connect(database.server, database.name) for _ in range(2)]
    try:
        await holder.execute("begin; insert into t values (1)")
        making = asyncio.ensure_future(maker.execute("create index concurrently on t (x)"))
        await until(database.connection, "select 1 from pg_stat_progress_create_index where phase ~ 'waiting'")
        assert codes(await look(database, "indexes", policy="")) == []
        await holder.execute("commit")
        await making
    finally:
        await holder.close()
        await maker.close()


@pytest.mark.parametrize(
    ("used", "days", "kind", "found"),
    [
        (False, 0, "index", ["index.unused"]),
        (False, 30, "index", []),
        (True, 0, "index", []),
        (False, 0, "unique index", []),
    ],
)
async def test_an_unused_index(database: Database, used: bool, days: int, kind: str, found: list[str]) -> None:
    await database.execute("create table t (x int); insert into t select generate_series(1, 5000)")
    await database.execute(f"create {kind} i on t (x); analyze t")
    if used:
        await database.execute("set enable_seqscan = off; set enable_bitmapscan = off; select from t where x = 7")
    await counted(database)
    examination = await look(database, "indexes", policy="", unused_after=days * 86400.0, unused_bytes=1)
    assert codes(examination) == found
    for one in examination.findings:
        assert "standbys" in one.consequence
        assert one.risky
        await apply(database, one.cure)
    assert codes(await look(database, "indexes", policy="", unused_after=days * 86400.0, unused_bytes=1)) == []


async def test_the_index_of_a_foreign_key_is_not_called_unused(database: Database) -> None:
    await database.execute(
        "create table p (id int primary key); insert into p select generate_series(1, 5000);"
        "create table c (p int references p); insert into c select generate_series(1, 5000);"
        "create index on c (p); analyze"
    )
    assert codes(await look(database, "indexes", policy="", unused_after=0, unused_bytes=1)) == []


async def test_no_index_is_called_unused_where_nobody_counts(database: Database) -> None:
    await database.execute("create table t (x int); insert into t select generate_series(1, 5000)")
    await database.execute("create index i on t (x); analyze t")
    assert codes(await look(database, "indexes", policy="", unused_after=0, unused_bytes=1)) == ["index.unused"]
    await database.execute(f"alter database {database.name} set track_counts = off")
    assert codes(await look(database, "indexes", policy="", unused_after=0, unused_bytes=1)) == []


@pytest.mark.parametrize(("index", "found"), [("name, updated_at", ["index.hot"]), ("name", [])])
async def test_an_index_that_defeats_hot_updates(database: Database, index: str, found: list[str]) -> None:
    await database.execute(
        "create table t (id int primary key, name text, updated_at timestamptz) with (fillfactor = 40);"
        f"insert into t select i, 'n', now() from generate_series(1, 200) i; create index on t ({index})"
    )
    for _ in range(3):
        await database.execute("update t set updated_at = clock_timestamp()")
    await counted(database)
    examination = await look(database, "indexes", policy="", hot_updates=500)
    assert codes(examination) == found
    if found:
        assert "0 of its 600 updates were HOT" in examination.findings[0].fact


async def test_an_index_that_a_rule_or_a_key_needs_is_not_to_be_dropped_for_hot_updates(database: Database) -> None:
    await make(database)
    await database.execute(
        "create table log (id int primary key, device int references device, updated_at timestamptz, other int);"
        "insert into log select i, 1, now(), 1 from generate_series(1, 200) i; create index on log (updated_at);"
        "create index on log (device, updated_at)"
    )
    await database.execute("update log set updated_at = clock_timestamp()")
    await counted(database)
    policy = _RULE.replace('"at"', '"updated_at"')
    assert codes(await look(database, "indexes", policy=policy, hot_updates=100, unused_after=0, unused_bytes=1)) == []
    await database.execute("create index on log (other, updated_at)")
    assert codes(await look(database, "indexes", hot_updates=100)) == ["index.hot"]


async def test_what_is_to_be_dropped_makes_no_other_index_needless(database: Database) -> None:
    await database.execute(
        "create table t (id int primary key, name text, updated_at timestamptz); create index plain on t (name);"
        "create index wide on t (name, updated_at); insert into t select i, 'n', now() from generate_series(1, 200) i"
    )
    await database.execute("update t set updated_at = clock_timestamp()")
    await counted(database)
    assert codes(await look(database, "indexes", policy="", hot_updates=100)) == ["index.hot"]
    assert codes(await look(database, "indexes", policy="", hot_updates=1000)) == ["index.redundant"]
    assert codes(await look(database, "indexes", policy="", hot_updates=1000, unused_after=0, unused_bytes=1)) == [
        "index.redundant"
    ]


@pytest.mark.parametrize(
    ("parent", "index", "rows", "found"),
    [
        ("event", "", 200, ["foreign_key.unindexed"]),
        ("device", "", 200, ["foreign_key.slow"]),
        ("event", "", 50, []),
        ("event", "(parent)", 200, []),
        ("event", "(parent, other)", 200, []),
        ("event", "(other, parent)", 200, ["foreign_key.unindexed"]),
        ("event", "(parent) where other > 1", 200, ["foreign_key.unindexed"]),
        ("event", "(parent) where parent is not null", 200, []),
        ("event", "(parent) where parent is not null and other is not null", 200, ["foreign_key.unindexed"]),
        ("event", "(parent) where parent is not null or other > 1", 200, ["foreign_key.unindexed"]),
        ("event", "using hash (parent)", 200, []),
        ("event", "using brin (parent)", 200, ["foreign_key.unindexed"]),
    ],
)
async def test_a_foreign_key_without_an_index(
    database: Database, parent: str, index: str, rows: int, found: list[str]
) -> None:
    await make(database)
    await database.execute(
        f'create table "Child" (parent int references {parent}, other int);'
        f'insert into "Child" select null, i from generate_series(1, {rows}) i; analyze "Child"'
    )
    if index:
        await database.execute(f'create index on "Child" {index}')
    examination = await look(database, "indexes", referencing=100)
    assert codes(examination) == found
    for one in examination.findings:
        assert one.severity is (Severity.WARNING if parent == "event" else Severity.ADVICE)
        await apply(database, one.cure)
    assert codes(await look(database, "indexes", referencing=100)) == []


async def test_each_partition_needs_an_index_for_a_foreign_key_and_gets_it_without_a_lock(database: Database) -> None:
    await make(database)
    await database.execute(
        "create table child (parent int references event, kind int) partition by list (kind);"
        "create table one partition of child for values in (1);"
        "create table rest partition of child default partition by list (kind);"
        "create table two partition of rest for values in (2); create table three partition of rest default;"
        "insert into child select null, i % 3 + 1 from generate_series(1, 600) i; analyze one, two, three;"
        "create index on one (parent)"
    )
    found = only(await look(database, "indexes", referencing=100), "foreign_key.unindexed")
    assert "no index on 2 of its partitions, which have about 400 rows" in found.fact
    assert found.cure == (
        'create index concurrently on "public"."three" ("parent");\n'
        'create index concurrently on "public"."two" ("parent");'
    )
    await apply(database, found.cure)
    assert codes(await look(database, "indexes", referencing=100)) == []
    await database.execute("create index on child (parent)")
    assert codes(await look(database, "indexes", referencing=100)) == []


# --- retention


_LOG = """
create table log (id int, at timestamptz, kind text, other int);
insert into log select i, now() - i * interval '1 hour', case i % 2 when 0 then 'a' else 'b' end, 0
    from generate_series(1, 5000) i;
"""


@pytest.mark.parametrize(
    ("index", "where", "found", "words"),
    [
        (None, None, ["index.missing"], "no index leads with at"),
        ("(at)", None, [], ""),
        ("(other, at)", None, ["index.unfit"], "behind another column"),
        ("(at) where kind = 'a'", None, ["index.unfit"], "has not all rows of the rule"),
        ("(at) where kind = 'a'", "kind = 'a'", [], ""),
        ("using hash (at)", None, ["index.unfit"], "cannot be read in the order"),
        ("using brin (at)", None, ["index.unfit"], "(brin)"),
    ],
)  # fmt: skip
async def test_an_index_for_retention(
    database: Database, index: str | None, where: str | None, found: list[str], words: str
) -> None:
    await database.execute(_LOG)
    if index:
        await database.execute(f"create index on log {index}")
    await database.execute("analyze log")
    database.write_policy(_RULE + (f'where = "{where}"\n' if where else ""))
    assert codes(await look(database, "retained")) == []
    examination = await look(database, "retained", **_LARGE)
    assert codes(examination) == found
    for one in examination.findings:
        assert words in one.fact
        assert "of its heap" in one.fact
        await apply(database, one.cure)
    assert codes(await look(database, "retained", **_LARGE)) == []


async def test_leaves_of_a_partitioned_table_get_an_index_each_or_are_dropped(database: Database) -> None:
    await database.execute(
        "create table log (at timestamptz, kind int) partition by list (kind);"
        "create table one partition of log for values in (1);"
        "create table two partition of log for values in (2); create index on two (at);"
        "insert into log select now(), i % 2 + 1 from generate_series(1, 1000) i; analyze one; analyze two"
    )
    examination = await look(database, "retained", policy=_RULE, **_LARGE)
    assert [(one.code, one.subject) for one in examination.findings] == [("index.missing", "public.one")]
    await database.execute(
        "drop table log; create table log (at timestamptz) partition by range (at);"
        "create table old partition of log for values from (minvalue) to ('2001-01-01');"
        "create table new partition of log default; insert into log select now() from generate_series(1, 1000);"
        "analyze new"
    )
    assert codes(await look(database, "retained", **_LARGE)) == []


@pytest.mark.parametrize(("rule", "found"), [("", ["table.partitions"]), ("where = \"kind = 'a'\"\n", [])])
async def test_a_table_that_wants_partitions(database: Database, rule: str, found: list[str]) -> None:
    await database.execute(_LOG + "create index on log (at); analyze log")
    assert codes(await look(database, "retained", policy=_RULE + rule)) == []
    assert codes(await look(database, "retained", partitions=1)) == found
