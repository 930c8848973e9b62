"""The server, or the application by its locks, refuses what a run wants; the next runs come to what the oracle says."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from maintenance.demo.server import Server
from tests.faults.rounds import Round, begun
from tests.faults.schedule import Schedule, rounds
from tests.faults.state import State
from tests.sessions import application, locked, waiting

_OURS = (
    "select pid from pg_stat_activity where application_name like 'maintenance run%' and datname = current_database()"
)
_TOGETHER = """
    select array_agg(id order by ctid) from visits where at < now() - interval '35 days'
    group by (ctid::text::point)[0] having count(*) > 1 order by 1
"""
"""Expired rows that lie in one block, so that one batch takes them."""
_ROW = "for each row when (old.id = {id}) execute function slow()"


async def _reached(round_: Round, **environment: str) -> Process:
    process = await round_.started(**environment)
    await round_.reached(process, round_.schedule.chance.randrange(round_.state.gone * 7 // 10))
    return process


async def _terminated(round_: Round) -> None:
    process = await _reached(round_)
    ended = await round_.database.values(_OURS.replace("select pid", "select pg_terminate_backend(pid)"))
    told = await round_.ended(process, *((1, 2) if ended else (0,)))
    round_.hits = len(ended)
    assert not ended or told["error"]["type"] in ("ConnectionLost", "DatabaseError")


async def _cancelled(round_: Round) -> None:
    process = await _reached(round_)
    while process.returncode is None:
        for pid in await round_.database.values(_OURS):
            await round_.database.execute(f"select pg_cancel_backend({pid})")
        await asyncio.sleep(round_.schedule.chance.uniform(0.001, 0.05))
    await round_.ended(process, 0, 1, 3)


async def _timed_out(round_: Round) -> None:
    table, id_ = round_.schedule.chance.choice([("visits", 1501), ("samples", 1499), ("children", 501), ("twins", 5)])
    await round_.database.execute(
        "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(60); return old; end $$;"
        f"create trigger slow before delete on {table} {_ROW.format(id=id_)}"
    )
    told = await round_.ended(await round_.started(MAINTENANCE_BUDGET="2s"), 3)
    assert (told["status"], told["stop_reason"]) == ("interrupted", "budget")
    assert await round_.database.values(f"select count(*)::int from {table} where id = {id_}") == [1]
    await round_.database.execute(f"drop trigger slow on {table}")


async def _table_locked(round_: Round) -> None:
    table = round_.schedule.chance.choice(["visits", "samples", "logs", "twins", "children", "catalog"])
    process = await _reached(round_, MAINTENANCE_LOCK_TIMEOUT="100ms")
    async with locked(round_.database, table):
        await round_.ended(process, 0, 1, 3)
        told = await round_.ended(await round_.started(MAINTENANCE_LOCK_TIMEOUT="50ms"), 1)
        assert {step["sqlstate"] for step in told["steps"]} == {None, "55P03"}


async def _rows_locked(round_: Round) -> None:
    async with application(round_.database) as other:
        await other.execute("begin")
        held = 0
        for table in ("visits", "samples", "twins", "children"):
            first = round_.schedule.chance.randrange(2000)
            rows = f"select id from {table} where id between {first} and {first + 30} for update"
            held += len(await other.fetch(rows))
        told = await round_.ended(await round_.started(MAINTENANCE_LOCK_TIMEOUT="50ms"), 3)
        assert (told["status"], told["stop_reason"], held > 0) == ("interrupted", "lock", True)


async def _deadlocked(round_: Round) -> None:
    ours = round_.schedule.chance.random() < 0.5
    together = await round_.database.values(_TOGETHER)
    first, second = round_.schedule.chance.choice(together)[:2]
    await round_.database.execute(
        f"alter database {round_.database.name} set deadlock_timeout = '{'500ms' if ours else '20s'}'"
    )
    async with application(round_.database) as other:
        await other.execute(f"set deadlock_timeout = '{'20s' if ours else '10ms'}'")
        await other.execute("begin")
        # A batch takes them in this order: it has the first when it waits for the second.
        await other.execute(f"update visits set at = at where id = {second}")
        process = await round_.started(MAINTENANCE_LOCK_TIMEOUT="20s")
        await waiting(round_.database)
        update = other.execute(f"update visits set at = at where id = {first}")
        if ours:
            await update
            await other.execute("commit")
        else:
            with pytest.raises(asyncpg.DeadlockDetectedError):
                await update
            await other.execute("rollback")
        assert (await round_.ended(process, 0))["status"] == "succeeded"


_REFUSALS: dict[str, Callable[[Round], Awaitable[None]]] = {
    "backend terminated": _terminated,
    "statements cancelled": _cancelled,
    "statement time-out": _timed_out,
    "table locked by the application": _table_locked,
    "rows locked by the application": _rows_locked,
    "deadlock with the application": _deadlocked,
}


@pytest.mark.parametrize("schedule", rounds("refusal"))
async def test_after_a_refusal_the_next_runs_come_to_what_the_oracle_says(
    server: Server, state: State, tmp_path: Path, schedule: Schedule
) -> None:
    fault, refuse = list(_REFUSALS.items())[schedule.number % len(_REFUSALS)]
    async with begun(schedule, state, server, tmp_path) as round_:
        await refuse(round_)
        await round_.done()
        await round_.sound(fault)
