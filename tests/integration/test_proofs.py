"""What the catalogs prove empty is answered without reading a row; what they only seem to prove is read."""

from __future__ import annotations

import pytest

from maintenance.models import RunStatus, StepStatus
from tests.databases import Database, step

_DUPLICATES = '[[duplicates]]\ntables = ["t"]\nkey = ["a", "b"]\nnewest = ["id"]\n'
_ORPHANS = '[[orphans]]\ntables = ["child"]\ncolumn = "p"\nparent = "parent"\nparent_column = "id"\n'


@pytest.mark.parametrize(
    ("constraint", "strategy"),
    [
        ("create unique index u on t (a, b)", "catalog"),
        ("create unique index u on t (b, a)", "catalog"),
        ("create unique index u on t (b)", "catalog"),
        ("create unique index u on t (a, b) include (id)", "catalog"),
        ("alter table t add constraint u unique (a, b) deferrable initially deferred", "catalog"),
        ("create index u on t (a, b)", "ordered"),
        ("create unique index u on t (a, b, id)", "ordered"),
        ("create unique index u on t (a, id) include (b)", "ordered"),
        ("create unique index u on t (a, b) where id > 2", "ordered"),
        ("create unique index u on t ((a + 1), b)", "ordered"),
    ],
)
async def test_a_unique_index_on_the_key_leaves_no_duplicates(
    database: Database, constraint: str, strategy: str
) -> None:
    await database.execute(f"create table t (id int, a int, b int); {constraint}")
    await database.execute("insert into t values (1, 1, 1), (2, 1, 2), (3, null, null), (4, null, null)")
    done = step(await database.run("duplicates", policy=_DUPLICATES), "duplicates")
    assert (done.status, done.strategy, done.rows) == (StepStatus.SUCCEEDED, strategy, 0)
    assert ("the unique index u leaves no duplicates" in done.summary) is (strategy == "catalog")


async def test_an_index_that_could_not_be_finished_proves_nothing(database: Database) -> None:
    await database.execute("create table t (id int, a int, b int); insert into t values (1, 1, 1), (2, 1, 1)")
    with pytest.raises(Exception, match="could not create unique index"):
        await database.execute("create unique index concurrently u on t (a, b)")
    done = step(await database.run("duplicates", policy=_DUPLICATES), "duplicates")
    assert (done.strategy, done.rows) == ("ordered", 1)


@pytest.mark.parametrize(
    ("constraint", "strategy", "gone"),
    [
        ("foreign key (p) references parent (id)", "catalog", 0),
        ("foreign key (p) references parent (id) on delete cascade deferrable initially deferred", "catalog", 0),
        ("foreign key (q) references parent (id)", "heap", 0),
        ("foreign key (p) references parent (other)", "heap", 0),
        ("foreign key (p) references aunt (id)", "heap", 0),
        ("foreign key (p, q) references parent (id, other)", "heap", 0),
        ("foreign key (p) references parent (id) not valid", "heap", 1),
    ],
)
async def test_a_validated_foreign_key_leaves_no_orphans(
    database: Database, constraint: str, strategy: str, gone: int
) -> None:
    await database.execute(
        "create table parent (id int primary key, other int unique, unique (id, other));"
        "insert into parent values (1, 1); create table aunt (id int primary key); insert into aunt values (1);"
        "create table child (p int, q int); insert into child values (1, 1), (null, 1)"
    )
    if "not valid" in constraint:
        await database.execute("insert into child values (9, 1)")
    await database.execute(f"alter table child add constraint k {constraint}")
    run = await database.run("orphans", policy=_ORPHANS)
    done = step(run, "orphans")
    assert (run.status, done.strategy, done.rows) == (RunStatus.SUCCEEDED, strategy, gone)
    assert ("the foreign key k leaves no orphans" in done.summary) is (strategy == "catalog")


async def test_a_foreign_key_whose_triggers_are_switched_off_proves_nothing(database: Database) -> None:
    await database.execute(
        "create table parent (id int primary key); insert into parent values (1);"
        "create table child (p int references parent); alter table child disable trigger all;"
        "insert into child values (1), (2)"
    )
    done = step(await database.run("orphans", policy=_ORPHANS), "orphans")
    assert (done.strategy, done.rows) == ("heap", 1)


async def test_a_key_of_the_whole_holds_for_its_partitions(database: Database) -> None:
    await database.execute(
        "create table parent (id int primary key); insert into parent values (1);"
        "create table child (p int references parent, q int, unique (p, q)) partition by list (q);"
        "create table one partition of child for values in (1); create table rest partition of child default;"
        "insert into child values (1, 1), (1, 2)"
    )
    policy = _ORPHANS + '[[duplicates]]\ntables = ["child"]\nkey = ["p", "q"]\nnewest = ["p"]\n'
    run = await database.run("orphans", "duplicates", policy=policy)
    assert {(s.task, s.table, s.strategy) for s in run.steps} == {
        (task, table, "catalog") for task in ("orphans", "duplicates") for table in ("public.one", "public.rest")
    }


@pytest.mark.parametrize(
    ("type_", "operators", "rows"),
    [
        ("citext", "text_ops", "(1, 'A'), (2, 'a')"),
        ("citext", "text_pattern_ops", "(1, 'A'), (2, 'a')"),
        ("pair", "record_image_ops", "(1, (1.0, 1)), (2, (1.00, 1))"),
    ],
)
async def test_a_unique_index_that_compares_in_another_way_proves_nothing(
    database: Database, type_: str, operators: str, rows: str
) -> None:
    await database.execute(
        "create extension citext; create type pair as (a numeric, b int);"
        f"create table t (id int, a {type_}, b int default 1); create unique index u on t (a {operators});"
        f"insert into t values {rows}"
    )
    done = step(await database.run("duplicates", policy=_DUPLICATES), "duplicates")
    assert (done.strategy, done.rows) == ("ordered", 1)


async def test_partitions_that_tell_apart_what_the_key_does_not_may_share_a_key(database: Database) -> None:
    await database.execute(
        "create extension citext; create table t (id int, a citext, b int default 1) partition by list (a text_ops);"
        "create table upper_case partition of t for values in ('A');"
        "create table lower_case partition of t for values in ('a'); insert into t values (1, 'A'), (2, 'a')"
    )
    assert (await database.run("duplicates", policy=_DUPLICATES.replace(', "b"', ""))).rows == 1
    assert await database.values("select id from t") == [2]


async def test_a_key_to_a_partitioned_parent_is_no_promise_of_one_partition(database: Database) -> None:
    await database.execute(
        "create table whole (id int primary key) partition by range (id);"
        "create table parent partition of whole for values from (0) to (10);"
        "create table other partition of whole for values from (10) to (20); insert into whole values (1), (11);"
        "create table child (p int references whole); insert into child values (1), (11)"
    )
    done = step(await database.run("orphans", policy=_ORPHANS), "orphans")
    assert (done.strategy, done.rows) == ("heap", 1)


async def test_triggers_switched_off_at_the_parent_of_partitions_prove_nothing(database: Database) -> None:
    await database.execute(
        "create table parent (id int primary key); insert into parent values (1), (2);"
        "create table child (p int references parent, q int) partition by list (q);"
        "create table leaf partition of child default; insert into child values (1, 1), (2, 1);"
        "alter table parent disable trigger all; delete from parent where id = 2"
    )
    done = step(await database.run("orphans", policy=_ORPHANS), "orphans")
    assert (done.strategy, done.rows) == ("heap", 1)
