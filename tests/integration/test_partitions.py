"""Partitioned tables: steps are the leaves, rules are judged over the whole; rows in, rows left."""

from __future__ import annotations

import pytest

from maintenance.models import RunStatus, StopReason
from tests.databases import Database, planned_step, step

RETENTION = """
[[retention]]
table = "events"
column = "at"
keep = "30 days"
"""
DUPLICATES = """
[[duplicates]]
tables = ["events"]
key = ["device"]
newest = ["at"]
"""
COLUMNS = "create table events (name text, device int, at timestamptz)"
LAYOUTS = {
    "by the column": (
        f"""{COLUMNS} partition by range (at);
        create table old partition of events for values from (minvalue) to ('2010-01-01');
        create table middle partition of events for values from ('2010-01-01') to ('2020-01-01');
        create table other partition of events default;""",
        {"old", "middle", "other"},
    ),
    "by another column": (
        f"""{COLUMNS} partition by list (name);
        create table newest partition of events for values in ('new');
        create table other partition of events default;""",
        {"newest", "other"},
    ),
    "by hash": (
        f"""{COLUMNS} partition by hash (device);
        create table h0 partition of events for values with (modulus 3, remainder 0);
        create table h1 partition of events for values with (modulus 3, remainder 1);
        create table h2 partition of events for values with (modulus 3, remainder 2);""",
        {"h0", "h1", "h2"},
    ),
    "by an expression": (
        f"""{COLUMNS} partition by list ((device % 2));
        create table even partition of events for values in (0);
        create table odd partition of events for values in (1, null);""",
        {"even", "odd"},
    ),
    "in two levels": (
        f"""{COLUMNS} partition by range (at);
        create table old partition of events for values from (minvalue) to ('2010-01-01') partition by hash (device);
        create table old_0 partition of old for values with (modulus 2, remainder 0);
        create table old_1 partition of old for values with (modulus 2, remainder 1);
        create table other partition of events default;""",
        {"old_0", "old_1", "other"},
    ),
    "attached with its columns in another order": (
        f"""{COLUMNS} partition by range (at);
        create table other (dropped int, at timestamptz, device int, name text); alter table other drop dropped;
        alter table events attach partition other default;""",
        {"other"},
    ),
    "in another schema, with a quote in its name": (
        f"""{COLUMNS} partition by range (at); create schema "a""b";
        create table "a""b"."P ""1"" old" partition of events for values from (minvalue) to ('2010-01-01');
        create table other partition of events default;""",
        {'P "1" old', "other"},
    ),
}
ROWS = """
insert into events values
    ('before time', 1, '-infinity'), ('old', 1, '2001-01-01'), ('old too', 2, '2001-01-01'),
    ('middle', 1, '2015-01-01'), ('middle too', 4, '2015-01-01'), ('middle', 5, '2015-01-01'),
    ('new', 1, now()), ('new', 3, now()), ('fresh', 3, now() - interval '1 day'),
    ('no time', 1, null), ('no device, old', null, '2001-01-01'), ('no device, new', null, now());
"""
ROWS_LEFT = "select name || ' ' || coalesce(device::text, '-') from events order by 1"


@pytest.mark.parametrize(
    ("layout", "index"),
    [*((layout, "") for layout in LAYOUTS)]
    + [(layout, "create index on events (at)") for layout in ("by the column", "by hash", "in two levels")],
)
async def test_retention_takes_the_same_rows_of_every_layout(database: Database, layout: str, index: str) -> None:
    tables, leaves = LAYOUTS[layout]
    await database.execute(tables + ROWS + index)
    plan = await database.plan("retention", policy=f'{RETENTION}partitions = "rows"')
    run = await database.run("retention")
    assert {s.table.name for s in plan.steps} == leaves
    assert {s.strategy for s in plan.steps} == {"keyset" if index else "heap"}
    assert [(s.table, s.rows) for s in run.steps] == [(str(s.table), s.rows) for s in plan.steps]
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 7)
    assert await database.values(ROWS_LEFT) == ["fresh 3", "new 1", "new 3", "no device, new -", "no time 1"]


@pytest.mark.parametrize("layout", LAYOUTS)
async def test_duplicates_across_partitions_keep_exactly_one(database: Database, layout: str) -> None:
    tables, leaves = LAYOUTS[layout]
    await database.execute(tables + ROWS)
    plan = await database.plan("duplicates", policy=DUPLICATES)
    run = await database.run("duplicates")
    assert {s.table.name for s in plan.steps} == leaves
    assert [(s.table, s.rows) for s in run.steps] == [(str(s.table), s.rows) for s in plan.steps]
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 5)
    assert await database.values(ROWS_LEFT) == [
        "middle 5", "middle too 4", "new 1", "new 3", "no device, new -", "no device, old -", "old too 2",
    ]  # fmt: skip
    assert (await database.run("duplicates")).rows == 0


@pytest.mark.parametrize("layout", LAYOUTS)
async def test_rows_equal_by_all_columns_in_several_partitions_keep_exactly_one(
    database: Database, layout: str
) -> None:
    tables, leaves = LAYOUTS[layout]
    await database.execute(f"{tables} alter table events add same int")
    await database.execute(ROWS.replace("insert into events", "insert into events (name, device, at)"))
    await database.execute("update events set same = 1 where name <> 'no time'")
    policy = DUPLICATES.replace('["device"]', '["same"]').replace('["at"]', '["same"]')
    run = await database.run("duplicates", policy=policy)
    assert {s.table.split(".")[-1] for s in run.steps} == leaves
    assert run.rows == 10
    assert await database.values("select count(*) from events where same = 1") == [1]
    assert "no time 1" in await database.values(ROWS_LEFT)


async def test_the_guard_judges_the_whole_table_so_an_old_partition_may_become_empty(database: Database) -> None:
    await database.execute(LAYOUTS["by the column"][0])
    await database.execute("insert into events values ('old', 1, '2001-01-01'), ('new', 1, now())")
    run = await database.run("retention", policy=f'{RETENTION}partitions = "rows"')
    assert (run.status, step(run, "retention", "public.old").rows) == (RunStatus.SUCCEEDED, 1)
    assert await database.values("select count(*) from old") == [0]
    assert await database.values(ROWS_LEFT) == ["new 1"]


async def test_the_guard_stops_every_leaf_where_no_row_of_the_whole_would_stay(database: Database) -> None:
    await database.execute(LAYOUTS["by the column"][0])
    await database.execute("insert into events values ('old', 1, '2001-01-01'), ('middle', 1, '2015-01-01')")
    run = await database.run("retention", policy=RETENTION)
    assert (run.status, {s.stop_reason for s in run.steps}) == (RunStatus.INTERRUPTED, {StopReason.GUARD})
    assert await database.values(ROWS_LEFT) == ["middle 1", "old 1"]


async def test_a_partitioned_table_without_partitions_has_nothing_to_do(database: Database) -> None:
    await database.execute(f"{COLUMNS} partition by range (at)")
    run = await database.run(policy=RETENTION + DUPLICATES)
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 0)


@pytest.mark.parametrize(
    "policy",
    [
        RETENTION,
        DUPLICATES,
        '[[orphans]]\ntables = ["events"]\ncolumn = "device"\nparent = "devices"\nparent_column = "id"',
    ],
)
async def test_foreign_keys_to_the_table_cascade_as_ever(database: Database, policy: str) -> None:
    await database.execute(
        """create table devices (id int); insert into devices values (1);
        create table events (id int, name text, device int, at timestamptz, primary key (id, at))
            partition by range (at);
        create table old partition of events for values from (minvalue) to ('2010-01-01');
        create table other partition of events default;
        create table notes (id int, at timestamptz, foreign key (id, at) references events on delete cascade);
        insert into events values (1, 'old', 2, '2001-01-01'), (2, 'new', 1, now()), (3, 'next', 2, 'infinity');
        insert into notes select id, at from events"""
    )
    gone = [1, 3] if "orphans" in policy else [1]
    run = await database.run("retention", "duplicates", "orphans", policy=policy)
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, len(gone))
    kept = [id_ for id_ in (1, 2, 3) if id_ not in gone]
    assert await database.values("select id from events order by id") == kept
    assert await database.values("select id from notes order by id") == kept


async def test_orphans_are_judged_leaf_by_leaf_against_all_partitions_of_the_parent(database: Database) -> None:
    await database.execute(
        f"""{LAYOUTS["by the column"][0]} {ROWS}
        create table devices (id int) partition by list (id);
        create table devices_1 partition of devices for values in (1);
        create table devices_others partition of devices default;
        insert into devices values (1), (3), (4)"""
    )
    policy = '[[orphans]]\ntables = ["events"]\ncolumn = "device"\nparent = "devices"\nparent_column = "id"'
    plan = await database.plan("orphans", policy=policy)
    run = await database.run("orphans")
    assert [(s.table, s.rows) for s in run.steps] == [
        ("public.middle", 1), ("public.old", 1), ("public.other", 0),
    ]  # fmt: skip
    assert planned_step(plan, "orphans", "public.old").rows == 1
    assert await database.values("select distinct coalesce(device, 0) from events order by 1") == [0, 1, 3, 4]


async def test_a_partitioned_catalog_is_judged_by_all_partitions_of_its_references(database: Database) -> None:
    await database.execute(
        f"""{LAYOUTS["by hash"][0]} {ROWS}
        create table catalog (device int, uses int) partition by list (device);
        create table catalog_1 partition of catalog for values in (1, 2);
        create table catalog_others partition of catalog default;
        insert into catalog select g, 0 from generate_series(1, 8) g"""
    )
    policy = """[[unreferenced]]\ntable = "catalog"\ncolumn = "device"\ncount_column = "uses"
    references = [{ table = "events", column = "device" }]"""
    run = await database.run("unreferenced", policy=policy)
    assert [(s.table, s.rows, s.updated) for s in run.steps if s.task == "unreferenced"] == [
        ("public.catalog_1", 0, 2), ("public.catalog_others", 3, 3),
    ]  # fmt: skip
    rows = await database.connection.fetch("select device, uses from catalog order by device")
    assert [tuple(row) for row in rows] == [(1, 5), (2, 1), (3, 2), (4, 1), (5, 1)]


async def test_a_child_by_inheritance_is_a_table_of_its_own_and_not_touched(database: Database) -> None:
    await database.execute(
        f"""{COLUMNS}; create table archive () inherits (events);
        insert into events values ('old', 1, '2001-01-01'), ('new', 1, now());
        insert into archive values ('archived', 1, '2001-01-01')"""
    )
    run = await database.run("retention", "duplicates", policy=RETENTION + DUPLICATES)
    assert {s.table for s in run.steps} == {"public.events"}
    assert await database.values(ROWS_LEFT) == ["archived 1", "new 1"]
