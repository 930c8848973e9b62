"""duplicates: of the rows with one key the newest stays; rows in, rows left."""

from __future__ import annotations

import itertools

import pytest

from maintenance.models import Batch, RunStatus
from maintenance.steps import Step
from tests.databases import Database, planned_step, step

POLICY = """
[[duplicates]]
tables = ["inventory"]
key = ["device"]
newest = ["at", "id"]
"""
TABLE = "create table inventory (name text, device text, at date, id int);"


async def left(database: Database) -> set[str]:
    return set(await database.values("select name from inventory"))


ROWS = """
insert into inventory values
    ('old',                 'in order',       '2020-01-01', 1),    ('new *',       'in order',       '2020-01-02', 2),
    ('new *',               'out of order',   '2020-01-02', 1),    ('old',         'out of order',   '2020-01-01', 2),
    ('a',                   'three',          '2020-01-01', 1),    ('b *',         'three',          '2020-01-03', 2),
    ('c',                   'three',          '2020-01-02', 3),
    ('of one day, first',   'tie',            '2020-01-01', 1),    ('last *',      'tie',            '2020-01-01', 2),
    ('undated',             'null first',     null,         9),    ('dated *',     'null first',     '1970-01-01', 1),
    ('dated *',             'null last',      '1970-01-01', 1),    ('undated',     'null last',      null,         9),
    ('of old *',            'infinity',       '-infinity',  1),    ('undated',     'infinity',       null,         9),
    ('undated 1',           'nulls',          null,         1),    ('undated 2 *', 'nulls',          null,         2),
    ('numbered *',          'null in second', '2020-01-01', 1),    ('no number',  'null in second', '2020-01-01', null),
    ('for ever *',          'future',         'infinity',   1),    ('new',         'future',         '2020-01-01', 2),
    ('no key, one *',       null,             '2020-01-01', 1),    ('no key *',    null,             '2020-01-02', 2),
    ('alone *',             'alone',          '2020-01-01', 1),    ('upper *',     'ALONE',          '2020-01-01', 1),
    ('empty *',             '',               '2020-01-01', 1),    ('blank *',     ' ',              '2020-01-01', 1);
"""
LABELS = "select name || ' ' || coalesce(device, '-') from inventory"


async def test_the_newest_row_of_a_key_stays(database: Database) -> None:
    await database.execute(TABLE + ROWS)
    expected = await database.values(f"{LABELS} where name like '% *' order by ctid")
    plan = await database.plan("duplicates", policy=POLICY)
    run = await database.run("duplicates")
    assert (run.status, run.rows, planned_step(plan, "duplicates").rows) == (RunStatus.SUCCEEDED, 11, 11)
    assert await database.values(f"{LABELS} order by ctid") == expected
    assert (await database.run("duplicates")).rows == 0


async def test_the_order_of_insertion_does_not_decide(database: Database) -> None:
    rows = [("a", "2020-01-03", 1), ("b", "2020-01-02", 4), ("c", "2020-01-02", 3), ("d", None, 2)]
    for number, order in enumerate(itertools.permutations(rows)):
        for name, at, id_ in order:
            value = f"'{at}'" if at else "null"
            await database.execute(
                f"{TABLE.replace('table', 'table if not exists')}"
                f"insert into inventory values ('{name}', 'device {number}', {value}, {id_})"
            )
    run = await database.run("duplicates", policy=POLICY)
    assert run.rows == 24 * 3
    assert await left(database) == {"a"}


async def test_exactly_one_of_rows_that_are_equal_by_all_columns_stays(database: Database) -> None:
    await database.execute(
        f"{TABLE} insert into inventory select 'same', 'd' || g % 5, '2020-01-01' from generate_series(1, 40) g;"
        "insert into inventory select 'same', 'undated', null from generate_series(1, 7)"
    )
    run = await database.run("duplicates", policy=POLICY.replace('["at", "id"]', '["at"]'))
    assert run.rows == 41
    assert await database.values("select count(*) from inventory group by device") == [1] * 6


async def test_a_null_in_one_column_of_the_key_makes_a_row_nobodys_duplicate(database: Database) -> None:
    await database.execute(
        f"""{TABLE} alter table inventory add module text;
        insert into inventory (name, device, module, at) values
            ('old',           'd',  'm',  '2020-01-01'), ('new',           'd',  'm',  '2020-01-02'),
            ('no module 1',   'd',  null, '2020-01-01'), ('no module 2',   'd',  null, '2020-01-02'),
            ('no device 1',   null, 'm',  '2020-01-01'), ('no device 2',   null, 'm',  '2020-01-02'),
            ('nothing 1',     null, null, '2020-01-01'), ('nothing 2',     null, null, '2020-01-02'),
            ('other module',  'd',  'n',  '2020-01-01'), ('other device',  'e',  'm',  '2020-01-01')"""
    )
    before = await left(database)
    await database.run("duplicates", policy=POLICY.replace('["device"]', '["device", "module"]'))
    assert await left(database) == before - {"old"}


NEWEST = [
    ('["x"]', {"p", "s"}),
    ('["y", "x"]', {"q", "s"}),
    ('["y", "z"]', {"q", "t"}),
    ('["z"]', {"r", "t"}),
    ('["z", "x", "y"]', {"r", "t"}),
]


async def test_the_columns_of_newest_decide_in_their_order(database: Database) -> None:
    for newest, stays in NEWEST:
        await database.execute(
            """create table inventory (name text, device int, x int, y text, z bool);
            insert into inventory values
                ('p', 1, 3, 'a', false), ('q', 1, 2, 'c', null), ('r', 1, 1, 'b', true),
                ('s', 2, 2, null, false), ('t', 2, 1, null, true)"""
        )
        await database.run("duplicates", policy=POLICY.replace('["at", "id"]', newest))
        assert (newest, await left(database)) == (newest, stays)
        await database.execute("drop table inventory")


TYPES = [
    ("text", "a'b", "a'b", "A'b"),
    ("varchar(40)", "a", "a", "b"),
    ("char(4)", "a", "a  ", "b"),
    ("uuid", "00000000-0000-0000-0000-00000000000a", "{00000000-0000-0000-0000-00000000000A}", f"{'0b':0>32}"),
    ("int", "1", " 1", "-1"),
    ("bigint", "9223372036854775807", "9223372036854775807", "9223372036854775806"),
    ("numeric", "1.0", "1.00", "1.01"),
    ("timestamptz", "2020-01-01 00:00+00", "2020-01-01 01:00+01", "2020-01-01 00:00+01"),
    ("jsonb", '{"a": 1, "b": 2}', '{"b": 2, "a": 1}', '{"a": 2}'),
    ("text[]", "{a,b}", "{a,b}", "{b,a}"),
    ("citext", "a", "A", "b"),
]


async def test_keys_of_every_type_are_compared_as_their_type_does(database: Database) -> None:
    await database.execute("create extension citext")
    for type_, same, again, other in TYPES:
        await database.execute(
            f"""create table inventory (name text, device {type_}, at date, id int);
            insert into inventory values ('old', $${same}$$, '2020-01-01', 1), ('new', $${again}$$, '2020-01-01', 2),
                ('other', $${other}$$, '2020-01-01', 1)"""
        )
        run = await database.run("duplicates", policy=POLICY)
        assert (type_, run.status, await left(database)) == (type_, RunStatus.SUCCEEDED, {"new", "other"})
        await database.execute("drop table inventory")


async def test_a_type_whose_schema_is_not_on_the_search_path_is_still_compared_as_it_does(database: Database) -> None:
    await database.execute("create schema extensions; create extension citext schema extensions")
    await database.execute(TABLE.replace("device text", "device extensions.citext"))
    await database.execute("insert into inventory values ('old', 'a', '2020-01-01', 1), ('new', 'A', '2020-01-02', 2)")
    assert planned_step(await database.plan("duplicates", policy=POLICY), "duplicates").rows == 1
    await database.run("duplicates")
    assert await left(database) == {"new"}


async def test_more_rows_than_one_batch_takes_leave_one_of_each_key(database: Database) -> None:
    await database.execute(
        f"{TABLE} insert into inventory select 'of ' || g % 3, 'd' || g / 3, date '2020-01-01' + g % 3, g"
        " from generate_series(0, 8999) g"
    )
    done = step(await database.run("duplicates", policy=POLICY), "duplicates")
    assert (done.rows, done.batches > 2) == (6000, True)
    assert await database.values("select name from inventory group by name") == ["of 2"]
    assert await database.values("select count(distinct device) from inventory") == [3000]


async def passed(database: Database) -> tuple[Step, Batch]:
    """The step, and its batch that has only made the ordered pass: old and older lose against new."""
    await database.execute(
        f"""{TABLE} insert into inventory values
            ('new', 'd', '2020-01-03', 1), ('old', 'd', '2020-01-02', 1), ('older', 'd', '2020-01-01', 1)"""
    )
    found = planned_step(await database.plan("duplicates", policy=POLICY), "duplicates")
    first = await found.batch(database.connection, None, 100)
    assert (found.rows, first.rows, first.done) == (2, 0, False)
    return found, first


@pytest.mark.parametrize(
    ("meanwhile", "stays"),
    [
        ("select", {"new"}),
        ("update inventory set at = '2021-01-01' where name = 'old'", {"new", "old"}),
        ("update inventory set device = 'e' where name = 'old'", {"new", "old"}),
        ("update inventory set device = null where name = 'old'", {"new", "old"}),
        ("delete from inventory where name = 'new'", {"old", "older"}),
        ("update inventory set device = 'e' where name = 'new'", {"new", "old", "older"}),
        ("update inventory set at = '2019-01-01' where name = 'new'", {"new", "old", "older"}),
        ("insert into inventory values ('newest', 'd', '2021-01-01', 1)", {"new", "newest"}),
        ("truncate inventory", set()),
    ],
)
async def test_a_row_that_the_application_changed_after_the_pass_is_judged_as_it_is_now(
    database: Database, meanwhile: str, stays: set[str]
) -> None:
    found, first = await passed(database)
    await database.execute(meanwhile)
    await found.batch(database.connection, first.cursor, 100)
    assert await left(database) == stays
    await database.run("duplicates")
    assert len(await database.values("select device from inventory")) == len(
        await database.values("select distinct device from inventory")
    )


@pytest.mark.parametrize(
    ("gone", "newcomer", "stays"),
    [
        ("old", "('of another key', 'e', '2020-01-02', 1)", {"new", "of another key"}),
        ("old", "('newer', 'd', '2021-01-01', 1)", {"new", "newer"}),
        ("old", "('without a key', null, '2020-01-02', 1)", {"new", "without a key"}),
        ("new", "('of another key', 'e', '2021-01-01', 1)", {"old", "older", "of another key"}),
        ("new", "('oldest', 'd', '2019-01-01', 1)", {"old", "older", "oldest"}),
    ],
)
async def test_a_newcomer_at_the_address_of_a_row_that_went_after_the_pass_is_not_taken_for_it(
    database: Database, gone: str, newcomer: str, stays: set[str]
) -> None:
    found, first = await passed(database)
    address = await database.values("select ctid from inventory where name = $1", gone)
    await database.execute(f"delete from inventory where name = '{gone}'")
    await database.execute("vacuum (truncate false) inventory")
    await database.execute(f"insert into inventory values {newcomer}")
    assert await database.values("select name from inventory where ctid = any ($1)", address) == [
        newcomer.split("'")[1]
    ]
    await found.batch(database.connection, first.cursor, 100)
    assert await left(database) == stays


async def test_several_tables_of_one_rule_are_steps_of_their_own_and_an_absent_one_is_said(database: Database) -> None:
    rows = "values ('old', 'd', date '2020-01-01', 1), ('new', 'd', '2020-01-02', 2)"
    await database.execute(f"{TABLE} insert into inventory {rows}; create table hardware as select * from inventory")
    run = await database.run("duplicates", policy=POLICY.replace('["inventory"]', '["inventory", "gone", "hardware"]'))
    assert run.status is RunStatus.SUCCEEDED
    assert [(done.table.removeprefix("public."), str(done.status), done.rows) for done in run.steps] == [
        ("inventory", "succeeded", 1), ("gone", "absent", 0), ("hardware", "succeeded", 1),
    ]  # fmt: skip
