"""The ledger: made once, written before the first delete, and short."""

from __future__ import annotations

import asyncio

from asyncpg import Connection

from maintenance.budget import Budget
from maintenance.database import connected
from maintenance.engine import performed
from maintenance.ledger import Ledger
from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.past import carried
from maintenance.runs import Request
from maintenance.sql import script
from tests.databases import Database, step
from tests.sessions import application, locked, waiting

_POLICY = """
[[retention]]
table = "t"
column = "at"
keep = "30 days"
"""


async def expiring(database: Database, expired: int = 3) -> None:
    """A table with expired rows and one that stays, and its policy."""
    await database.execute(
        "create table t (id int, at timestamptz) with (autovacuum_enabled = false);"
        "insert into t values (0, now());"
        f"insert into t select n, now() - interval '40 days' from generate_series(1, {expired}) n"
    )
    database.write_policy(_POLICY)


async def shape(connection: Connection) -> list[str]:
    """Every table, index and constraint of the ledger."""
    rows = await connection.fetch(
        "select relkind::text || relname from pg_class where relnamespace = 'maintenance'::regnamespace"
        " union all select conname from pg_constraint where connamespace = 'maintenance'::regnamespace order by 1"
    )
    return [row[0] for row in rows]


async def test_run_and_steps_are_written_before_the_first_delete(database: Database) -> None:
    await expiring(database)
    async with locked(database, "t", "share"):
        task = asyncio.create_task(database.run("retention"))
        await waiting(database)
        (run,) = await Ledger(database.connection).runs(1)
        assert (run.status, run.stop_reason, run.ended_at, run.rows) == (RunStatus.RUNNING, None, None, 0)
        seen = await Ledger(database.connection).run(run.id)
        assert seen is not None
        assert [(s.task, s.table, s.status, s.rows) for s in seen.steps] == [
            ("retention", "public.t", StepStatus.RUNNING, 0)
        ]
        assert await database.values("select count(*) from t") == [4]
    done = await task
    assert (done.id, done.status, done.rows) == (run.id, RunStatus.SUCCEEDED, 3)
    assert await database.values("select count(*) from t") == [1]


async def test_a_batch_and_its_checkpoint_are_seen_together(database: Database) -> None:
    """While the first batch has deleted but not committed, the ledger still says that nothing went."""
    await expiring(database)
    await database.execute(
        "create function gate() returns trigger language plpgsql as $$ begin"
        " perform pg_advisory_xact_lock(7); return null; end $$;"
        "create trigger gate after delete on t for each statement execute function gate()"
    )
    seen = "select (select count(*) from t)::text || ' ' || rows || ' ' || batches from maintenance.step"
    async with application(database) as holder:
        await holder.execute("select pg_advisory_lock(7)")
        task = asyncio.create_task(database.run("retention"))
        await waiting(database)
        assert await database.values(seen) == ["4 0 0"]
        await holder.execute("select pg_advisory_unlock(7)")
        await task
    assert await database.values(seen) == ["1 3 1"]


async def test_a_step_records_what_it_did(database: Database) -> None:
    await expiring(database, expired=2000)
    before = (await database.values("select pg_total_relation_size('t')"))[0]
    run = await database.run("retention", "vacuum")
    done, vacuumed = step(run, "retention"), step(run, "vacuum")
    assert (done.rows, done.updated, done.strategy, done.error, done.sqlstate) == (2000, 0, "heap", None, None)
    assert done.batches >= 1
    assert 0 < done.seconds < 10
    assert done.bytes_before == before
    assert (vacuumed.bytes_before or 0) > (vacuumed.bytes_after or 0) > 0
    assert run.ended_at is not None
    assert run.as_of <= run.started_at <= run.ended_at
    assert (run.name, run.scheduler, run.rows) == ("retention vacuum", "test", 2000)
    changed = "select changed_at between $1 and $2 from maintenance.step where task = $3"
    assert await database.values(changed, run.started_at, run.ended_at, "retention") == [True]
    assert await database.values(changed, run.started_at, run.ended_at, "vacuum") == [None]
    assert await database.values("select changed_at from maintenance.step where run_id = $1",
                                 (await database.run("retention")).id) == [None]  # fmt: skip


async def test_an_absent_table_has_the_same_name_in_plan_run_and_ledger(database: Database) -> None:
    await database.execute("create table here (at timestamptz)")
    database.write_policy(_POLICY + '[[retention]]\ntable = "here"\ncolumn = "at"\nkeep = "1 day"\n')
    plan = await database.cli_json("plan", "retention")
    run = await database.cli_json("run", "retention")
    assert {s["table"] for s in plan["steps"]} == {s["table"] for s in run["steps"]} == {"t", "public.here"}
    assert await database.values("select table_name from maintenance.step order by 1") == ["public.here", "t"]
    (absent,) = [s["status"] for s in run["steps"] if s["table"] == "t"]
    assert (run["status"], absent) == ("succeeded", "absent")


async def test_history_shows_the_newest_run_first_and_every_way_in_which_a_run_ends(database: Database) -> None:
    await expiring(database)
    assert (await database.run("retention")).status is RunStatus.SUCCEEDED
    cut = Budget(0.000_001)
    await asyncio.sleep(0.001)
    await performed(Request(names=("retention",)), database.settings, budget=cut)
    async with locked(database, "t"):
        await database.run("retention", lock_timeout=0.05)
    async with connected(database.settings, name="holder") as holder:
        await holder.execute("select pg_advisory_lock(1296124238, 1)")
        await database.run("retention")
    await database.execute("update t set at = now() - interval '40 days'")
    await database.run("retention")
    document = await database.cli_json("history")
    assert [(r["status"], r["stop_reason"]) for r in document["runs"]] == [
        ("interrupted", "guard"),
        ("skipped", "lease"),
        ("failed", "lock"),
        ("interrupted", "budget"),
        ("succeeded", "done"),
    ]
    ids = [r["id"] for r in document["runs"]]
    assert ids == sorted(ids, reverse=True)
    assert [r.id for r in await Ledger(database.connection).runs(2)] == ids[:2]
    one = await database.cli_json("history", "--run", str(ids[-1]))
    assert (one["id"], one["steps"][0]["rows"]) == (ids[-1], 3)


async def test_runs_older_than_the_ledger_keeps_go_with_their_steps_and_nothing_else_does(database: Database) -> None:
    await expiring(database)
    runs = [(await database.run("retention")).id for _ in range(3)]
    for run, age in zip(runs, ("3 hours", "61 minutes", "59 minutes"), strict=True):
        await database.execute(
            f"update maintenance.run set started_at = now() - interval '1 day', ended_at = now() - interval '{age}'"
            f" where id = {run}"
        )
    last = await database.run("retention", ledger_keep=3600.0)
    assert [run.id for run in await Ledger(database.connection).runs(10)] == [last.id, runs[2]]
    assert await database.values("select distinct run_id from maintenance.step order by 1") == [runs[2], last.id]


async def test_a_step_that_never_got_its_turn_keeps_the_place_where_an_earlier_run_stopped(database: Database) -> None:
    await expiring(database)
    await database.run("retention")
    await database.execute(
        """update maintenance.step set status = 'interrupted', stop_reason = 'budget', cursor = '{"block": 5}'"""
    )
    cut = Budget(0.000_001)
    await asyncio.sleep(0.001)
    starved = await performed(Request(names=("retention",)), database.settings, budget=cut)
    assert step(starved, "retention").stop_reason is StopReason.BUDGET
    (left,) = [c for c in (await carried(database.connection)).values() if c.cursor is not None]
    assert left.cursor is not None
    assert left.cursor["block"] == 5


async def test_installing_twice_changes_nothing_and_keeps_the_runs(database: Database) -> None:
    await expiring(database)
    ledger = Ledger(database.connection)
    assert not await ledger.installed()
    assert await database.cli_json("install") == {"installed": True}
    made = await shape(database.connection)
    assert {"rrun", "rstep"} <= set(made)
    run = await database.run("retention")
    assert await database.cli_json("install") == {"installed": True}
    assert await shape(database.connection) == made
    assert [r.id for r in await ledger.runs(10)] == [run.id]


async def test_many_sessions_may_install_at_once(database: Database) -> None:
    async def install() -> None:
        async with application(database) as connection:
            await Ledger(connection).install()

    await asyncio.gather(*(install() for _ in range(8)))
    assert await Ledger(database.connection).installed()


async def test_who_waited_for_another_to_install_leaves_the_ledger_to_those_at_work_in_it(database: Database) -> None:
    async with connected(database.settings, name="maintenance run") as ours, application(database) as first:
        await first.execute("begin; select pg_advisory_xact_lock(1296124238, 2)")
        installing = asyncio.create_task(Ledger(ours).install())
        await waiting(database)
        await first.execute(script("install/ledger"))
        await first.execute("commit; begin; lock table maintenance.step in row exclusive mode")
        await asyncio.wait_for(installing, 10)
