"""The situation of a real database: what a report tells of it, and what it does not make up."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from maintenance import gathering
from maintenance.bands import Band
from maintenance.check.thresholds import Thresholds
from maintenance.errors import LedgerError
from maintenance.gathering import gathered
from maintenance.models import RunStatus, StopReason
from maintenance.report.page import html
from maintenance.report.situation import MOST_RUNS, Situation
from maintenance.report.standing import State, standing
from tests import checks
from tests.databases import Database
from tests.days import SCHEDULES, lived
from tests.sessions import counted

POLICY = """
[[retention]]
table = "log"
column = "at"
keep = "30 days"

[health]
database = { good = "1TB", warning = "2TB" }
duration = { good = "1 hour", warning = "2 hours" }
rows = [
  { table = "log", good = 10, warning = 20, crisis = 30 },
  { table = "gone", good = 10, warning = 20 },
  { table = "fresh", good = 10, warning = 20 },
]
"""


_MANY = """
insert into maintenance.run
    (name, status, stop_reason, scheduler, as_of, started_at, ended_at, rows, spent, database_bytes)
select case n % 7 when 0 then 'weekly-vacuum' else 'daily-cleanup' end, 'succeeded', 'done', 'timer', at, at,
       at + interval '3 min', n, 180, 1000000::bigint * n
from generate_series(1, 5000) n, lateral (select now() - (5001 - n) * interval '26 minutes') as i (at);
insert into maintenance.step (run_id, task, table_name, strategy, rule, summary, status, stop_reason, rows, batches,
                              seconds, bytes_before, bytes_after, lag_after, dead_before)
select r.id, 'retention', 'public.t' || t, 'keyset', 'r', repeat('word ', 40), 'succeeded', 'done', t, 3,
       1, 1e6, 1e6, 0, 10
from maintenance.run r, generate_series(1, 40) t;
analyze maintenance.run, maintenance.step
"""


@pytest.fixture
async def log(database: Database) -> Database:
    await database.execute(
        "create table log (id int, at timestamptz) with (autovacuum_enabled = false);"
        "insert into log select n, now() - n * interval '1 day' from generate_series(1, 50) n;"
        "create table fresh (id int) with (autovacuum_enabled = false)"
    )
    await counted(database)
    database.write_policy(POLICY)
    return database


def bands(situation: Situation) -> dict[str, Band]:
    return {gauge.name: gauge.band for gauge in situation.gauges}


async def test_where_no_run_has_been_there_is_no_ledger_and_none_is_made(log: Database) -> None:
    situation = await gathered(log.settings)
    assert (situation.ledger, situation.runs, situation.lags, situation.next_runs) == (False, (), (), ())
    assert situation.unscheduled
    assert standing(situation).state is State.ATTENTION  # the log is larger than its limits, whoever has run
    assert bands(situation)["duration"] is Band.UNKNOWN
    assert not [reason for reason in standing(situation).reasons if "nobody knows" in reason]
    assert await log.values("select count(*) from pg_namespace where nspname = 'maintenance'") == [0]


async def test_a_run_is_told_with_its_steps_its_lag_and_the_gauges(log: Database) -> None:
    run = await log.run("retention")
    await log.execute("analyze log")
    situation = await gathered(replace(log.settings, schedules=SCHEDULES))
    assert [(r.id, len(r.steps)) for r in situation.runs] == [(run.id, 1)]
    assert [r.id for r in situation.latest] == [run.id]
    assert [(lag.table, lag.seconds) for lag in situation.lags] == [("public.log", 0)]
    assert {n.name for n in situation.next_runs} == {"daily-cleanup", "weekly-vacuum"}
    assert bands(situation) == {
        "database": Band.GOOD, "rows of log": Band.WARNING, "rows of gone": Band.UNKNOWN, "rows of fresh": Band.UNKNOWN,
        "duration": Band.GOOD,
    }  # fmt: skip
    assert [reason.split(": ") for reason in standing(situation).reasons if "nobody knows" in reason] == [
        ["rows of gone has limits, and nobody knows how it stands", "there is no such table here"],
        ["rows of fresh has limits, and nobody knows how it stands", "it has never been analyzed; ANALYZE it"],
    ]
    assert next(g.value for g in situation.gauges if g.name == "rows of log") == 29
    assert [(c.name, c.points[0][1]) for c in situation.course.removed] == [("retention", run.rows)]
    assert [c.points[-1][1] for c in situation.course.database_sizes] == [run.database_bytes]


async def test_dead_rows_are_those_that_the_first_step_of_a_day_found(log: Database) -> None:
    await log.execute("update log set id = id")
    await counted(log)
    (dead,) = await log.values("select n_dead_tup from pg_stat_user_tables where relname = 'log'")
    await log.run("retention")
    assert await log.values("select dead_before from maintenance.step") == [dead]
    (curve,) = (await gathered(log.settings)).course.dead_rows
    assert (curve.name, curve.points[0][1]) == ("public.log", dead)


async def test_a_skipped_run_does_not_hide_how_the_last_one_ended(log: Database) -> None:
    await log.run("retention")
    await log.execute("update maintenance.run set status = 'failed', stop_reason = 'error'")
    await log.execute(
        "insert into maintenance.run (name, status, stop_reason, scheduler, as_of)"
        " values ('retention', 'skipped', 'lease', 'x', now())"
    )
    situation = await gathered(log.settings)
    assert [run.status for run in situation.runs] == [RunStatus.SKIPPED, RunStatus.FAILED]
    assert [run.status for run in situation.latest] == [RunStatus.FAILED]


async def test_a_role_that_may_not_read_the_ledger_is_told_what_to_grant(log: Database) -> None:
    await log.run("retention")
    await log.execute("drop role if exists stranger; create role stranger login password 'x'")
    target = replace(log.settings.required_target(), user="stranger", password="x")
    try:
        with pytest.raises(LedgerError, match="GRANT USAGE ON SCHEMA maintenance TO stranger"):
            await gathered(replace(log.settings, target=target))
    finally:
        await log.execute("drop role stranger")


async def test_a_paused_database_says_so(log: Database) -> None:
    await log.run("retention")
    await log.execute("insert into maintenance.pause (paused_by, reason) values ('me', 'moving')")
    reasons = standing(await gathered(log.settings)).reasons
    assert reasons[0].startswith("All runs of this database are paused since ")


async def test_timers_in_another_time_zone_are_not_guessed(log: Database) -> None:
    settings = replace(log.settings, schedules=SCHEDULES, time_zone="Europe/Berlin")
    assert [(n.at, "Europe/Berlin" in n.source) for n in (await gathered(settings)).next_runs] == [(None, True)] * 2


CALM = checks.POLICY
LIMITED = CALM.replace('keep = "30 days"', 'keep = "30 days"\nmax_rows = 10')
_CUT = """
insert into maintenance.run (name, status, stop_reason, scheduler, as_of, started_at, ended_at)
select 'daily-cleanup', 'interrupted', 'budget', 'timer', at, at, at from (select now() - interval '6 hours') as i (at)
"""
_MANY_NAMES = """
insert into maintenance.run (name, status, stop_reason, scheduler, as_of)
select 'duplicates ' || n, 'succeeded', 'done', 'cli', now() from generate_series(1, 25) n;
insert into maintenance.run (name, status, stop_reason, scheduler, as_of)
values ('weekly-vacuum', 'interrupted', 'budget', 'cli', now())
"""


async def reasons(database: Database, **changed: object) -> tuple[str, ...]:
    return standing(await gathered(replace(database.settings, **changed))).reasons  # type: ignore[arg-type]


async def age(database: Database, hours: int, where: str = "true") -> None:
    """Let these runs have been so many hours earlier."""
    await database.execute(
        f"update maintenance.run set started_at = started_at - interval '{hours} hours',"
        f" ended_at = ended_at - interval '{hours} hours' where {where}"
    )


async def test_all_is_not_well_where_nobody_had_the_time_to_look(database: Database) -> None:
    await checks.make(database)
    found = await gathering.situation(database.settings)
    assert (standing(found).state, found.unseen) == (State.WELL, ())
    unseen = await gathering.situation(database.settings, Thresholds(budget=0.01, look=0.01))
    assert standing(unseen).state is State.ATTENTION
    assert standing(unseen).reasons[-1].startswith("check could not look at the server")


async def test_a_run_for_some_tables_does_not_hide_how_the_one_for_all_ended(database: Database) -> None:
    await checks.make(database)
    await database.execute(_CUT)
    (said,) = await reasons(database)
    await database.run("daily-cleanup", tables=["item"])
    assert await reasons(database) == (said,)
    assert said.startswith("daily-cleanup was stopped by budget and left work")
    await database.run("daily-cleanup")
    assert await reasons(database) == ()


async def test_a_run_for_some_tables_that_failed_counts_until_one_has_done_them(database: Database) -> None:
    await checks.make(database)
    await database.run("daily-cleanup", tables=["item", "event"])
    await database.execute("update maintenance.run set status = 'failed', stop_reason = 'error' where tables <> '{}'")
    (said,) = await reasons(database)
    assert said.startswith("daily-cleanup of item, event failed")
    await database.run("daily-cleanup", tables=["item"])
    assert await reasons(database) == (said,)
    await database.run("daily-cleanup")
    assert await reasons(database) == ()


@pytest.mark.parametrize("days", [1, 32])
async def test_a_run_for_some_tables_is_not_the_one_that_was_due(database: Database, days: int) -> None:
    await checks.make(database)
    (now,) = await database.values("select now()")
    schedules = (("daily-cleanup", f"0 0 {(now.hour - 5) % 24} * * *"),)
    await age(database, 6 + 24 * days, "name = 'daily-cleanup'")
    await database.run("daily-cleanup", tables=["item"])
    found = [reason for reason in await reasons(database, schedules=schedules) if "has not begun since" in reason]
    assert len(found) == 1


async def test_what_a_run_has_left_is_older_by_now(database: Database) -> None:
    await checks.make(database)
    await database.execute("update maintenance.step set lag_after = 7200 where task = 'retention'")
    await age(database, 21)
    assert await reasons(database) == ()
    await age(database, 3)
    assert await reasons(database) == ("retention of event is 1.1 days behind: 2 h when run 1 left it, 1 day ago",)


async def test_a_rule_that_the_policy_has_no_more_is_not_behind(database: Database) -> None:
    await checks.make(database, LIMITED)
    await database.execute(
        "insert into event select 1000 + i, now() - interval '40 days' from generate_series(1, 100) i"
    )
    await database.run("daily-cleanup")
    behind = [lag.seconds for lag in (await gathered(database.settings)).lags if lag.table == "public.event"]
    assert [seconds > 0 for seconds in behind] == [True]
    # A run that could not plan has not seen it go, and one for other tables has not looked.
    await database.run("daily-cleanup", policy=CALM.replace("30 days", "60 days"), tables=["item"])
    assert len([lag for lag in (await gathered(database.settings)).lags if lag.seconds]) == 1
    await database.run("daily-cleanup", budget=0.0)
    assert len([lag for lag in (await gathered(database.settings)).lags if lag.seconds]) == 1
    await database.run("daily-cleanup")
    assert await reasons(database) == ()
    assert [lag.seconds for lag in (await gathered(database.settings)).lags if lag.table == "public.event"] == [0]
    # Nor is one of a task that has no rule any more.
    await database.run("daily-cleanup", policy=CALM.partition("[[duplicates]]")[0])
    assert {lag.task for lag in (await gathered(database.settings)).lags} == {"retention"}


async def test_of_many_names_the_newest_are_told(database: Database) -> None:
    await checks.make(database)
    await database.execute(_MANY_NAMES)
    assert (await reasons(database))[0].startswith("weekly-vacuum was stopped by budget")


async def test_five_thousand_runs_make_a_page_of_bounded_size_in_seconds(log: Database) -> None:
    await log.run("retention")
    await log.execute(_MANY)
    began = time.monotonic()
    situation = await gathered(log.settings)
    page = html(situation)
    assert time.monotonic() - began < 8
    assert len(situation.runs) == MOST_RUNS
    assert all(len(curve.points) <= 91 for curve in (*situation.course.removed, *situation.course.table_sizes))
    assert len(page) < 2_000_000


async def test_the_days_of_the_fleet_are_real_runs_on_as_many_days(fleet: Database) -> None:
    settings = replace(fleet.settings, schedules=SCHEDULES)
    await lived(settings, fleet.connection, 8)
    situation = await gathered(settings)
    days = {run.started_at.date() for run in situation.runs}
    assert len(days) in (8, 9)  # a day of the calendar may end in between
    by_status = [run for run in situation.runs if run.status is not RunStatus.SUCCEEDED]
    assert [run.stop_reason for run in by_status] == [StopReason.BUDGET]
    assert sum(1 for run in situation.runs if run.name == "weekly-vacuum") == 1
    for curves in (situation.course.removed, situation.course.durations, situation.course.database_sizes):
        assert max(len(curve.points) for curve in curves) >= 7
    assert situation.course.dead_rows
    assert standing(situation).state is State.WELL
