"""Random small tables: what goes into them, and ways to sweep them until nothing is left to do."""

from __future__ import annotations

import itertools
import json
import os
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from maintenance.ledger import Ledger
from maintenance.models import Cursor, StopReason
from maintenance.steps import Settled
from tests.compiled import call, compile_policy
from tests.databases import Database

# In CI the same examples come every time; elsewhere each session has its own, and a failing one is printed.
RANDOM = settings(
    max_examples=40, deadline=None, database=None, derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
_FILLER = "filler text default repeat('x', 2500)"
_DAY = date(2024, 2, 29)
_TEXTS = ("", " ", "a", "A", "ä", "a'b", 'a"b', "null", "%", "\\")
VALUES: dict[str, tuple[Any, ...]] = {
    "text": _TEXTS,
    "varchar(60)": _TEXTS,
    "integer": (-1, 0, 1, 2, 2**31 - 1),
    "bigint": (-1, 0, 1, 2, 2**31 - 1),
    "uuid": tuple(UUID(int=number) for number in (0, 1, 2, 2**127)),
    "date": tuple(_DAY + timedelta(days=days) for days in range(4)),
    "timestamp": tuple(datetime.combine(_DAY, time(hour)) for hour in range(4)),
    "timestamptz": tuple(datetime.combine(_DAY, time(hour), UTC) for hour in range(4)),
}
PAIRS = (
    ("text", "varchar(60)"), ("varchar(60)", "text"), ("text", "text"), ("integer", "bigint"), ("bigint", "integer"),
    ("uuid", "uuid"), ("date", "date"), ("timestamp", "timestamp"),
)  # fmt: skip
AGES = {"1 day": timedelta(days=1), "36 hours": timedelta(hours=36), "1 week 00:30": timedelta(days=7, minutes=30)}
MOMENTS = ("timestamptz", "timestamp", "date")
LIMITS: st.SearchStrategy[list[int] | None] = (
    st.none() | st.just([]) | st.lists(st.integers(1, 4), min_size=1, max_size=5)
)
"""None: the engine runs the steps. Numbers: the sizes of batches, each third of which is taken up as by another run. No
numbers: the procedures that the policy is compiled to do it all."""
_ENDS = {-(10**6): datetime.min.replace(tzinfo=UTC), 10**6: datetime.max.replace(tzinfo=UTC)}
HOURS = st.none() | st.integers(-60, 60) | st.sampled_from([0, *_ENDS])


class Outcome(NamedTuple):
    as_of: datetime
    rows: int
    updated: int
    stop_reasons: set[StopReason | None]


def few(data: st.DataObject, type_: str) -> st.SearchStrategy[Any]:
    """NULL or one of at most four values of a type: rows of an example shall meet."""
    values = data.draw(st.lists(st.sampled_from(VALUES[type_]), min_size=1, max_size=4, unique=True), type_)
    return st.sampled_from([None, *values])


def moment(type_: str, hours: int | None, cutoff: datetime) -> Any:
    """A moment some hours after the cutoff, or an end of time, which the driver writes as infinity."""
    if hours is None:
        return None
    whole = (_ENDS[hours] if hours in _ENDS else cutoff + timedelta(hours=hours)).replace(tzinfo=None)
    if type_ == "date":
        return whole.date()
    return whole.replace(tzinfo=UTC) if type_ == "timestamptz" else whole


async def made(
    database: Database, table: str, columns: dict[str, str], rows: list[tuple[Any, ...]], *, partitioned: bool = False
) -> None:
    """A table of these rows alone, in two partitions or one heap; a few rows fill a block."""
    shape = f"({', '.join(f'{name} {type_}' for name, type_ in columns.items())}, {_FILLER})"
    await database.execute(f"drop table if exists {table}")
    await database.execute(f"create table {table} {shape} {'partition by hash (row)' if partitioned else ''}")
    for half in (0, 1) if partitioned else ():
        values = f"with (modulus 2, remainder {half})"
        await database.execute(f"create table {table}_{half} partition of {table} for values {values}")
    await database.execute(f"alter table {table} alter filler set storage plain")
    # The driver would remember the types of the table that had this name before.
    await database.connection.reload_schema_state()
    await database.connection.copy_records_to_table(table, records=rows, columns=list(columns))


async def swept(database: Database, task: str, limits: list[int] | None) -> Outcome:
    """One run of a task, by the engine or by hand in batches of these sizes."""
    await Ledger(database.connection).install()
    await database.execute("truncate maintenance.run cascade")
    if not limits:
        if limits is None:
            run = await database.run(task, batch_target=0.0005)
        else:
            await compile_policy(database, batch_target=0.0005)
            run = await call(database)
            assert run.scheduler == "pg_cron"
        rows, updated = (sum(s.rows for s in run.steps), sum(s.updated for s in run.steps))
        return Outcome(run.as_of, rows, updated, {s.stop_reason for s in run.steps})
    plan = await database.plan(task)
    batches = []
    for step in plan.steps:
        cursor: Cursor | None = None
        for number, limit in enumerate(itertools.cycle(limits), start=1):
            assert number < 1000, f"{step} never ends; cursor {cursor}"
            async with database.connection.transaction():
                batches.append(await step.batch(database.connection, cursor, limit))
            if batches[-1].done:
                break
            cursor = json.loads(json.dumps(batches[-1].cursor))
            if number in (3, 7):
                # Another run is another session: what this one held is gone.
                await database.execute("close all")
                cursor = step.resume(cursor) if cursor else None
    reasons: set[StopReason | None] = {
        s.verdict.stop_reason if isinstance(s, Settled) else StopReason.DONE for s in plan.steps
    }
    return Outcome(plan.as_of, sum(b.rows for b in batches), sum(b.updated for b in batches), reasons)


async def assert_quiet(database: Database, task: str, table: str) -> None:
    """A second run changes nothing, not even the version of a row."""
    versions = f"select tableoid::text || ctid::text || xmin::text from {table} order by 1"
    before = await database.values(versions)
    again = await database.run(task)
    assert [(s.rows, s.updated) for s in again.steps] == [(0, 0)] * len(again.steps)
    assert await database.values(versions) == before
