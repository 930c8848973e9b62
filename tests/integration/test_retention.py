"""retention: a row is expired when column < as_of - keep; rows in, rows left."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from asyncpg import Connection

from maintenance.models import Cursor, RunStatus, StepStatus, StopReason
from maintenance.steps import Step
from tests.databases import Database, planned_step, step
from tests.sessions import application, waiting

POLICY = """
[[retention]]
table = "events"
column = "at"
keep = "30 days"
"""
EVENTS = """
create table events (name text, kind text, at {type});
insert into events values
    ('before all time',  'a',  '-infinity'),
    ('a year old',       'a',  now() - interval '365 days'),
    ('32 days old',      'b',  now() - interval '32 days'),
    ('32 days, no kind', null, now() - interval '32 days'),
    ('28 days old',      'a',  now() - interval '28 days'),
    ('new',              'b',  now()),
    ('of the future',    'b',  now() + interval '90 days'),
    ('after all time',   'a',  'infinity'),
    ('of no time',       'a',  null);
{index}
"""
NOT_EXPIRED = {"28 days old", "new", "of the future", "after all time", "of no time"}


async def left(database: Database, table: str = "events") -> set[str]:
    return set(await database.values(f"select name from {table}"))


async def drive(step: Step, connection: Connection, limit: int) -> list[int]:
    """The rows of each batch of that size."""
    rows: list[int] = []
    cursor: Cursor | None = None
    while True:
        batch = await step.batch(connection, cursor, limit)
        rows.append(batch.rows)
        cursor = batch.cursor
        if batch.done:
            return rows


LAYOUTS = [
    ("timestamptz", "", "heap"),
    ("timestamp", "", "heap"),
    ("date", "", "heap"),
    ("timestamptz", "create index on events (at)", "keyset"),
    ("timestamp", "create index on events (at)", "keyset"),
    ("date", "create index on events (at)", "keyset"),
    ("timestamptz", "create index on events (at desc)", "keyset"),
    ("timestamptz", "create index on events (at desc nulls last)", "keyset"),
    ("timestamptz", "create index on events (at, name)", "keyset"),
    ("timestamptz", "create index on events (name, at)", "heap"),
    ("timestamptz", "create index on events (at) where kind = 'a'", "heap"),
    ("timestamptz", "create index on events using brin (at)", "heap"),
    ("date", "create index on events ((at + 1))", "heap"),
]


async def test_every_type_and_every_index_leave_the_same_rows(database: Database) -> None:
    for number, (type_, index, _) in enumerate(LAYOUTS):
        await database.execute(
            EVENTS.format(type=type_, index=index) + f"; alter table events rename to events_{number}"
        )
    policy = "".join(POLICY.replace("events", f"events_{number}") for number in range(len(LAYOUTS)))
    plan = await database.plan("retention", policy=policy)
    assert [(s.strategy, s.rows, s.exact) for s in plan.steps] == [(strategy, 4, True) for *_, strategy in LAYOUTS]
    run = await database.run("retention")
    assert [(s.status, s.strategy, s.rows) for s in run.steps] == [("succeeded", s, 4) for *_, s in LAYOUTS]
    for number, layout in enumerate(LAYOUTS):
        assert (layout, await left(database, f"events_{number}")) == (layout, NOT_EXPIRED)
    assert (await database.run("retention")).rows == 0


@pytest.mark.parametrize("index", ["", "create index on events (at)"])
async def test_a_row_exactly_at_the_cutoff_stays_and_one_just_before_it_goes(database: Database, index: str) -> None:
    for type_ in ("timestamptz", "timestamp", "date"):
        await database.execute(f"create table events (name text, at {type_}); {index}")
        plan = await database.plan("retention", policy=POLICY)
        cutoff = plan.as_of.astimezone(UTC) - timedelta(days=30)
        tick = timedelta(days=1) if type_ == "date" else timedelta(microseconds=1)
        for name, moment in (("before", cutoff - tick), ("at", cutoff), ("after", cutoff + tick)):
            value = {"timestamp": moment.replace(tzinfo=None), "date": moment.date()}.get(type_, moment)
            await database.connection.execute("insert into events values ($1, $2)", name, value)
        await drive(planned_step(plan, "retention"), database.connection, 100)
        assert (type_, await left(database)) == (type_, {"at", "after"})
        await database.execute("drop table events")


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "America/New_York"])
async def test_the_time_zone_of_database_and_role_does_not_matter(database: Database, zone: str) -> None:
    await database.execute(f"alter database {database.name} set timezone = '{zone}'")
    await database.execute(f"alter role {database.server.user} in database {database.name} set timezone = '{zone}'")
    midnight = datetime.combine(datetime.now(UTC) - timedelta(days=30), time.min, UTC)
    moments = [midnight + timedelta(hours=hours) for hours in range(-72, 96, 3)]
    rows: dict[str, list[Any]] = {
        "timestamptz": moments,
        "timestamp": [moment.replace(tzinfo=None) for moment in moments],
        "date": [moment.date() for moment in moments],
    }
    for type_, values in rows.items():
        await database.execute(f"create table of_{type_} (at {type_})")
        await database.connection.executemany(f"insert into of_{type_} values ($1)", [(value,) for value in values])
    run = await database.run("retention", policy="".join(POLICY.replace("events", f"of_{type_}") for type_ in rows))
    cutoff = run.as_of.astimezone(UTC) - timedelta(days=30)
    bounds = {"timestamptz": cutoff, "timestamp": cutoff.replace(tzinfo=None), "date": cutoff.date()}
    for type_, values in rows.items():
        expected = [value for value in values if value >= bounds[type_]]
        assert 0 < len(expected) < len(values)
        assert await database.values(f"select at from of_{type_} order by at") == expected


WHERE = [
    ("kind = 'a'", "", {"before all time", "a year old"}),
    ("kind is null", "", {"32 days, no kind"}),
    ("kind <> 'a'", "", {"32 days old"}),
    ("kind = 'a' or kind = 'b'", "", {"before all time", "a year old", "32 days old"}),
    ("kind = 'a' or kind = 'b'", "create index on events (at)", {"before all time", "a year old", "32 days old"}),
    ("{table}.kind = 'b'", "create index on events (at)", {"32 days old"}),
    ("kind in (select 'b')", "", {"32 days old"}),
    ("name like '32%' and kind is null", "", {"32 days, no kind"}),
    ("false", "", set()),
]


async def test_where_narrows_a_rule_to_the_rows_for_which_it_is_true(database: Database) -> None:
    policy = ""
    for number, (where, index, _) in enumerate(WHERE):
        table = f"events_{number}"
        await database.execute(
            EVENTS.format(type="timestamptz", index=index) + f"; alter table events rename to {table}"
        )
        policy += POLICY.replace("events", table) + f'where = "{where.format(table=table)}"\n'
    everything = await left(database, "events_0")
    assert (await database.run("retention", policy=policy)).status is RunStatus.SUCCEEDED
    for number, (where, _, gone) in enumerate(WHERE):
        assert (where, await left(database, f"events_{number}")) == (where, everything - gone)


async def test_two_rules_of_one_table_with_different_where_each_take_their_own(database: Database) -> None:
    await database.execute(EVENTS.format(type="timestamptz", index=""))
    other = POLICY.replace("30 days", "90 days")
    run = await database.run("retention", policy=f"{POLICY}where = \"kind = 'b'\"\n{other}where = \"kind = 'a'\"")
    assert [(done.status, done.rows) for done in run.steps] == [("succeeded", 1), ("succeeded", 2)]
    assert await left(database) == {*NOT_EXPIRED, "32 days, no kind"}


GUARDED = [
    ("('old', 'a', 40), ('older', 'b', 50)", "", StopReason.GUARD, {"old", "older"}),
    ("('old', 'a', 40), ('older', 'b', 50)", "allow_empty = true", StopReason.DONE, set()),
    ("('old', 'a', 40), ('new', 'b', 1)", "", StopReason.DONE, {"new"}),
    ("('old', 'a', 40), ('undated', 'b', null)", "", StopReason.DONE, {"undated"}),
    ("('old', 'a', 40), ('older', 'a', 50)", "where = \"kind = 'a'\"", StopReason.GUARD, {"old", "older"}),
    ("('old', 'a', 40), ('older', 'b', 50)", "where = \"kind = 'a'\"", StopReason.DONE, {"older"}),
    ("('old', 'a', 40), ('older', null, 50)", "where = \"kind = 'a'\"", StopReason.DONE, {"older"}),
    ("('old', 'b', 40), ('older', 'b', 50)", "where = \"kind = 'a'\"", StopReason.DONE, {"old", "older"}),
    ("('new', 'a', 1)", "", StopReason.DONE, {"new"}),
    ("", "", StopReason.DONE, set()),
]


async def test_a_table_is_not_left_empty_unless_that_is_allowed(database: Database) -> None:
    policy = ""
    for number, (rows, more, *_) in enumerate(GUARDED):
        await database.execute(f"create table events_{number} (name text, kind text, at timestamptz)")
        policy += f"{POLICY.replace('events', f'events_{number}')}{more}\n"
        if rows:
            days = f"(values {rows}) v (n, k, d)"
            await database.execute(f"insert into events_{number} select n, k, now() - d * interval '1 day' from {days}")
    run = await database.run("retention", policy=policy)
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.GUARD)
    for number, (rows, more, reason, stays) in enumerate(GUARDED):
        done = step(run, "retention", f"public.events_{number}")
        assert (rows, more, done.stop_reason) == (rows, more, reason)
        assert (rows, more, await left(database, f"events_{number}")) == (rows, more, stays)
        assert ("allow_empty = true" in (done.error or "")) is (reason is StopReason.GUARD)


async def test_two_rules_do_not_empty_a_table_together(database: Database) -> None:
    await database.execute("create table events (name text, kind text, at timestamptz)")
    await database.execute("insert into events select k, k, now() - interval '1 year' from unnest('{a,b}'::text[]) k")
    run = await database.run("retention", policy=f"{POLICY}where = \"kind = 'a'\"\n{POLICY}where = \"kind = 'b'\"")
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.GUARD)
    assert await left(database) != set()


async def test_the_guard_stops_with_exit_code_3(database: Database) -> None:
    await database.execute("create table events (at date); insert into events values ('2001-01-01')")
    database.write_policy(POLICY)
    document = await database.cli_json("run", "retention", exit_code=3)
    assert (document["status"], document["stop_reason"], document["rows"]) == ("interrupted", "guard", 0)


async def test_a_missing_table_is_absent_and_the_others_are_done(database: Database) -> None:
    await database.execute(EVENTS.format(type="timestamptz", index=""))
    run = await database.run("retention", policy=POLICY.replace("events", "vanished") + POLICY)
    assert run.status is RunStatus.SUCCEEDED
    assert {(done.table, done.status) for done in run.steps} == {
        ("vanished", StepStatus.ABSENT), ("public.events", StepStatus.SUCCEEDED),
    }  # fmt: skip
    assert await left(database) == NOT_EXPIRED


@pytest.mark.parametrize(("index", "batches"), [("", 1), ("create index on events (at)", 10)])
async def test_more_rows_of_one_moment_than_a_batch_takes_all_go(database: Database, index: str, batches: int) -> None:
    await database.execute(f"create table events (name text, at timestamptz); {index}")
    await database.execute(
        "insert into events select 'tie', '2001-01-01 00:00:00.123456+00' from generate_series(1, 950)"
    )
    await database.execute(
        "insert into events values ('older', '2000-01-01'), ('younger', '2002-01-01'), ('new', now())"
    )
    found = planned_step(await database.plan("retention", policy=POLICY), "retention")
    rows = await drive(found, database.connection, 100)
    assert (sum(rows), len(rows) >= batches, max(rows) <= 100 or not index) == (952, True, True)
    assert await left(database) == {"new"}


async def test_a_run_takes_a_tie_of_many_batches(database: Database) -> None:
    await database.execute("create table events (name text, at timestamptz); create index on events (at)")
    await database.execute("insert into events select 'tie', '2001-01-01' from generate_series(1, 9000)")
    await database.execute("insert into events values ('new', now())")
    done = step(await database.run("retention", policy=POLICY), "retention")
    assert (done.strategy, done.rows, done.batches > 1) == ("keyset", 9000, True)
    assert await left(database) == {"new"}


@pytest.mark.parametrize("index", ["", "create index on events (at)"])
async def test_a_row_that_is_refreshed_between_plan_and_delete_stays(database: Database, index: str) -> None:
    await database.execute(EVENTS.format(type="timestamptz", index=index))
    found = planned_step(await database.plan("retention", policy=f"{POLICY}where = \"kind = 'a'\""), "retention")
    await database.execute("update events set at = now() where name = 'a year old'")
    await database.execute("update events set kind = 'c' where name = 'before all time'")
    await drive(found, database.connection, 100)
    assert found.rows == 2
    assert {"a year old", "before all time"} < await left(database)


async def test_a_tie_of_many_batches_is_not_over_since_somebody_took_one_of_its_rows(database: Database) -> None:
    await database.execute(
        "create table events (id int, at timestamptz); create index on events (at);"
        "insert into events select n, '2001-01-01' from generate_series(1, 9000) n;"
        "insert into events values (0, now())"
    )
    async with application(database) as other:
        await other.execute("begin; delete from events where id = 5")
        running = asyncio.create_task(database.run("retention", policy=POLICY, lock_timeout=30))
        await waiting(database)
        await other.execute("commit")
        run = await running
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 8999)
    assert await database.values("select id from events") == [0]
