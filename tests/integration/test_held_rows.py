"""Rows that the application holds are passed over and said so; all others go, and the next run takes the rest."""

from __future__ import annotations

import pytest

from maintenance.models import RunStatus, StepStatus, StopReason
from tests.databases import Database, step
from tests.sessions import application, role

_DAYS = "select n, now() - interval '40 days' + n * interval '1 s' from generate_series(1, 50) n"
_ONE_MOMENT = "select n, now() - interval '40 days' from generate_series(1, 5000) n"
_RETENTION = '[[retention]]\ntable = "held"\ncolumn = "at"\nkeep = "30 days"\nallow_empty = true\n'
_CASES = {
    "heap": (f"create table held (id int, at timestamptz); insert into held {_DAYS}", _RETENTION),
    "keyset": (
        f"create table held (id int, at timestamptz); create index on held (at); insert into held {_DAYS}",
        _RETENTION,
    ),
    "moment": (
        f"create table held (id int, at timestamptz); create index on held (at); insert into held {_ONE_MOMENT}",
        _RETENTION,
    ),
    "claimed": (
        f"create table held (id int, at timestamptz); insert into held {_DAYS}",
        _RETENTION + 'where = "id in (select generate_series(1, 50))"\n',
    ),
    "orphans": (
        (
            f"create table held (id int, at timestamptz); insert into held {_DAYS};"
            "create table parent (id int primary key); insert into parent values (0)"
        ),
        '[[orphans]]\ntables = ["held"]\ncolumn = "id"\nparent = "parent"\nparent_column = "id"\n',
    ),
    "unreferenced": (
        (
            f"create table held (id int, at timestamptz); insert into held {_DAYS};"
            "create table reference (id int); insert into reference values (0)"
        ),
        '[[unreferenced]]\ntable = "held"\ncolumn = "id"\nreferences = [{ table = "reference", column = "id" }]\n',
    ),
}


@pytest.mark.parametrize("case", list(_CASES))
async def test_rows_that_others_hold_are_passed_over_and_the_next_run_takes_them(database: Database, case: str) -> None:
    tables, policy = _CASES[case]
    await database.execute(tables)
    database.write_policy(policy)
    task = policy.split("[[")[1].split("]]")[0]
    (rows,) = await database.values("select count(*) from held")
    async with application(database) as other:
        await other.execute("begin; select from held where id in (7, 31) for update")
        run = await database.run(task, lock_timeout=0.05, batch_target=0.001)
    done = step(run, task)
    assert (run.status, done.status, done.stop_reason) == (
        RunStatus.INTERRUPTED,
        StepStatus.INTERRUPTED,
        StopReason.LOCK,
    )
    assert (done.rows, done.error) == (
        rows - 2,
        "2 rows were locked by other transactions and were passed over; the next run takes them",
    )
    assert await database.values("select id from held order by id") == [7, 31]
    again = await database.run(task)
    assert (again.status, again.rows) == (RunStatus.SUCCEEDED, 2)


async def test_a_role_that_may_not_lock_rows_gives_way_as_a_whole(database: Database) -> None:
    """Who may only read and delete cannot lock a row without changing it."""
    await database.execute(_CASES["heap"][0])
    database.write_policy(_RETENTION)
    grants = ("create on database {database} to {role}", "select, delete on held to {role}")
    async with role(database, *[f"grant {grant}" for grant in grants]) as target, application(database) as other:
        await other.execute("begin; select from held where id = 31 for update")
        run = await database.run("retention", target=target, lock_timeout=0.05)
    assert (run.status, run.stop_reason, run.rows) == (RunStatus.FAILED, StopReason.LOCK, 0)
    assert await database.values("select count(*) from held") == [50]
