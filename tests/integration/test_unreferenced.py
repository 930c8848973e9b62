"""unreferenced: a row of a catalog that nothing refers to goes, counts are corrected; rows in, rows left."""

from __future__ import annotations

import pytest

from maintenance.errors import PolicyError
from maintenance.models import RunStatus, StopReason
from tests.databases import Database, planned_step, step

POLICY = """
[[unreferenced]]
table = "catalog"
column = "hash"
references = [{ table = "profiles", column = "one" }, { table = "profiles", column = "many" }]
"""
COUNTED = f'{POLICY}count_column = "uses"\n'
TABLES = """
create table catalog (hash text, uses int);
insert into catalog select hash, 0 from unnest('{a,b,c,d,e}'::text[]) hash;
insert into catalog values (null, 7);
create table profiles (device text, one varchar(9), many text[]);
"""


async def versions(database: Database) -> dict[str | None, str]:
    """The version of each row: the transaction that wrote it, and its address."""
    rows = await database.connection.fetch("select hash, xmin::text || ctid from catalog")
    return {row[0]: row[1] for row in rows}


async def left(database: Database) -> str:
    return "".join(await database.values("select coalesce(hash, '-') from catalog order by 1"))


@pytest.mark.parametrize(
    ("profiles", "stays"),
    [
        ("('p', 'a', '{b,c}')", "-abc"),
        ("('p', 'a', null), ('q', null, '{b}')", "-ab"),
        ("('p', 'a', '{}'), ('q', 'b', '{}')", "-ab"),
        ("('p', 'a', '{NULL}'), ('q', null, '{NULL,c}')", "-ac"),
        ("('p', 'z', '{y,x}')", "-"),
        ("('p', 'a', '{{b,c},{d,e}}')", "-abcde"),
        ("('p', 'A', '{ b ,\" c\",a}')", "-ab"),
        ("('p', 'a', '{a,a}'), ('q', 'a', '{b,a}')", "-ab"),
    ],
)
async def test_a_row_whose_value_occurs_in_no_reference_goes(database: Database, profiles: str, stays: str) -> None:
    await database.execute(f"{TABLES} insert into profiles values {profiles}")
    plan = await database.plan("unreferenced", policy=POLICY)
    run = await database.run("unreferenced")
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, len("-abcde") - len(stays))
    assert (planned_step(plan, "unreferenced").rows, await left(database)) == (run.rows, stays)
    assert (await database.run("unreferenced")).rows == 0


@pytest.mark.parametrize(
    ("tables", "more", "stopped", "stays"),
    [
        ("insert into profiles values ('p', null, '{a}'); alter table profiles drop column one", "", "", "-a"),
        ("insert into profiles values ('p', 'a', '{b}'); alter table profiles drop column many", "", "", "-a"),
        ("insert into profiles values ('p', null, null)", "", "none of the referencing columns", "-abcde"),
        ("insert into profiles values ('p', null, '{}')", "", "none of the referencing columns", "-abcde"),
        ("insert into profiles values ('p', null, '{NULL}')", "", "none of the referencing columns", "-abcde"),
        (
            "alter table profiles drop column one, drop column many; insert into profiles values ('p')",
            "",
            "none of the referencing columns",
            "-abcde",
        ),
        ("", "", "profiles is empty", "-abcde"),
        ("drop table profiles", "", "profiles is absent", "-abcde"),
        ("insert into profiles values ('p', null, null)", "allow_empty_parent = true", "", "-"),
        ("", "allow_empty_parent = true", "", "-"),
        ("drop table profiles", "allow_empty_parent = true", "", "-"),
        ("delete from catalog where hash is not null", "", "", "-"),
        ("delete from catalog", "", "", ""),
        ("delete from catalog; drop table profiles", "", "", ""),
    ],
)
async def test_references_that_say_nothing_stop_the_step_where_rows_would_go(
    database: Database, tables: str, more: str, stopped: str, stays: str
) -> None:
    await database.execute(f"{TABLES} {tables}")
    run = await database.run("unreferenced", policy=COUNTED + more)
    done = step(run, "unreferenced", "public.catalog")
    assert await left(database) == stays
    if stopped:
        assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.GUARD)
        assert done.stop_reason is StopReason.GUARD
        assert stopped in (done.error or "")
        assert "allow_empty_parent = true" in (done.error or "")
    else:
        assert (run.status, done.stop_reason) == (RunStatus.SUCCEEDED, StopReason.DONE)


@pytest.mark.parametrize("second", ["create table apps (hash text)", "select"])
async def test_one_of_two_reference_tables_empty_or_absent_stops_the_step(database: Database, second: str) -> None:
    await database.execute(f"{TABLES} insert into profiles values ('p', 'a', null); {second}")
    policy = POLICY.replace('"many" }]', '"many" }, { table = "apps", column = "hash" }]')
    run = await database.run("unreferenced", policy=policy)
    assert (run.status, run.stop_reason, await left(database)) == (RunStatus.INTERRUPTED, StopReason.GUARD, "-abcde")


async def test_counts_are_of_distinct_rows_over_all_references(database: Database) -> None:
    await database.execute(
        f"""{TABLES} insert into profiles values
            ('once',                'a',  null),        ('twice in an array', null, '{{b,b}}'),
            ('in two columns',      'c',  '{{c}}'),     ('with others',       'a',  '{{a,b,d,NULL}}');
        create table apps (hash text); insert into apps values ('a'), ('a'), ('d'), (null)"""
    )
    policy = COUNTED.replace('"many" }]', '"many" }, { table = "apps", column = "hash" }]')
    done = step(await database.run("unreferenced", policy=policy), "unreferenced")
    assert (done.rows, done.updated) == (1, 4)
    assert [tuple(row) for row in await database.connection.fetch("select hash, uses from catalog order by hash")] == [
        ("a", 4), ("b", 2), ("c", 1), ("d", 2), (None, 7),
    ]  # fmt: skip


@pytest.mark.parametrize("type_", ["int", "bigint", "smallint", "numeric"])
async def test_only_a_count_that_is_wrong_is_written(database: Database, type_: str) -> None:
    await database.execute(
        f"""{TABLES} alter table catalog alter uses type {type_};
        insert into profiles values ('p', 'a', '{{b,c}}'), ('q', 'a', '{{c}}');
        update catalog set uses = case hash when 'a' then 2 when 'b' then 5 end where hash in ('a', 'b', 'c')"""
    )
    before = await versions(database)
    first = step(await database.run("unreferenced", policy=COUNTED), "unreferenced")
    after = await versions(database)
    assert (first.rows, first.updated) == (2, 2)
    assert {hash_ for hash_ in after if after[hash_] != before[hash_]} == {"b", "c"}
    assert await database.values("select uses from catalog where hash is not null order by hash") == [2, 1, 2]
    again = step(await database.run("unreferenced"), "unreferenced")
    assert (again.rows, again.updated) == (0, 0)


async def test_without_a_count_column_no_row_that_stays_is_written(database: Database) -> None:
    await database.execute(f"{TABLES} insert into profiles values ('p', 'a', '{{b}}')")
    before = await database.values("select ctid from catalog where hash in ('a', 'b')")
    done = step(await database.run("unreferenced", policy=POLICY), "unreferenced")
    assert (done.rows, done.updated) == (3, 0)
    assert await database.values("select ctid from catalog where hash in ('a', 'b')") == before


@pytest.mark.parametrize(
    ("hash_", "one", "many", "fits"),
    [
        ("varchar(5)", "text", "varchar[]", True), ("int", "bigint", "int[]", True), ("uuid", "uuid", "uuid[]", True),
        ("uuid", "text", "uuid[]", False), ("text", "text", "int[]", False), ("uuid", "text", "text[]", False),
    ],
)  # fmt: skip
async def test_references_of_a_kindred_type_are_compared_and_others_refused(
    database: Database, hash_: str, one: str, many: str, fits: bool
) -> None:
    await database.execute(
        f"create table catalog (hash {hash_}, uses int); create table profiles (one {one}, many {many})"
    )
    used, unused = ("1", "2") if "int" in hash_ else (f"{1:032}", f"{2:032}") if hash_ == "uuid" else ("a", "b")
    await database.execute(
        f"insert into catalog values ('{used}'), ('{unused}'); insert into profiles (one) values ('{used}')"
    )
    if fits:
        await database.run("unreferenced", policy=COUNTED)
    else:
        with pytest.raises(PolicyError, match=r"public\.catalog\.hash cannot be compared with its references"):
            await database.run("unreferenced", policy=COUNTED)
    assert await database.values("select count(*) from catalog") == [1 if fits else 2]


ORPHANS = """
[[orphans]]
tables = ["profiles"]
column = "device"
parent = "devices"
parent_column = "id"
"""


async def test_the_catalog_is_judged_by_what_the_tasks_before_it_leave(database: Database) -> None:
    await database.execute(
        f"""{TABLES} insert into profiles values ('p', 'a', '{{b}}'), ('gone', 'b', '{{c,d}}');
        create table devices (id text); insert into devices values ('p')"""
    )
    run = await database.run(policy=COUNTED + ORPHANS)
    assert (step(run, "orphans").rows, step(run, "unreferenced").rows) == (1, 3)
    assert await left(database) == "-ab"
    assert await database.values("select uses from catalog where hash is not null") == [1, 1]


async def test_references_that_the_run_itself_emptied_stop_the_step(database: Database) -> None:
    await database.execute(
        f"""{TABLES} insert into profiles values ('gone', 'a', '{{b}}');
        create table devices (id text); insert into devices values ('p')"""
    )
    run = await database.run(policy=COUNTED + ORPHANS)
    assert (step(run, "orphans").rows, await left(database)) == (1, "-abcde")
    assert (run.status, step(run, "unreferenced").stop_reason) == (RunStatus.INTERRUPTED, StopReason.GUARD)


@pytest.mark.parametrize(
    ("meanwhile", "stays"),
    [
        ("select", "-a"),
        ("insert into profiles values ('q', 'b', '{c}')", "-abc"),
        ("insert into catalog values ('f')", "-a"),
        ("truncate profiles", "-abcde"),
        ("update profiles set one = null", "-abcde"),
    ],
)
async def test_what_happens_between_plan_and_delete_counts(database: Database, meanwhile: str, stays: str) -> None:
    await database.execute(f"{TABLES} insert into profiles values ('p', 'a', null)")
    found = planned_step(await database.plan("unreferenced", policy=POLICY), "unreferenced")
    await database.execute(meanwhile)
    batch = await found.batch(database.connection, None, 100)
    assert (found.rows, batch.done, await left(database)) == (4, True, stays)


async def test_a_misspelt_reference_column_is_an_error_and_not_a_licence_to_delete(database: Database) -> None:
    await database.execute(
        """create table catalog (hash text); insert into catalog values ('a'), ('b');
        create table profiles (main text, gallery text[]); insert into profiles values ('a', array['b'])"""
    )
    rule = """[[unreferenced]]
    table = "catalog"
    column = "hash"
    references = [{ table = "profiles", column = "main" }, { table = "profiles", column = "galery" }]
    """
    with pytest.raises(PolicyError, match="did you mean 'gallery'"):
        await database.run("unreferenced", policy=rule)
    assert await database.values("select count(*) from catalog") == [2]
