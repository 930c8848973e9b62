"""Our session cancelled or ended by somebody else: no traceback, nothing half done, and the next run goes on."""

from __future__ import annotations

import asyncio
import json

import pytest

from maintenance.errors import DatabaseError
from maintenance.ledger import Ledger
from maintenance.models import RunStatus, StepStatus, StopReason
from tests.databases import Database, step
from tests.sessions import counted, locked, sleeping, waiting

_POLICY = """
[[retention]]
table = "a"
column = "at"
keep = "30 days"
[[retention]]
table = "b"
column = "at"
keep = "30 days"
[[retention]]
table = "c"
column = "at"
keep = "30 days"
[vacuum]
dead_rows = 0
dead_fraction = 0
insert_rows = 0
"""
_EXPIRED = 3


async def three_tables(database: Database) -> None:
    """Tables a, b and c with three expired rows and one that stays; b's second row takes a minute to go."""
    for table in ("a", "b", "c"):
        await database.execute(
            f"create table {table} (id int, at timestamptz) with (autovacuum_enabled = false);"
            f"insert into {table} select n, now() - interval '40 days' from generate_series(1, {_EXPIRED}) n;"
            f"insert into {table} values (0, now())"
        )
    await database.execute(
        "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(60); return old; end $$;"
        "create trigger slow before delete on b for each row when (old.id = 2) execute function slow()"
    )
    database.write_policy(_POLICY)


async def left(database: Database) -> list[int]:
    """Rows left in a, b and c."""
    return [(await database.values(f"select count(*) from {table}"))[0] for table in ("a", "b", "c")]


async def test_a_cancelled_statement_fails_its_step_and_the_others_go_on(database: Database) -> None:
    await three_tables(database)
    task = asyncio.create_task(database.run("retention"))
    assert await database.values("select pg_cancel_backend($1)", await sleeping(database)) == [True]
    run = await task
    assert [(s.table, s.status, s.sqlstate) for s in run.steps] == [
        ("public.a", StepStatus.SUCCEEDED, None),
        ("public.b", StepStatus.FAILED, "57014"),
        ("public.c", StepStatus.SUCCEEDED, None),
    ]
    assert (run.status, run.rows) == (RunStatus.FAILED, 6)
    assert await left(database) == [1, 4, 1]
    await database.execute("drop trigger slow on b")
    assert (await database.run("retention")).rows == 3
    assert await left(database) == [1, 1, 1]


async def test_a_cancelled_vacuum_fails_its_step_and_the_others_go_on(database: Database) -> None:
    await three_tables(database)
    await database.execute("alter table b disable trigger slow")
    await database.run("retention")
    await counted(database)
    async with locked(database, "a", "share update exclusive"):
        task = asyncio.create_task(database.run("vacuum"))
        await database.execute(f"select pg_cancel_backend({await waiting(database)})")
        run = await task
    assert {s.table: s.sqlstate for s in run.steps} == {"public.a": "57014", "public.b": None, "public.c": None}
    assert (step(run, "vacuum", "public.a").status, run.status) == (StepStatus.FAILED, RunStatus.FAILED)


async def test_an_ended_session_is_one_error_and_the_next_run_closes_the_dead_one_and_finishes(
    database: Database,
) -> None:
    await three_tables(database)
    task = asyncio.create_task(database.run("retention"))
    await database.execute(f"select pg_terminate_backend({await sleeping(database)})")
    with pytest.raises(DatabaseError, match="run again to go on from the last committed batch"):
        await task
    assert await left(database) == [1, 4, 4]
    assert await database.values("select status from maintenance.run") == ["running"]
    assert await database.values("select status from maintenance.step order by id") == [
        "succeeded", "running", "pending",
    ]  # fmt: skip
    await database.execute("drop trigger slow on b")
    run = await database.run("retention")
    assert (run.status, run.rows, await left(database)) == (RunStatus.SUCCEEDED, 6, [1, 1, 1])
    dead = await Ledger(database.connection).run(run.id - 1)
    assert dead is not None
    assert (dead.status, dead.stop_reason, dead.rows) == (RunStatus.INTERRUPTED, StopReason.ERROR, 3)
    assert dead.ended_at is not None
    assert "its session ended" in (dead.error or "")
    assert [s.status for s in dead.steps] == [StepStatus.SUCCEEDED, StepStatus.INTERRUPTED, StepStatus.INTERRUPTED]


async def test_an_ended_session_is_no_traceback_on_the_command_line(database: Database) -> None:
    await three_tables(database)
    task = asyncio.create_task(database.cli("run", "retention", "--json"))
    await database.execute(f"select pg_terminate_backend({await sleeping(database)})")
    done = await task
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["type"] == "ConnectionLost"
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("task", "mode"),
    [
        ("retention", "access exclusive"),
        ("retention", "share"),
        ("vacuum", "share update exclusive"),
        ("statistics", "share update exclusive"),
    ],
)
async def test_a_session_that_ends_while_it_waits_for_a_lock_is_one_error(
    database: Database, task: str, mode: str
) -> None:
    """While it plans, while it deletes, and while it works outside of a transaction."""
    await three_tables(database)
    await counted(database)
    async with locked(database, "a", mode):
        running = asyncio.create_task(database.run(task))
        await database.execute(f"select pg_terminate_backend({await waiting(database)})")
        with pytest.raises(DatabaseError, match="run again"):
            await running


@pytest.mark.parametrize(
    "written",
    [
        "insert on maintenance.run", "insert on maintenance.step", "update of bytes_before on maintenance.step",
        "update of batches on maintenance.step", "update of bytes_after on maintenance.step",
        "update on maintenance.run",
    ],
)  # fmt: skip
async def test_a_session_that_ends_while_the_ledger_is_written_is_one_error(database: Database, written: str) -> None:
    await three_tables(database)
    await Ledger(database.connection).install()
    await database.execute(
        "create function suicide() returns trigger language plpgsql as $$ begin"
        " perform pg_terminate_backend(pg_backend_pid()); return new; end $$;"
        f"create trigger suicide before {written} for each row execute function suicide();"
        "drop trigger slow on b"
    )
    with pytest.raises(DatabaseError, match="run again"):
        await database.run("retention")
    on = written.split(" on ")[1]
    await database.execute(f"drop trigger suicide on {on}")
    again = await database.run("retention")
    assert (again.status, await left(database)) == (RunStatus.SUCCEEDED, [1, 1, 1])
