"""Names: quotes, upper case, spaces, reserved words, other alphabets, schemas and the search path."""

from __future__ import annotations

import pytest

from maintenance.errors import PolicyError
from maintenance.models import RunStatus, StepStatus
from tests.databases import Database, step
from tests.sessions import counted

ODD_NAMES = ["Events", "two words", "select", "user", "größe", "表", "50% {limit} $1 \\ -- /*", "x" * 63]


def policy(table: str, column: str, parent: str = "parents") -> str:
    return f"""
    [[retention]]
    table = '{table}'
    column = '{column} at'
    keep = "30 days"
    where = "kind = 'a'"

    [[duplicates]]
    tables = ['{table}']
    key = ['{column}']
    newest = ['{column} at', 'id']

    [[orphans]]
    tables = ['{table}']
    column = '{column}'
    parent = '{parent}'
    parent_column = '{column}'
    grace = "1 day"
    age_column = '{column} at'

    [[unreferenced]]
    table = '{parent}'
    column = '{column}'
    references = [{{ table = '{table}', column = '{column}' }}]
    count_column = '{column} uses'
    """


def tables(table: str, column: str, parent: str = "parents") -> str:
    return f"""
    create table {table} (id int, "{column}" text, "{column} at" timestamptz, kind text);
    insert into {table} values
        (1, 'p', '2001-01-01', 'a'), (2, 'p', '2001-01-01', 'b'), (3, 'p', now(), 'a'),
        (4, 'gone', now() - interval '9 days', 'a'), (5, 'gone, fresh', now(), 'a');
    create index on {table} ("{column} at");
    create table {parent} ("{column}" text, "{column} uses" int);
    insert into {parent} values ('p'), ('unused')
    """


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_every_task_takes_a_name_as_it_is_written(database: Database, name: str) -> None:
    column = name[:55].strip()
    await database.execute(f'create schema "{name}"')
    await database.execute(tables(f'"{name}"."{name}"', column, f'"{name}".parents'))
    written = policy(f"{name}.{name}", column, f"{name}.parents")
    plan = await database.plan(policy=written)
    assert [s.rows for s in plan.steps if s.transactional] == [1, 2, 1, 1]
    run = await database.run()
    assert (run.status, [s.rows for s in run.steps if s.strategy != "analyze"]) == (RunStatus.SUCCEEDED, [1, 1, 1, 1])
    assert await database.values(f'select id from "{name}"."{name}" order by id') == [3, 5]
    assert await database.values(f'select "{column} uses" from "{name}".parents') == [1]
    weekly = await database.run("weekly-vacuum")
    assert (weekly.status, step(weekly, "vacuum", f"{name}.{name}").status) == (
        RunStatus.SUCCEEDED, StepStatus.SUCCEEDED,
    )  # fmt: skip


async def test_upper_and_lower_case_are_two_tables(database: Database) -> None:
    await database.execute(tables('"Events"', "key"))
    await database.execute('create table events (like "Events"); insert into events select * from "Events"')
    await database.run(policy=policy("Events", "key"))
    assert await database.values("select count(*) from events") == [5]
    assert await database.values('select count(*) from "Events"') == [2]


async def test_names_that_no_policy_can_write_do_not_break_what_is_beside_them(database: Database) -> None:
    await database.execute(tables("events", "key"))
    await database.execute(
        """create schema "a""b"; create table "a""b"."it's ""odd"".too" (id int, "co""l'" int);
        insert into "a""b"."it's ""odd"".too" select g from generate_series(1, 3000) g;
        delete from "a""b"."it's ""odd"".too";
        alter table events add "co""l'" int; create index "in""dex" on events ("co""l'")"""
    )
    await counted(database)
    run = await database.run("daily-cleanup", "weekly-vacuum", policy=policy("events", "key"))
    assert run.status is RunStatus.SUCCEEDED
    assert step(run, "vacuum", 'a"b.it\'s "odd".too').status is StepStatus.SUCCEEDED
    assert await database.values("select id from events order by id") == [3, 5]


@pytest.mark.parametrize(
    ("path", "written", "touched"),
    [
        ("public", "events", "public.events"),
        ("app, public", "events", "app.events"),
        ("public, app", "events", "public.events"),
        ("app", "events", "app.events"),
        ("", "events", "public.events"),
        ("app", "public.events", "public.events"),
        ("public", "app.events", "app.events"),
    ],
)
async def test_the_search_path_decides_where_no_schema_is_written(
    database: Database, path: str, written: str, touched: str
) -> None:
    await database.execute("create schema app")
    for table in ("public.events", "app.events"):
        await database.execute(tables(table, "key", table.replace("events", "parents")))
    await database.execute(f"alter database {database.name} set search_path = {path or repr('')}")
    parent = written.replace("events", "parents")
    run = await database.run(policy=policy(written, "key", parent))
    assert {s.table for s in run.steps} == {touched, touched.replace("events", "parents")}
    (other,) = {"public.events", "app.events"} - {touched}
    assert await database.values(f"select count(*) from {other}") == [5]
    assert await database.values(f"select count(*) from {touched}") == [2]


async def test_a_table_in_a_schema_off_the_search_path_is_absent_without_its_schema(database: Database) -> None:
    await database.execute("create schema app")
    await database.execute(tables("app.events", "key", "app.parents"))
    with pytest.raises(PolicyError, match="Not one table of the policy"):
        await database.run("retention", policy=policy("events", "key"))
    await database.execute("create table here (at timestamptz)")
    here = '[[retention]]\ntable = "here"\ncolumn = "at"\nkeep = "1 day"\n'
    run = await database.run("retention", policy=policy("events", "key") + here)
    assert run.status is RunStatus.SUCCEEDED
    assert step(run, "retention", "events").status is StepStatus.ABSENT
    assert await database.values("select count(*) from app.events") == [5]


async def test_a_name_in_another_case_is_told_the_right_one(database: Database) -> None:
    await database.execute('create table "Events" (at timestamptz)')
    rule = '[[retention]]\ntable = "events"\ncolumn = "at"\nkeep = "1 day"\n'
    with pytest.raises(PolicyError, match=r"case counts: did you mean 'public\.Events'"):
        await database.run("retention", policy=rule)
    assert not await database.values("select 1 from pg_namespace where nspname = 'maintenance'")
