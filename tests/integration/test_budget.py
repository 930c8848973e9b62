"""A run ends inside its budget, and the next goes on from where it stopped, with nobody starved."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.runs import Run
from tests.databases import Database, step

_BUDGET = 0.5
_TINY = 0.001


async def _filled(database: Database, table: str, rows: int = 30_000, *, indexed: bool = False) -> None:
    """A table whose rows with an odd id are expired, in nearly empty blocks, so that it has many of them and an updated
    row stays in its own. Ten deletes take 1 ms at least: how much a budget is worth is much the same on every machine.
    """
    await database.execute(
        f"create table {table} (id int, at timestamptz) with (fillfactor = 10);"
        f"insert into {table} select i, now() - i * interval '1 second' - case when i % 2 = 1 then interval '40 days'"
        f" else interval '1 day' end from generate_series(1, {rows}) i;"
        "create or replace function slow() returns trigger language plpgsql as"
        " 'begin if old.id % 20 = 1 then perform pg_sleep(0.001); end if; return null; end';"
        f"create trigger slow after delete on {table} for each row execute function slow()"
    )
    if indexed:
        await database.execute(f"create index on {table} (at)")


def _retention(*tables: str) -> str:
    return "".join(f'[[retention]]\ntable = "{table}"\ncolumn = "at"\nkeep = "30 days"\n' for table in tables)


async def _within_budget(database: Database, budget: float = _BUDGET) -> Run:
    began = time.monotonic()
    run = await database.run("retention", budget=budget, batch_target=_TINY)
    assert time.monotonic() - began < budget + 1
    return run


async def _cursor(database: Database, run: Run, table: str) -> dict[str, Any] | None:
    (text,) = await database.values(
        "select cursor::text from maintenance.step where run_id = $1 and table_name = $2", run.id, table
    )
    found: dict[str, Any] | None = json.loads(text) if text else None
    return found


@pytest.mark.parametrize(("indexed", "strategy", "place"), [(False, "heap", "block"), (True, "keyset", "after")])
async def test_several_runs_finish_the_work_each_going_on_from_the_stored_cursor(
    database: Database, indexed: bool, strategy: str, place: str
) -> None:
    await _filled(database, "events", indexed=indexed)
    database.write_policy(_retention("events"))
    places: list[Any] = []
    gone = 0
    for _ in range(30):
        run = await _within_budget(database)
        gone += run.rows
        (done,) = run.steps
        assert done.strategy == strategy
        if run.status is RunStatus.SUCCEEDED:
            break
        assert (run.status, run.stop_reason, done.stop_reason) == ("interrupted", "budget", "budget")
        cursor = await _cursor(database, run, "public.events")
        assert cursor is not None
        # A pass that began anew and had no time left for a batch stands before all rows.
        places.append("" if cursor[place] is None else cursor[place])
    else:
        pytest.fail(f"not finished after 30 runs; places {places}")
    laps = [n for n in range(1, len(places)) if places[n] < places[n - 1]]
    assert len(places) >= 2, "the budget was never used up, so this test showed nothing"
    assert len(set(places)) == len(places)
    assert len(laps) <= 1, f"began again more than once: {places}"
    assert gone == 15_000
    assert await database.values("select count(*) from events where id % 2 = 1") == [0]
    assert await database.values("select count(*) from events") == [15_000]


@pytest.mark.parametrize("indexed", [False, True])
async def test_rows_that_expire_in_what_is_already_passed_are_gone_in_the_end(
    database: Database, indexed: bool
) -> None:
    await _filled(database, "events", indexed=indexed)
    database.write_policy(_retention("events"))
    first = await _within_budget(database)
    assert first.stop_reason is StopReason.BUDGET
    before = await database.values("select ctid::text from events where id = 2")
    await database.execute("update events set at = now() - interval '50 days' where id = 2")
    after = await database.values("select ctid::text from events where id = 2")
    assert indexed or [a.split(",")[0] for a in after] == [b.split(",")[0] for b in before] == ["(0"]
    last = await database.run("retention")
    assert last.status is RunStatus.SUCCEEDED
    assert await database.values("select count(*) from events where id % 2 = 1 or id = 2") == [0]
    assert (await database.run("retention")).rows == 0


async def test_a_huge_first_table_does_not_starve_those_after_it(database: Database) -> None:
    await _filled(database, "huge")
    await _filled(database, "small", 10)
    database.write_policy(_retention("huge", "small"))
    first = await _within_budget(database)
    assert [(s.table, s.status, s.stop_reason) for s in first.steps] == [
        ("public.huge", StepStatus.INTERRUPTED, StopReason.BUDGET),
        ("public.small", StepStatus.INTERRUPTED, StopReason.BUDGET),
    ]
    assert step(first, "retention", "public.small").batches == 0
    second = await _within_budget(database)
    assert [s.table for s in second.steps] == ["public.small", "public.huge"]
    assert second.steps[0].status is StepStatus.SUCCEEDED
    assert await database.values("select count(*) from small") == [5]


async def test_of_three_huge_tables_each_has_had_its_turn_after_three_runs(database: Database) -> None:
    for table in ("a", "b", "c"):
        await _filled(database, table)
    database.write_policy(_retention("a", "b", "c"))
    for _ in range(3):
        assert (await _within_budget(database)).stop_reason is StopReason.BUDGET
    had = await database.values("select distinct table_name from maintenance.step where batches > 0 order by 1")
    assert had == ["public.a", "public.b", "public.c"]


async def test_a_step_that_cannot_do_even_one_batch_does_not_starve_those_after_it(database: Database) -> None:
    await _filled(database, "slow", 10)
    await _filled(database, "small", 10)
    await database.execute(
        "create function idle() returns trigger language plpgsql as 'begin perform pg_sleep(2); return old; end';"
        "create trigger idle before delete on slow for each row execute function idle()"
    )
    database.write_policy(_retention("slow", "small"))
    for _ in range(3):
        assert (await _within_budget(database)).stop_reason is StopReason.BUDGET
    assert await database.values("select count(*) from small") == [5]


async def test_a_first_batch_that_is_too_large_for_the_budget_is_made_smaller(database: Database) -> None:
    """Each delete takes more than 1 ms: 1,000 of them, which the first batch would be, are far more than the budget."""
    await _filled(database, "slow", 4_000)
    await database.execute(
        "create or replace function slow() returns trigger language plpgsql as"
        " 'begin perform pg_sleep(0.001); return null; end'"
    )
    database.write_policy(_retention("slow"))
    run = await _within_budget(database, 0.6)
    assert run.stop_reason is StopReason.BUDGET
    assert 0 < run.rows < 2_000


async def test_tables_that_the_application_has_locked_do_not_make_a_run_outlast_its_budget(database: Database) -> None:
    tables = [f"t{n}" for n in range(6)]
    for table in tables:
        await _filled(database, table, 10)
    database.write_policy(_retention(*tables))
    async with database.connection.transaction():
        await database.execute(f"lock table {', '.join(tables)} in access exclusive mode")
        database.write_policy(_retention(*tables))
        run = await _within_budget(database, 0.5)
    assert run.rows == 0
    assert run.status in (RunStatus.INTERRUPTED, RunStatus.FAILED)


async def test_the_command_line_ends_with_3_when_work_is_left(database: Database) -> None:
    await _filled(database, "events")
    database.write_policy(_retention("events"))
    environment = {"MAINTENANCE_BATCH_TARGET": "1ms"}
    run = await database.cli_json("run", "retention", "--budget", "600ms", exit_code=3, **environment)
    assert (run["status"], run["stop_reason"]) == ("interrupted", "budget")
    assert 0 < run["rows"] < 15_000
    assert (await database.cli_json("run", "retention"))["rows"] == 15_000 - run["rows"]
