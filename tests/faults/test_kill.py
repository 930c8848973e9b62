"""Our process is killed at a random moment, or told to stop; the next runs come to what the oracle says."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest

from maintenance.demo.server import Server
from tests.faults.rounds import begun
from tests.faults.schedule import Schedule, rounds
from tests.faults.state import State

_ENDS = 5.0
"""Seconds within which a run ends that was told to."""


@pytest.mark.parametrize("schedule", rounds("kill"))
async def test_after_a_kill_the_next_runs_come_to_what_the_oracle_says(
    server: Server, state: State, tmp_path: Path, schedule: Schedule
) -> None:
    chance = schedule.chance
    kills = chance.choice([1, 1, 2, 3])
    async with begun(schedule, state, server, tmp_path) as round_:
        killed = 0
        for _ in range(kills):
            process = await round_.started()
            if chance.random() < 0.2:
                # From the first instruction on: while it connects, makes the ledger, plans.
                await asyncio.sleep(chance.uniform(0, 0.6))
            else:
                await round_.reached(process, chance.randrange(state.gone * 8 // 10 // kills))
                await asyncio.sleep(chance.uniform(0, 0.02))
            killed += await round_.killed(process)
            assert await round_.lease_free()
            ledger = await round_.database.values("select to_regclass('maintenance.run') is not null")
            running = "select count(*)::int from maintenance.run where status = 'running'"
            assert not ledger[0] or (await round_.database.values(running))[0] <= 1
        run = await round_.done()
        assert killed or run.rows == 0
        round_.hits = killed
        await round_.sound("SIGKILL of the process")


@pytest.mark.parametrize("schedule", rounds("archive"))
async def test_after_a_kill_with_an_archive_its_sums_match(
    server: Server, state: State, tmp_path: Path, schedule: Schedule
) -> None:
    async with begun(schedule, state, server, tmp_path, archive=True) as round_:
        process = await round_.started()
        await round_.reached(process, schedule.chance.randrange(state.gone * 7 // 10))
        await asyncio.sleep(schedule.chance.uniform(0, 0.02))
        round_.hits = int(await round_.killed(process))
        await round_.done()
        await round_.sound("SIGKILL of the process, rules with an archive")


@pytest.mark.parametrize("schedule", rounds("sigterm"))
async def test_a_stop_signal_ends_the_run_after_the_batch_at_hand_and_the_next_goes_on(
    server: Server, state: State, tmp_path: Path, schedule: Schedule
) -> None:
    chance = schedule.chance
    number = chance.choice([signal.SIGTERM, signal.SIGTERM, signal.SIGINT])
    async with begun(schedule, state, server, tmp_path) as round_:
        process = await round_.started()
        await round_.reached(process, chance.randrange(1, state.gone * 7 // 10))
        process.send_signal(number)
        began = time.monotonic()
        run = await round_.ended(process, 0, 3)
        assert time.monotonic() - began < _ENDS
        # On a busy machine a run may be over before it hears of it.
        stopped = run["status"] == "interrupted"
        assert (run["status"], run["stop_reason"]) == (("interrupted", "budget") if stopped else ("succeeded", "done"))
        assert run["ended_at"] is not None
        assert 0 < run["rows"] <= state.gone - stopped
        assert {step["status"] for step in run["steps"]} <= {"succeeded", "interrupted"}
        round_.hits = int(stopped)
        await round_.done()
        await round_.sound("SIGTERM or SIGINT")
