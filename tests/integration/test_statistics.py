"""statistics: ANALYZE by need, and after a clean-up of exactly the tables that it changed."""

from __future__ import annotations

import pytest

from maintenance.ledger import Ledger
from maintenance.models import RunStatus, StepStatus, StopReason
from tests.databases import Database, planned_step, step
from tests.sessions import LEDGER_GRANTS, counted, role

_QUIET = "with (autovacuum_enabled = false)"
_THRESHOLDS = """
[vacuum]
analyze_rows = 100
analyze_fraction = 0.1
"""


async def made(database: Database, name: str, rows: int = 1000) -> None:
    """A table of that many rows, freshly analyzed, that autovacuum leaves alone."""
    await database.execute(f"create table {name} (id int, at timestamptz default now(), parent int) {_QUIET}")
    await database.execute(f"insert into {name} select generate_series(1, {rows}), now(), 1")
    await counted(database)
    await database.execute(f"vacuum (analyze) {name}")


async def analyzed(database: Database) -> dict[str, object]:
    """When each table was last analyzed."""
    sql = "select relname, last_analyze from pg_stat_user_tables where schemaname = 'public'"
    rows = await database.connection.fetch(sql)
    return {row["relname"]: row["last_analyze"] for row in rows}


_CHANGES = {
    "same": ("select", False),
    "few_updated": ("update few_updated set id = 0 where id <= 200", False),
    "updated": ("update updated set id = 0 where id <= 201", True),
    "deleted": ("delete from deleted where id <= 201", True),
    "inserted": ("insert into inserted select generate_series(1, 201)", True),
}


async def test_a_threshold_is_a_number_plus_a_share_of_the_rows(database: Database) -> None:
    for name, (change, _) in _CHANGES.items():
        await made(database, name)
        await database.execute(change)
    await counted(database)
    before = await analyzed(database)
    run = await database.run("statistics", policy=_THRESHOLDS)
    needy = {name for name, (_, needs_it) in _CHANGES.items() if needs_it}
    assert {(s.table, s.status) for s in run.steps} == {(f"public.{name}", StepStatus.SUCCEEDED) for name in needy}
    after = await analyzed(database)
    assert {name for name in after if after[name] != before[name]} == needy
    assert (await database.run("statistics")).steps == ()


async def test_the_neediest_table_goes_first_and_a_table_never_analyzed_is_in_need(database: Database) -> None:
    for name, changed in (("a", 300), ("b", 900), ("c", 600)):
        await made(database, name)
        await database.execute(f"delete from {name} where id <= {changed}")
    await database.execute(f'create table "never ""seen""" {_QUIET} as select 1 id; create table empty (id int)')
    await counted(database)
    plan = await database.plan("statistics", policy=_THRESHOLDS)
    assert planned_step(plan, "statistics", "public.b").summary == "900 rows changed since the last analyze"
    assert planned_step(plan, "statistics", 'public.never "seen"').summary == "never analyzed"
    run = await database.run("statistics")
    done = [s.table for s in run.steps]
    assert done == [str(s.table) for s in plan.steps] == ["public.b", "public.c", "public.a", 'public.never "seen"']
    assert (await database.run("statistics")).steps == ()


@pytest.mark.parametrize("group", ["statistics", "weekly-vacuum"])
async def test_a_partitioned_parent_is_analyzed_when_its_leaves_were_and_then_no_more(
    database: Database, group: str
) -> None:
    await database.execute(
        "create table parent (id int) partition by range (id);"
        "create table below partition of parent for values from (1) to (1000) partition by range (id);"
        f"create table leaf_1 partition of below for values from (1) to (500) {_QUIET};"
        f"create table leaf_2 partition of below for values from (500) to (1000) {_QUIET};"
        "insert into parent select generate_series(1, 999)"
    )
    await counted(database)
    run = await database.run(group, policy="[vacuum]\ndead_rows = 100\ninsert_rows = 100")
    assert run.status is RunStatus.SUCCEEDED
    stamps = await analyzed(database)
    assert all(stamps[name] is not None for name in ("leaf_1", "leaf_2", "below", "parent"))
    assert await database.values("select n_distinct from pg_stats where tablename = 'parent'") == [-1]
    assert (await database.run(group)).steps == ()
    assert await analyzed(database) == stamps


async def test_the_daily_cleanup_analyzes_exactly_the_tables_that_it_changed(database: Database) -> None:
    """Deleted from, rewritten, untouched by its rule, without a rule; the parent of orphans is only read."""
    for name in ("expired", "nothing_expired", "doubled", "orphaned", "no_rule", "parents", "uses"):
        await made(database, name)
    await database.execute(
        f"""
        update expired set at = now() - interval '31 days' where id = 1;
        insert into doubled values (1);
        update orphaned set parent = 7777 where id = 1;
        delete from no_rule;
        create table catalog {_QUIET} as select id, 0 as uses from generate_series(1, 1000) id;
        """
    )
    await counted(database)
    before = await analyzed(database)
    run = await database.run(
        "daily-cleanup",
        policy="""
        [[retention]]
        table = "expired"
        column = "at"
        keep = "30 days"
        [[retention]]
        table = "nothing_expired"
        column = "at"
        keep = "30 days"
        [[duplicates]]
        tables = ["doubled"]
        key = ["id"]
        newest = ["at"]
        [[orphans]]
        tables = ["orphaned"]
        column = "parent"
        parent = "parents"
        parent_column = "id"
        [[unreferenced]]
        table = "catalog"
        column = "id"
        references = [{ table = "uses", column = "id" }]
        count_column = "uses"
        [vacuum]
        tables = ["!expired"]
        """,
    )
    assert run.status is RunStatus.SUCCEEDED
    assert [(s.task, s.rows, s.updated) for s in run.steps if s.task != "statistics"] == [
        ("retention", 1, 0), ("retention", 0, 0), ("duplicates", 1, 0), ("orphans", 1, 0), ("unreferenced", 0, 1000),
    ]  # fmt: skip
    changed = {"expired", "doubled", "orphaned", "catalog"}
    assert {s.table for s in run.steps if s.task == "statistics"} == {f"public.{name}" for name in changed}
    after = await analyzed(database)
    assert {name for name in after if after[name] != before[name]} == changed
    again = await database.run("daily-cleanup")
    assert [s for s in again.steps if s.task == "statistics"] == []


async def test_a_change_of_an_earlier_run_without_statistics_is_made_up_for(database: Database) -> None:
    await made(database, "t")
    await database.execute("update t set at = now() - interval '31 days' where id = 1")
    policy = '[[retention]]\ntable = "t"\ncolumn = "at"\nkeep = "30 days"'
    assert (await database.run("retention", policy=policy)).rows == 1
    plan = await database.plan("daily-cleanup")
    assert planned_step(plan, "statistics").summary == "a run deleted from it"
    assert [s.table for s in (await database.run("daily-cleanup")).steps if s.task == "statistics"] == ["public.t"]


async def test_patterns_include_and_exclude_tables(database: Database) -> None:
    await database.execute(f"create table a {_QUIET} as select 1 id; create table b {_QUIET} as select 1 id")
    await counted(database)
    for patterns, taken in ((["*"], ["public.a", "public.b"]), (["!a"], ["public.b"]), (["a"], ["public.a"])):
        plan = await database.plan("statistics", policy=f"[vacuum]\ntables = {patterns!r}")
        assert sorted(str(s.table) for s in plan.steps) == taken


async def test_without_the_privilege_statistics_are_blocked_and_never_a_success(database: Database) -> None:
    await Ledger(database.connection).install()
    await database.execute(f"create table theirs {_QUIET} as select 1 id")
    await counted(database)
    async with role(database, *LEDGER_GRANTS, "create table ours (id int)", "insert into ours values (1)",
                    "alter table ours owner to {role}") as plain:  # fmt: skip
        await counted(database)
        run = await database.run("statistics", policy="", target=plain)
        ours, theirs = step(run, "statistics", "public.ours"), step(run, "statistics", "public.theirs")
        assert (ours.status, theirs.status) == (StepStatus.SUCCEEDED, StepStatus.BLOCKED)
        assert (run.status, run.stop_reason, theirs.stop_reason) == (
            RunStatus.FAILED, StopReason.BLOCKED, StopReason.BLOCKED,
        )  # fmt: skip
        assert (await analyzed(database))["theirs"] is None
        done = await database.cli("run", "statistics", PGUSER=plain.user or "", PGPASSWORD=plain.password or "")
        assert (done.returncode, "blocked" in done.stdout) == (1, True)
