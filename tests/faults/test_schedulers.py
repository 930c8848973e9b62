"""Two schedulers at once, and a holder of the lease that hangs: one works, the other is skipped and says so."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from maintenance.demo.server import Server
from tests.faults.rounds import begun
from tests.faults.schedule import Schedule, rounds
from tests.faults.state import State

_TOGETHER = """
    select count(*)::int from maintenance.run a join maintenance.run b on a.id < b.id
    where 'skipped' not in (a.status, b.status) and a.started_at < b.ended_at and b.started_at < a.ended_at
"""


@pytest.mark.parametrize("schedule", rounds("schedulers"))
async def test_of_two_schedulers_at_once_one_works_and_the_other_is_skipped(
    server: Server, state: State, tmp_path: Path, schedule: Schedule
) -> None:
    async with begun(schedule, state, server, tmp_path) as round_:
        first = await round_.started()
        await asyncio.sleep(schedule.chance.choice([0, 0, 0, schedule.chance.uniform(0, 0.3)]))
        second = await round_.started()
        told = await asyncio.gather(round_.ended(first, 0, 4), round_.ended(second, 0, 4))
        statuses = sorted(run["status"] for run in told)
        # On a busy machine the one may be over before the other has begun.
        assert statuses in (["skipped", "succeeded"], ["succeeded", "succeeded"])
        assert await round_.database.values(_TOGETHER) == [0]
        assert sorted(await round_.database.values("select status from maintenance.run")) == statuses
        for run in told:
            assert run["status"] != "skipped" or "Another run holds the lease" in run["error"]
        await round_.done()
        await round_.sound("two schedulers at once")


@pytest.mark.parametrize("schedule", rounds("hung"))
async def test_a_holder_of_the_lease_that_hangs_keeps_it_until_it_goes_on_or_is_killed(
    server: Server, state: State, tmp_path: Path, schedule: Schedule
) -> None:
    goes_on = schedule.number % 2 == 1
    async with begun(schedule, state, server, tmp_path) as round_:
        hung = await round_.started()
        await round_.reached(hung, schedule.chance.randrange(1, state.gone // 2))
        hung.send_signal(signal.SIGSTOP)
        if not await round_.lease_held():
            # On a busy machine it was over before; that shows nothing.
            hung.send_signal(signal.SIGCONT)
            await round_.ended(hung, 0)
            return
        skipped = await round_.ended(await round_.started(), 4)
        assert skipped["status"] == "skipped"
        assert "Another run holds the lease of this database ('maintenance run" in skipped["error"]
        if goes_on:
            hung.send_signal(signal.SIGCONT)
            assert (await round_.ended(hung, 0))["status"] == "succeeded"
        else:
            assert await round_.killed(hung)
        await round_.done()
        statuses = await round_.database.values("select status from maintenance.run order by id")
        assert statuses[:2] == ["succeeded" if goes_on else "interrupted", "skipped"]
        await round_.sound("holder of the lease hangs, " + ("then goes on" if goes_on else "then is killed"))
