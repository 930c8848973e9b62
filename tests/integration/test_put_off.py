"""A VACUUM that is not expected to end within the budget is put off and named; nobody waits behind it for ever."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from maintenance import trigger
from maintenance.models import RunStatus, StepStatus, StopReason
from tests.databases import Database, planned_step, step
from tests.sessions import counted, locked, waiting

_QUIET = "with (autovacuum_enabled = false)"
_POLICY = "[vacuum]\ndead_rows = 0\ndead_fraction = 0\ninsert_rows = 100\ninsert_fraction = 0\n"


async def needy(database: Database, **rows: int) -> None:
    """Tables that need a VACUUM, and have had one that took no time to speak of."""
    database.write_policy(_POLICY)
    for name, number in rows.items():
        await database.execute(f"create table {name} {_QUIET} as select generate_series(1, {number}) id")
    await counted(database)
    await database.run("vacuum")
    for name, number in rows.items():
        await database.execute(f"insert into {name} select generate_series(1, {number})")
    await counted(database)


async def took(database: Database, table: str, seconds: float) -> None:
    """So long took its last VACUUM, says the ledger."""
    await database.connection.execute(
        "update maintenance.step set seconds = $2 where table_name = 'public.' || $1 and status = 'succeeded'",
        table, seconds,
    )  # fmt: skip


async def vacuumed(database: Database) -> dict[str, datetime]:
    found = await database.connection.fetch(
        "select relname, last_vacuum from pg_stat_user_tables where last_vacuum > '2000-01-01'"
    )
    return {row["relname"]: row["last_vacuum"] for row in found}


async def test_what_would_not_fit_into_the_whole_budget_is_named_with_its_remedy_and_starves_nobody(
    database: Database,
) -> None:
    await needy(database, large=900, small=300)
    await took(database, "large", 839)
    before = await vacuumed(database)
    plan = await database.plan("vacuum")
    assert planned_step(plan, "vacuum", "public.large").expected == pytest.approx(839, abs=1)
    for _ in range(2):
        run = await database.run("vacuum", budget=300)
        after = await vacuumed(database)
        assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.BUDGET)
        off = step(run, "vacuum", "public.large")
        assert (off.status, off.stop_reason, off.batches) == (StepStatus.INTERRUPTED, StopReason.BUDGET, 0)
        assert off.error == run.error
        assert "about 14 min expected, the whole budget is 5 min" in (off.error or "")
        assert "`python -m maintenance run vacuum --tables public.large --budget 21m`" in (off.error or "")
        assert step(run, "vacuum", "public.small").status is StepStatus.SUCCEEDED
        assert after["large"] == before["large"]
        assert after["small"] > before["small"]
        await database.execute("insert into small select generate_series(1, 300)")
        await counted(database)
        before = after
    run = await database.run("vacuum", budget=3600)
    assert (run.status, [s.table for s in run.steps]) == (RunStatus.SUCCEEDED, ["public.large", "public.small"])
    # It took less this time.
    assert await database.values("select count(*) from maintenance.step where error is not null") == [2]
    assert (await vacuumed(database))["large"] > before["large"]


async def test_what_does_not_fit_into_what_is_left_goes_first_next_time(database: Database) -> None:
    await needy(database, slow=900, large=600, small=300)
    await took(database, "large", 1.6)
    async with locked(database, "slow", "share update exclusive"):
        running = asyncio.create_task(database.run("vacuum", budget=2))
        await waiting(database)
        await asyncio.sleep(0.5)
    run = await running
    assert [(s.table, s.stop_reason) for s in run.steps] == [
        ("public.slow", "done"), ("public.large", "budget"), ("public.small", "done"),
    ]  # fmt: skip
    assert (step(run, "vacuum", "public.large").error or "").startswith("put off: about 2 s expected, ")
    await database.execute("insert into slow select generate_series(1, 900)")
    await counted(database)
    run = await database.run("vacuum")
    assert (run.status, [s.table for s in run.steps]) == (RunStatus.SUCCEEDED, ["public.large", "public.slow"])


async def test_a_table_of_which_only_the_size_is_known_is_put_off_by_it(database: Database) -> None:
    """Its 16 MB take 0.6 s at the speed of a small disk."""
    database.write_policy(_POLICY)
    await database.execute(
        f"create table large {_QUIET} as select repeat('x', 7000) from generate_series(1, 2000);"
        "alter table large alter repeat set storage plain; truncate large;"
        "insert into large select repeat('x', 7000) from generate_series(1, 2000)"
    )
    await counted(database)
    run = await database.run("vacuum", budget=0.5)
    assert (step(run, "vacuum").error or "").startswith("put off: under 1 s expected, ")
    assert await database.values("select began_at from maintenance.step") == [None]
    assert (await database.run("vacuum")).status is RunStatus.SUCCEEDED


async def test_a_vacuum_that_the_budget_cut_off_is_expected_to_take_longer(database: Database) -> None:
    await needy(database, t=900)
    async with locked(database, "t", "share update exclusive"):
        run = await database.run("vacuum", budget=0.7)
    assert step(run, "vacuum").stop_reason is StopReason.BUDGET
    await database.execute("update maintenance.step set seconds = 100 where status = 'interrupted'")
    assert planned_step(await database.plan("vacuum"), "vacuum").expected == 200
    run = await database.run("vacuum", budget=150)
    assert "put off" in (step(run, "vacuum").error or "")
    assert (await database.run("vacuum")).status is RunStatus.SUCCEEDED
    await database.execute("insert into t select generate_series(1, 900)")
    await counted(database)
    assert (planned_step(await database.plan("vacuum"), "vacuum").expected or 0) < 60


async def test_a_table_that_somebody_has_locked_is_planned_without_waiting_for_its_size(database: Database) -> None:
    database.write_policy(_POLICY)
    for name in ("a", "b"):
        await database.execute(f"create table {name} {_QUIET} as select generate_series(1, 200) id")
    await counted(database)
    async with locked(database, "a"):
        plan = await asyncio.wait_for(database.plan("vacuum", lock_timeout=60), 20)
    known = {str(s.table): s.expected is not None for s in plan.steps}
    assert known == {"public.a": False, "public.b": True}


async def test_a_run_in_slices_does_not_go_on_for_ever_over_what_never_fits(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await needy(database, large=900, small=300)
    await took(database, "large", 839)
    settings = {"AzureWebJobsStorage": "a queue", "MAINTENANCE_BUDGET": "5m", "MAINTENANCE_SLICES": "9"}
    for name, value in {**database.environment, **settings}.items():
        monkeypatch.setenv(name, value)
    messages = await trigger.tick("weekly-vacuum")
    slices = 1
    while messages:
        (message,) = messages
        messages = await trigger.received(message.encode())
        slices += 1
    assert slices == 2
    last = "select status || ' ' || stop_reason from maintenance.step where run_id = 2 order by table_name"
    assert await database.values(last + " limit 2") == ["interrupted budget", "succeeded done"]
    assert await database.values("select status from maintenance.run where id = 2") == ["interrupted"]


async def test_the_command_line_shows_what_is_expected_and_what_was_put_off(database: Database) -> None:
    await needy(database, large=900, small=300)
    await took(database, "large", 839)
    planned = " ".join((await database.cli("plan", "vacuum")).stdout.split())
    assert "900 rows inserted since the last vacuum; about 14 min" in planned
    done = await database.cli("run", "vacuum", "--budget", "5m")
    assert done.returncode == 3
    shown = " ".join(done.stdout.split())
    assert "budget vacuum large: put off: about 14 min expected, the whole budget is 5 min" in shown
    document = await database.cli_json("plan", "vacuum")
    assert [round(one["expected"]) for one in document["steps"]] == [839]
