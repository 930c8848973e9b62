"""Failures: each table has its own step; one that fails does not stop the others, and the run does not say success."""

from __future__ import annotations

import asyncio

import pytest

from maintenance.ledger import Ledger
from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.runs import Run
from tests.databases import Database, step
from tests.sessions import LEDGER_GRANTS, application, counted, locked, role, waiting

_TABLES = ("a", "b", "c")
_POLICY = "".join(
    f'[[retention]]\ntable = "{table}"\ncolumn = "at"\nkeep = "30 days"\nallow_empty = true\n' for table in _TABLES
)
_DONE = (StepStatus.SUCCEEDED, StopReason.DONE, None)
_REFUSED = (StepStatus.FAILED, StopReason.ERROR, "42501")


async def three_tables(database: Database, expired: int = 3) -> None:
    """Tables a, b and c, each with rows of the same expired day and one that stays."""
    for table in _TABLES:
        await database.execute(
            f"create table {table} (id int, at timestamptz) with (autovacuum_enabled = false);"
            f"insert into {table} select n, now() - interval '40 days' from generate_series(1, {expired}) n;"
            f"insert into {table} values (0, now())"
        )
    database.write_policy(_POLICY)


def ends(run: Run) -> dict[str, tuple[StepStatus, StopReason | None, str | None]]:
    """How each table's retention ended."""
    return {
        s.table.removeprefix("public."): (s.status, s.stop_reason, s.sqlstate)
        for s in run.steps
        if s.task == "retention"
    }


async def left(database: Database) -> dict[str, int]:
    """Rows left in each table; 1 is what must stay."""
    return {table: (await database.values(f"select count(*) from {table}"))[0] for table in _TABLES}


async def test_a_table_locked_all_the_time_fails_with_its_sqlstate_and_the_others_are_done(database: Database) -> None:
    await three_tables(database)
    async with locked(database, "b"):
        run = await database.run("retention", lock_timeout=0.1)
    assert ends(run) == {"a": _DONE, "b": (StepStatus.FAILED, StopReason.LOCK, "55P03"), "c": _DONE}
    assert (run.status, run.stop_reason, run.rows) == (RunStatus.FAILED, StopReason.LOCK, 6)
    assert "lock timeout" in (run.error or "")
    assert await left(database) == {"a": 1, "b": 4, "c": 1}
    assert ends(await database.run("retention")) == {"a": _DONE, "b": _DONE, "c": _DONE}
    assert await left(database) == {"a": 1, "b": 1, "c": 1}


async def test_a_table_locked_after_the_plan_fails_alone(database: Database) -> None:
    await three_tables(database)
    async with application(database) as late:
        async with locked(database, "a", "share"):
            task = asyncio.create_task(database.run("retention", lock_timeout=0.3))
            await waiting(database)
            await late.execute("begin; lock table b in access exclusive mode")
        run = await task
    assert ends(run) == {"a": _DONE, "b": (StepStatus.FAILED, StopReason.LOCK, "55P03"), "c": _DONE}
    assert await left(database) == {"a": 1, "b": 4, "c": 1}


@pytest.mark.parametrize("mode", ["share", "access exclusive"])
async def test_a_table_locked_after_some_batches_is_interrupted_and_goes_on_at_the_next_run(
    database: Database, mode: str
) -> None:
    """The application asks for its lock during the first batch and gets it before the second."""
    await three_tables(database, expired=50_000)
    await database.execute(
        "create function slow() returns trigger language plpgsql as $$ begin"
        " if old.id = 1 then perform pg_advisory_xact_lock(7); end if; return old; end $$;"
        "create trigger slow before delete on a for each row execute function slow()"
    )
    async with application(database) as gate, application(database) as holder:
        await gate.execute("select pg_advisory_lock(7)")
        task = asyncio.create_task(database.run("retention", lock_timeout=0.6, batch_target=0.01))
        await waiting(database)
        await holder.execute("begin")
        asked = asyncio.create_task(holder.execute(f"lock table a in {mode} mode"))
        await asyncio.sleep(0.05)
        await gate.execute("select pg_advisory_unlock(7)")
        await asked
        run = await task
    assert ends(run) == {"a": (StepStatus.INTERRUPTED, StopReason.LOCK, "55P03"), "b": _DONE, "c": _DONE}
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.LOCK)
    first = step(run, "retention", "public.a")
    assert 0 < first.rows < 50_000
    assert await left(database) == {"a": 50_001 - first.rows, "b": 1, "c": 1}
    again = await database.run("retention")
    assert (again.status, again.rows) == (RunStatus.SUCCEEDED, 50_000 - first.rows)


@pytest.mark.parametrize("task", ["vacuum", "statistics"])
async def test_a_lock_on_one_table_or_partition_leaves_the_upkeep_of_the_others(database: Database, task: str) -> None:
    await three_tables(database)
    await database.execute(
        "create table parent (id int) partition by range (id);"
        "create table leaf partition of parent for values from (1) to (1000) with (autovacuum_enabled = false);"
        "insert into parent values (1)"
    )
    await counted(database)
    async with locked(database, "b"), locked(database, "leaf"):
        policy = "[vacuum]\ndead_rows = 0\ndead_fraction = 0\ninsert_rows = 0\ninsert_fraction = 0"
        run = await database.run(task, policy=policy, lock_timeout=0.1)
    assert {s.table: s.status for s in run.steps if s.table != "public.parent"} == {
        "public.a": StepStatus.SUCCEEDED,
        "public.b": StepStatus.FAILED,
        "public.c": StepStatus.SUCCEEDED,
        "public.leaf": StepStatus.FAILED,
    }
    assert step(run, task, "public.leaf").sqlstate == "55P03"
    assert run.status is RunStatus.FAILED


@pytest.mark.parametrize(
    ("granted", "ended"),
    [
        ("grant select, delete on b to {role}", _DONE),
        ("grant select on b to {role}", _REFUSED),
        ("grant delete on b to {role}", _REFUSED),
        ("revoke select on b from {role}", _REFUSED),
    ],
)
async def test_a_missing_privilege_fails_its_own_table(
    database: Database, granted: str, ended: tuple[StepStatus, StopReason, str | None]
) -> None:
    await three_tables(database)
    await Ledger(database.connection).install()
    async with role(database, *LEDGER_GRANTS, "grant select, delete on a, c to {role}", granted) as plain:
        run = await database.run("retention", target=plain)
    assert ends(run) == {"a": _DONE, "b": ended, "c": _DONE}
    assert run.status is (RunStatus.SUCCEEDED if ended == _DONE else RunStatus.FAILED)
    assert await left(database) == {"a": 1, "b": 1 if ended == _DONE else 4, "c": 1}


async def test_a_column_dropped_between_plan_and_delete_fails_its_own_table(database: Database) -> None:
    await three_tables(database)
    async with locked(database, "a", "share"):
        task = asyncio.create_task(database.run("retention"))
        await waiting(database)
        await database.execute("alter table b drop column at; drop table c")
    run = await task
    assert ends(run)["a"] == _DONE
    assert ends(run)["b"] == (StepStatus.FAILED, StopReason.ERROR, "42703")
    assert ends(run)["c"][0] in (StepStatus.FAILED, StepStatus.ABSENT)
    assert run.status is RunStatus.FAILED
    assert await database.values("select count(*) from b") == [4]


async def test_a_trigger_that_raises_fails_its_own_table_and_the_command_line_says_so(database: Database) -> None:
    await three_tables(database)
    await database.execute(
        "create function no() returns trigger language plpgsql as $$ begin raise 'not this one'; end $$;"
        "create trigger no before delete on b for each row when (old.id = 2) execute function no()"
    )
    document = await database.cli_json("run", "retention", exit_code=1)
    assert document["status"] == "failed"
    assert [(s["table"], s["status"], s["sqlstate"]) for s in document["steps"]] == [
        ("public.a", "succeeded", None), ("public.b", "failed", "P0001"), ("public.c", "succeeded", None),
    ]  # fmt: skip
    assert "not this one" in document["steps"][1]["error"]
    assert await left(database) == {"a": 1, "b": 4, "c": 1}


@pytest.mark.parametrize("index", ["", "create index on b (at)"])
@pytest.mark.parametrize("different_days", [False, True])
async def test_a_trigger_that_keeps_rows_does_not_make_the_run_go_on_for_ever(
    database: Database, index: str, different_days: bool
) -> None:
    await three_tables(database, expired=5000)
    if different_days:
        await database.execute("update b set at = at - interval '1 second' * id")
    await database.execute(
        f"{index}; create function keep() returns trigger language plpgsql as $$ begin return null; end $$;"
        "create trigger keep before delete on b for each row execute function keep()"
    )
    run = await asyncio.wait_for(database.run("retention"), timeout=30)
    assert (ends(run)["a"], ends(run)["c"]) == (_DONE, _DONE)
    assert step(run, "retention", "public.b").rows == 0
    assert await left(database) == {"a": 1, "b": 5001, "c": 1}


@pytest.mark.parametrize("hidden", ["parents", "children"])
async def test_rows_hidden_by_row_level_security_are_an_error_and_never_orphans(
    database: Database, hidden: str
) -> None:
    """Parent 2 is not visible to the role: were it thought gone, child 2 would be lost."""
    await database.execute("create table parents (id int); insert into parents values (1), (2)")
    await database.execute("create table children (parent int); insert into children values (1), (2), (3)")
    await database.execute(
        f"alter table {hidden} enable row level security; create policy one on {hidden} using (false)"
    )
    await Ledger(database.connection).install()
    policy = '[[orphans]]\ntables = ["children"]\ncolumn = "parent"\nparent = "parents"\nparent_column = "id"'
    async with role(database, *LEDGER_GRANTS, "grant select, delete on parents, children to {role}") as plain:
        run = await database.run("orphans", policy=policy, target=plain)
        done = step(run, "orphans")
        assert (run.status, done.status, done.sqlstate) == (RunStatus.FAILED, StepStatus.FAILED, "42501")
        assert "row-level security" in (done.error or "")
    assert await database.values("select parent from children order by 1") == [1, 2, 3]


async def test_a_deadlock_with_the_application_costs_us_a_retry_and_the_application_nothing(database: Database) -> None:
    await three_tables(database)
    await database.execute(f"alter database {database.name} set deadlock_timeout = '100ms'")
    async with application(database) as other:
        await other.execute("set deadlock_timeout = '1min'; begin; update a set id = 30 where id = 3")
        task = asyncio.create_task(database.run("retention", tables=["a"]))
        await waiting(database)
        await other.execute("update a set id = 10 where id = 1; update a set at = now() where id = 10; commit")
        run = await task
        assert await other.fetchval("select pg_current_xact_id_if_assigned() is null")
    assert ends(run) == {"a": _DONE}
    assert await database.values("select id from a order by id") == [0, 10]
    log = (database.server.directory / "server.log").read_text(encoding="utf-8")
    assert "deadlock detected" in log
