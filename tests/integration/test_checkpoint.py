"""A batch and its checkpoint are committed together or not at all, and a failed step spoils no other."""

from __future__ import annotations

import pytest

from maintenance.ledger import Ledger
from maintenance.models import RunStatus, StepStatus, StopReason
from tests.databases import Database

_TABLES = """
create table parent (id int);
insert into parent select generate_series(1, 10);
create table heap (id int, at timestamptz, filler text default repeat('x', 5000));
alter table heap alter filler set storage plain;
insert into heap select i, now() - case when i % 2 = 0 then interval '9 days' else interval '0' end
from generate_series(1, 400) i;
create table keyset (id int, at timestamptz);
create index on keyset (at);
insert into keyset select i, now() - case when i % 2 = 0 then interval '9 days' else interval '0' end
from generate_series(1, 8000) i;
create table twins (id int, key int);
insert into twins select i, (i + 1) / 2 from generate_series(1, 8000) i;
create table child (id int, parent_id int, filler text default repeat('x', 5000));
alter table child alter filler set storage plain;
insert into child select i, case when i % 2 = 0 then 99 else 1 end from generate_series(1, 400) i;
"""
_RETENTION = '[[retention]]\ntable = "{}"\ncolumn = "at"\nkeep = "7 days"\n'
_POLICIES = {
    "heap": _RETENTION.format("heap"),
    "keyset": _RETENTION.format("keyset"),
    "twins": '[[duplicates]]\ntables = ["twins"]\nkey = ["key"]\nnewest = ["id"]\n',
    "child": '[[orphans]]\ntables = ["child"]\ncolumn = "parent_id"\nparent = "parent"\nparent_column = "id"\n',
}
_REFUSE = """
create function maintenance.refuse() returns trigger language plpgsql as $$
begin raise exception 'no room for the checkpoint' using errcode = 'disk_full'; end $$;
create trigger refuse before update on maintenance.step for each row
when (new.batches = 3 and old.batches = 2) execute function maintenance.refuse();
"""


@pytest.mark.parametrize("table", list(_POLICIES))
async def test_a_batch_whose_checkpoint_fails_is_undone_and_the_next_run_does_it(
    database: Database, table: str
) -> None:
    await database.execute(_TABLES)
    tasks = ("retention", "duplicates", "orphans")
    (whole,) = await database.values(f"select count(*) from {table}")
    await Ledger(database.connection).install()
    await database.execute(_REFUSE)

    failed = await database.run(*tasks, policy=_POLICIES[table], batch_target=0.0005)
    (done,) = failed.steps
    assert (failed.status, done.status, done.stop_reason) == (RunStatus.FAILED, StepStatus.FAILED, StopReason.ERROR)
    assert (done.sqlstate, done.batches) == ("53100", 2)
    assert 0 < done.rows < whole // 2
    assert await database.values(f"select count(*) from {table}") == [whole - done.rows]

    await database.execute("drop trigger refuse on maintenance.step")
    finished = await database.run(*tasks, batch_target=0.0005)
    assert finished.status is RunStatus.SUCCEEDED
    assert done.rows + finished.rows == whole // 2
    expected = 0 if table == "twins" else 1
    assert await database.values(f"select count(*) from {table} where id % 2 = {expected}") == [whole // 2]


async def test_a_pass_for_duplicates_that_failed_does_not_break_the_next_one_over_the_same_table(
    database: Database,
) -> None:
    await database.execute(
        "create table twins (id int, a int, b int);"
        "insert into twins values (1, 1, 10), (2, 1, 11), (3, 2, 12), (4, 3, 12);"
        "create function refuse() returns trigger language plpgsql as"
        " $$begin if old.a = 1 then raise exception 'not this one'; end if; return old; end$$;"
        "create trigger refuse before delete on twins for each row execute function refuse()"
    )
    rule = '[[duplicates]]\ntables = ["twins"]\nkey = ["{}"]\nnewest = ["id"]\n'
    run = await database.run("duplicates", policy=rule.format("a") + rule.format("b"))
    assert [(s.status, s.sqlstate, s.rows) for s in run.steps] == [
        (StepStatus.FAILED, "P0001", 0),
        (StepStatus.SUCCEEDED, None, 1),
    ]
    assert await database.values("select id from twins order by id") == [1, 2, 4]
