"""Retention lag: what a step leaves is told by its age; a run that misses its objective has failed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from maintenance.errors import PolicyError
from maintenance.models import DONE, Carried, RunStatus, StopReason
from maintenance.overdue import Overdue
from maintenance.runs import Run, StepResult
from tests.compiled import call, compile_policy
from tests.databases import Database

DAY = 86_400
RETENTION = '[[retention]]\ntable = "t"\ncolumn = "at"\nkeep = "30 days"\n'
ORPHANS = '[[orphans]]\ntables = ["t"]\ncolumn = "p"\nparent = "parent"\nparent_column = "id"\n'
DUPLICATES = '[[duplicates]]\ntables = ["t"]\nkey = ["p"]\nnewest = ["at"]\n'
OBJECTIVE = 'lag_objective = "2 days"\n'
# The oldest row is 40 days old, so it has been due for 10.
SCHEMA = """
create table parent (id int primary key); insert into parent select generate_series(1, 900);
create table t (id int primary key, at timestamptz, p int);
insert into t select n, now() - interval '39 days 23:59:59' + n * interval '1 hour', n from generate_series(0, 999) n;
"""
KEEP_OUT = """
create function refuse() returns trigger language plpgsql as $$begin raise exception 'no'; end$$;
create trigger refuse before delete on t for each row execute function refuse();
"""


async def day_later(database: Database, days: float = 1) -> None:
    """The ledger is so much older; the rows are what they were."""
    age = timedelta(days=days)
    await database.connection.execute(
        "update maintenance.run set as_of = as_of - $1::interval, started_at = started_at - $1::interval", age
    )


def only(run: Run, task: str = "retention") -> StepResult:
    (found,) = [step for step in run.steps if step.task == task]
    return found


def days(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / DAY, 2)


@pytest.mark.parametrize("index", [True, False])
async def test_a_retention_has_its_lag_before_and_after(database: Database, index: bool) -> None:
    await database.execute(SCHEMA + ("create index on t (at);" if index else "") + "analyze t")
    step = only(await database.run("retention", policy=RETENTION))
    assert step.strategy == ("keyset" if index else "heap")
    # Without an index nobody knows what nobody has looked at; the ledger knows of no earlier run.
    assert days(step.lag_before) == (10 if index else None)
    assert step.lag_after == 0
    await day_later(database)
    again = only(await database.run("retention"))
    # What came to be due since yesterday's run is at most as old as that.
    assert days(again.lag_before) == (0 if index else 1)
    assert again.lag_after == 0


@pytest.mark.parametrize("index", [True, False])
async def test_a_retention_that_was_kept_out_has_the_age_of_its_oldest_row(database: Database, index: bool) -> None:
    await database.execute(SCHEMA + KEEP_OUT + ("create index on t (at);" if index else "") + "analyze t")
    run = await database.run("retention", policy=RETENTION)
    assert run.status is RunStatus.FAILED
    assert days(only(run).lag_after) == 10


async def test_other_rules_have_been_due_since_they_were_last_done(database: Database) -> None:
    await database.execute(SCHEMA)
    first = only(await database.run("orphans", policy=ORPHANS), "orphans")
    assert (first.rows, first.lag_before, first.lag_after) == (100, None, 0)
    await day_later(database)
    await database.execute("insert into t values (5000, now(), 5000)" + ";" + KEEP_OUT)
    second = only(await database.run("orphans"), "orphans")
    # Before it began, nobody knew whether there was a violation.
    assert (second.status, second.lag_before, days(second.lag_after)) == ("failed", None, 1)
    await day_later(database)
    third = only(await database.run("orphans"), "orphans")
    assert (days(third.lag_before), days(third.lag_after)) == (2, 2)
    await database.execute("drop trigger refuse on t")
    fourth = only(await database.run("orphans"), "orphans")
    assert (fourth.rows, days(fourth.lag_before), fourth.lag_after) == (1, 2, 0)


async def test_a_rule_that_was_never_done_has_been_due_since_it_was_first_tried(database: Database) -> None:
    await database.execute(SCHEMA + KEEP_OUT)
    first = only(await database.run("orphans", policy=ORPHANS), "orphans")
    assert (first.lag_before, first.lag_after) == (None, None)
    await day_later(database, 5)
    second = only(await database.run("orphans"), "orphans")
    assert days(second.lag_after) == 5


@pytest.mark.parametrize("where", ["rule", "guards"])
async def test_a_run_that_leaves_something_for_too_long_has_failed_though_nothing_else_did(
    database: Database, where: str
) -> None:
    await database.execute(SCHEMA)
    slow = RETENTION + 'where = "pg_sleep(0.1) is not null"\n'
    policy = slow + (OBJECTIVE if where == "rule" else f"[guards]\n{OBJECTIVE}")
    short: dict[str, Any] = {"budget": 0.6, "count_timeout": 0.1}
    run = await database.run("retention", policy=policy, **short)
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.BUDGET)
    # No look at a glance can tell, and no run has tried it before.
    assert only(run).lag_after is None
    await day_later(database)
    run = await database.run("retention", **short)
    assert (run.status, days(only(run).lag_after)) == (RunStatus.INTERRUPTED, 1)
    await day_later(database, 1.5)
    run = await database.run("retention", **short)
    assert (run.status, run.stop_reason) == (RunStatus.FAILED, StopReason.OBJECTIVE)
    assert "wants gone has been due for 2.5 days, and lag_objective allows 2 days; the budget is used up" in str(
        run.error
    )


async def test_a_guard_that_nobody_looks_at_misses_the_objective(database: Database) -> None:
    await database.execute(SCHEMA)
    policy = ORPHANS + "max_rows = 5\n" + OBJECTIVE
    run = await database.run("orphans", policy=policy)
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.GUARD)
    await day_later(database, 3)
    run = await database.run("orphans")
    assert (run.status, run.stop_reason) == (RunStatus.FAILED, StopReason.OBJECTIVE)
    assert "max_rows = 5" in (run.error or "")


async def test_a_guard_that_stops_a_rule_in_its_plan_misses_the_objective_too(database: Database) -> None:
    await database.execute(SCHEMA + "drop table parent")
    run = await database.run("orphans", policy=ORPHANS + OBJECTIVE)
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.GUARD)
    await day_later(database, 3)
    run = await database.run("orphans")
    assert (run.status, run.stop_reason) == (RunStatus.FAILED, StopReason.OBJECTIVE)


async def test_a_rule_that_a_unique_index_proves_empty_is_never_late(database: Database) -> None:
    await database.execute(SCHEMA + "create unique index on t (p)")
    for _ in range(2):
        step = only(await database.run("duplicates", policy=DUPLICATES + OBJECTIVE), "duplicates")
        assert (step.strategy, step.lag_after) == ("catalog", 0)
        await day_later(database, 5)


async def test_vacuum_statistics_and_absent_tables_have_no_lag(database: Database) -> None:
    await database.execute(SCHEMA)
    policy = RETENTION + RETENTION.replace('"t"', '"gone"') + f"[guards]\n{OBJECTIVE}"
    run = await database.run("retention", "vacuum", policy=policy)
    lags = {(step.task, step.table): step.lag_after for step in run.steps}
    assert lags == {("retention", "public.t"): 0, ("retention", "gone"): None, ("vacuum", "public.t"): None}


async def test_a_failed_step_is_named_before_an_objective_that_was_missed(database: Database) -> None:
    await database.execute(SCHEMA + KEEP_OUT + "create index on t (at)")
    run = await database.run("retention", policy=RETENTION + OBJECTIVE)
    assert (run.status, run.stop_reason) == (RunStatus.FAILED, StopReason.ERROR)


@pytest.mark.parametrize("wrong", ["nonsense", "0 days", "-1 day", "1000 years"])
async def test_an_objective_that_is_no_span_is_refused_before_anything_is_touched(
    database: Database, wrong: str
) -> None:
    await database.execute(SCHEMA)
    with pytest.raises(PolicyError, match=f"lag_objective = '{wrong}'"):
        await database.run("retention", policy=RETENTION + f'lag_objective = "{wrong}"\n')
    assert await database.values("select count(*) from t") == [1000]


async def test_a_rule_that_deletes_nothing_while_its_table_grows_says_so(database: Database) -> None:
    await database.execute("create table t (id serial, at timestamptz, filler text)")
    notes = []
    for _ in range(11):
        # The application writes a time that never comes to be old.
        await database.execute(
            "insert into t (at, filler) select now() + interval '1 year', repeat('x', 500) from generate_series(1, 200)"
        )
        notes.append(only(await database.run("retention", policy=RETENTION)).note)
    assert notes[:10] == [None] * 10
    assert "deleted nothing in its last 10 turns, while the table grew from " in (notes[10] or "")


async def test_a_rule_whose_table_stays_as_it_is_may_be_idle(database: Database) -> None:
    await database.execute("create table t (at timestamptz); insert into t values (now())")
    assert [only(await database.run("retention", policy=RETENTION)).note for _ in range(11)] == [None] * 11


async def test_the_compiled_policy_has_the_same_lag_and_objective(database: Database) -> None:
    await database.execute(SCHEMA)
    database.write_policy(ORPHANS + "max_rows = 5\n" + RETENTION + OBJECTIVE + f"[guards]\n{OBJECTIVE}", guarded=True)
    await compile_policy(database)
    run = await call(database)
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.GUARD)
    assert (only(run).lag_after, only(run, "orphans").lag_after) == (0, None)
    await day_later(database, 3)
    run = await call(database)
    assert (run.status, run.stop_reason) == (RunStatus.FAILED, StopReason.OBJECTIVE)
    assert (days(only(run).lag_before), only(run).lag_after) == (3, 0)
    late = only(run, "orphans")
    assert (days(late.lag_before), days(late.lag_after)) == (3, 3)
    assert "'p -> parent.id' wants gone has been due for 3 days" in (run.error or "")
    assert "max_rows = 5" in (run.error or "")


async def test_a_clock_that_has_gone_back_makes_no_lag(database: Database) -> None:
    await database.execute(SCHEMA)
    database.write_policy(ORPHANS + "max_rows = 5\n", guarded=True)
    await compile_policy(database)
    await call(database)
    await day_later(database, -3)
    late = only(await call(database), "orphans")
    assert (late.lag_before, late.lag_after) == (None, None)


async def test_rows_without_an_age_are_not_called_nothing(database: Database) -> None:
    await database.execute(
        SCHEMA + "create index on t (at); update t set at = now() where at < now() - interval '30 days'"
    )
    await database.execute("insert into t values (9999, '-infinity')")
    await database.execute(KEEP_OUT)
    first = only(await database.run("retention", policy=RETENTION))
    assert (first.status, first.lag_after) == ("failed", None)
    await day_later(database, 4)
    assert days(only(await database.run("retention")).lag_after) == 4


async def test_a_partition_that_is_left_is_not_called_nothing_where_a_look_takes_too_long(database: Database) -> None:
    await database.execute(
        "create table t (id int, at timestamptz not null) partition by range (at);"
        "create table t_old partition of t for values from ('2000-01-01') to ('2020-01-01');"
        "create table t_now partition of t for values from ('2020-01-01') to ('2200-01-01');"
        "insert into t select n, now() - interval '120 days' from generate_series(1, 200000) n;"
        "insert into t values (0, now())"
    )
    plan = await database.plan("retention", policy=RETENTION + 'boundary = "leave"\n')
    (whole,) = [step for step in plan.steps if step.strategy == "partition"]
    past = Carried(
        strategy="partition", cursor=None, starved=False, last_turn=1, since=plan.as_of - timedelta(days=3),
        unfinished=False,
    )  # fmt: skip
    connection = database.connection
    for before, seconds in ((None, None), (past, 3 * DAY)):
        overdue = Overdue(step=whole, past=before, as_of=plan.as_of)
        await connection.execute("set statement_timeout = 0")
        assert days(await overdue.after(connection, DONE)) == 90
        await connection.execute("set statement_timeout = 1")
        assert await overdue.after(connection, DONE) == seconds
    await connection.execute("reset statement_timeout")
