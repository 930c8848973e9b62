"""orphans: a row whose parent is gone goes, once it is old enough; rows in, rows left."""

from __future__ import annotations

import pytest

from maintenance.errors import PolicyError
from maintenance.models import RunStatus, StopReason
from tests.databases import Database, planned_step, step

POLICY = """
[[orphans]]
tables = ["hardware"]
column = "device"
parent = "devices"
parent_column = "id"
"""
GRACE = """
grace = "1 day"
age_column = "at"
"""


async def left(database: Database, table: str = "hardware") -> set[str]:
    return set(await database.values(f"select name from {table}"))


@pytest.mark.parametrize(
    ("parents", "children", "stays"),
    [
        ("('a'), ('b')", "('of a', 'a'), ('of b', 'b'), ('of c', 'c')", {"of a", "of b"}),
        ("('a'), (null)", "('of a', 'a'), ('of c', 'c'), ('of null', null)", {"of a", "of null"}),
        ("('a')", "('of a', 'a'), ('of A', 'A'), ('of blank', ' a'), ('of nothing', '')", {"of a"}),
        ("('a'), ('a')", "('of a', 'a'), ('of a again', 'a'), ('of c', 'c')", {"of a", "of a again"}),
        ("('a')", "('of b', 'b'), ('of c', 'c')", set()),
        ("('a')", "('of null', null)", {"of null"}),
    ],
)
async def test_a_row_whose_value_is_in_no_row_of_the_parent_goes(
    database: Database, parents: str, children: str, stays: set[str]
) -> None:
    await database.execute(
        f"""create table devices (id text); insert into devices values {parents};
        create table hardware (name text, device text); insert into hardware values {children}"""
    )
    before = await left(database)
    plan = await database.plan("orphans", policy=POLICY)
    run = await database.run("orphans")
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, len(before - stays))
    assert (planned_step(plan, "orphans").rows, await left(database)) == (run.rows, stays)
    assert (await database.run("orphans")).rows == 0


@pytest.mark.parametrize("type_", ["timestamptz", "timestamp", "date"])
async def test_with_a_grace_only_older_rows_go_and_those_without_an_age_stay(database: Database, type_: str) -> None:
    await database.execute(
        f"""create table devices (id text); insert into devices values ('a');
        create table hardware (name text, device text, at {type_});
        insert into hardware values
            ('orphan, old', 'c', now() - interval '4 days'), ('orphan, oldest', 'c', '-infinity'),
            ('orphan, fresh', 'c', now()),                   ('orphan, of the future', 'c', now() + interval '9 days'),
            ('orphan, for ever', 'c', 'infinity'),           ('orphan, no age', 'c', null),
            ('child, old', 'a', now() - interval '4 days'),  ('child, no age', 'a', null)"""
    )
    everything = await left(database)
    await database.run("orphans", policy=POLICY + GRACE)
    assert await left(database) == everything - {"orphan, old", "orphan, oldest"}


KINDRED = [
    ("text", "varchar(10)", ("a", "b", "c")),
    ("varchar(255)", "text", ("a", "b", "c")),
    ("int", "bigint", ("1", "2", "-1")),
    ("bigint", "int", ("1", "2", "9223372036854775807")),
    ("smallint", "numeric", ("1", "2", "3")),
    ("uuid", "uuid", (f"{1:032}", f"{2:032}", f"{3:032}")),
    ("date", "date", ("2020-01-01", "2020-01-02", "infinity")),
]


async def test_columns_of_kindred_types_are_compared(database: Database) -> None:
    for child, parent, (one, two, three) in KINDRED:
        await database.execute(
            f"""create table devices (id {parent}); insert into devices values ('{one}'), ('{two}');
            create table hardware (name text, device {child});
            insert into hardware values ('one', '{one}'), ('two', '{two}'), ('three', '{three}')"""
        )
        rows = (await database.run("orphans", policy=POLICY)).rows
        assert (child, parent, rows, await left(database)) == (child, parent, 1, {"one", "two"})
        await database.execute("drop table devices, hardware")


async def test_columns_that_no_operator_compares_are_refused_and_not_cast(database: Database) -> None:
    for child, parent in [("uuid", "text"), ("varchar", "uuid"), ("int", "text"), ("text", "bigint"), ("json", "text")]:
        await database.execute(f"create table devices (id {parent}); create table hardware (device {child})")
        with pytest.raises(PolicyError, match=r"public\.hardware\.device cannot be compared with devices\.id"):
            await database.run("orphans", policy=POLICY)
        await database.execute("drop table devices, hardware")
    assert await database.values("select to_regnamespace('maintenance')") == [None]


async def test_a_type_mismatch_ends_with_exit_code_2(database: Database) -> None:
    await database.execute("create table devices (id text); create table hardware (device uuid)")
    database.write_policy(POLICY)
    document = await database.cli_json("run", "orphans", exit_code=2)
    assert document["error"]["type"] == "PolicyError"


async def test_a_type_whose_schema_is_not_on_the_search_path_is_still_compared_as_it_does(database: Database) -> None:
    await database.execute(
        """create schema extensions; create extension citext schema extensions;
        create table devices (id extensions.citext); insert into devices values ('a');
        create table hardware (name text, device extensions.citext);
        insert into hardware values ('of A', 'A'), ('of b', 'b')"""
    )
    await database.run("orphans", policy=POLICY)
    assert await left(database) == {"of A"}


@pytest.mark.parametrize(
    ("devices", "children", "more", "stopped", "stays"),
    [
        ("create table devices (id text)", "('one', 'a'), ('null', null)", "", "empty", {"one", "null"}),
        ("", "('one', 'a'), ('null', null)", "", "absent", {"one", "null"}),
        (
            "create table devices (id text); insert into devices values (null)",
            "('one', 'a'), ('null', null)",
            "",
            "value",
            {"one", "null"},
        ),
        ("create table devices (id text)", "('one', 'a'), ('null', null)", "allow_empty_parent = true", "", {"null"}),
        ("", "('one', 'a'), ('null', null)", "allow_empty_parent = true", "", {"null"}),
        ("create table devices (id text)", "('null', null)", "", "", {"null"}),
        ("create table devices (id text)", "", "", "", set()),
        ("", "('null', null)", "", "", {"null"}),
        ("", "", "", "", set()),
    ],
)
async def test_a_parent_without_a_value_stops_the_step_where_rows_would_go(
    database: Database, devices: str, children: str, more: str, stopped: str, stays: set[str]
) -> None:
    await database.execute(f"{devices}; create table hardware (name text, device text)")
    if children:
        await database.execute(f"insert into hardware values {children}")
    run = await database.run("orphans", policy=POLICY + more)
    done = step(run, "orphans", "public.hardware")
    assert await left(database) == stays
    if stopped:
        assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.GUARD)
        assert done.stop_reason is StopReason.GUARD
        assert stopped in (done.error or "")
        assert "allow_empty_parent = true" in (done.error or "")
    else:
        assert (run.status, done.stop_reason) == (RunStatus.SUCCEEDED, StopReason.DONE)


async def test_what_retention_takes_of_the_parents_makes_orphans_in_the_same_run(database: Database) -> None:
    await database.execute(
        """create table devices (id text, seen date); insert into devices values ('a', '2001-01-01'), ('b', 'infinity');
        create table hardware (name text, device text); insert into hardware values ('of a', 'a'), ('of b', 'b')"""
    )
    old = '[[retention]]\ntable = "devices"\ncolumn = "seen"\nkeep = "1 year"\n'
    run = await database.run(policy=old + POLICY)
    assert (step(run, "retention").rows, step(run, "orphans").rows) == (1, 1)
    assert await left(database) == {"of b"}


async def test_a_parent_that_the_run_itself_emptied_stops_the_step(database: Database) -> None:
    await database.execute(
        """create table devices (id text, seen date); insert into devices values ('a', '2001-01-01');
        create table hardware (name text, device text); insert into hardware values ('of a', 'a')"""
    )
    old = '[[retention]]\ntable = "devices"\ncolumn = "seen"\nkeep = "1 year"\nallow_empty = true\n'
    run = await database.run(policy=old + POLICY)
    assert (step(run, "retention").rows, await left(database)) == (1, {"of a"})
    assert (run.status, step(run, "orphans").stop_reason) == (RunStatus.INTERRUPTED, StopReason.GUARD)


@pytest.mark.parametrize(
    ("meanwhile", "stays"),
    [
        ("select", {"of a"}),
        ("insert into devices values ('c')", {"of a", "of c"}),
        ("update hardware set device = 'a' where name = 'of c'", {"of a", "of c"}),
        ("update hardware set device = null where name = 'of c'", {"of a", "of c"}),
        ("update hardware set at = now() where name = 'of c'", {"of a", "of c"}),
        ("update hardware set at = null where name = 'of c'", {"of a", "of c"}),
        ("delete from devices", {"of a", "of c"}),
    ],
)
async def test_what_happens_between_plan_and_delete_counts(database: Database, meanwhile: str, stays: set[str]) -> None:
    await database.execute(
        """create table devices (id text); insert into devices values ('a');
        create table hardware (name text, device text, at timestamptz);
        insert into hardware values ('of a', 'a', '2001-01-01'), ('of c', 'c', '2001-01-01')"""
    )
    found = planned_step(await database.plan("orphans", policy=POLICY + GRACE), "orphans")
    await database.execute(meanwhile)
    batch = await found.batch(database.connection, None, 100)
    assert (found.rows, batch.done, await left(database)) == (1, True, stays)


async def test_two_rules_on_one_column_each_need_their_own_parent(database: Database) -> None:
    await database.execute(
        """create table devices (id text); insert into devices values ('a'), ('b');
        create table owners (id text); insert into owners values ('a'), ('c');
        create table hardware (name text, device text);
        insert into hardware values ('a', 'a'), ('b', 'b'), ('c', 'c')"""
    )
    run = await database.run("orphans", policy=POLICY + POLICY.replace('"devices"', '"owners"'))
    assert [done.rows for done in run.steps if done.task == "orphans"] == [1, 1]
    assert await left(database) == {"a"}


async def test_a_tree_loses_the_rows_whose_parent_in_the_same_table_is_gone(database: Database) -> None:
    await database.execute(
        """create table hardware (name text, id int, device int);
        insert into hardware values ('root', 1, null), ('leaf', 2, 1), ('lost', 4, 3)"""
    )
    own = POLICY.replace('parent = "devices"', 'parent = "hardware"')
    await database.run("orphans", policy=own)
    assert await left(database) == {"root", "leaf"}
