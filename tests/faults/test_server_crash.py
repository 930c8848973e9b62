"""The server crashes or fails over in the middle of a run; the next runs come to what the oracle says."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from maintenance import settings
from maintenance.demo.server import embedded_server
from tests.faults.conftest import seeded
from tests.faults.fragile import Fragile, taken_over
from tests.faults.rounds import Round, begun
from tests.faults.schedule import Schedule, rounds
from tests.faults.state import State, contents
from tests.replica import Pair, streaming

_OURS = (
    "select pid from pg_stat_activity where application_name like 'maintenance run%' and datname = current_database()"
)


async def _reconnected(round_: Round, fragile: Fragile) -> Round:
    """The round with a connection to the server as it is now."""
    connection = await fragile.answering(round_.database.name)
    return replace(round_, database=replace(round_.database, connection=connection))


@pytest.mark.parametrize("schedule", rounds("crash"))
async def test_after_a_crash_of_the_server_the_next_runs_come_to_what_the_oracle_says(
    fragile: Fragile, fragile_state: State, tmp_path: Path, schedule: Schedule
) -> None:
    chance = schedule.chance
    whole = schedule.number % 2 == 0
    async with begun(schedule, fragile_state, fragile.server, tmp_path) as round_:
        process = await round_.started()
        await round_.reached(process, chance.randrange(fragile_state.gone))
        await asyncio.sleep(chance.uniform(0, 0.02))
        if whole:
            fragile.crash()
        else:
            # One backend that dies so takes all the others and the shared memory with it.
            pids = await round_.database.values(_OURS)
            os.kill(pids[0] if pids else round_.database.connection.get_server_pid(), signal.SIGKILL)
            await round_.cut_off()
        told = await round_.ended(process, 0, 1, 2)
        if whole:
            if "error" in told and "status" not in told:
                refused = await round_.ended(await round_.started(), 2)
                assert "cannot be reached" in refused["error"]["message"]
            fragile.start()
        round_.database.connection.terminate()
        again = await _reconnected(round_, fragile)
        try:
            if told.get("status") == "succeeded":
                # It was over before; what it said must still be true.
                said = "select status from maintenance.run where id = $1"
                assert await again.database.values(said, told["id"]) == ["succeeded"]
                assert await contents(again.database.connection) == fragile_state.left
            await again.done()
            await again.sound("crash of the server" if whole else "crash of a backend")
        finally:
            await again.database.connection.close()


@pytest.mark.parametrize("schedule", rounds("failover"))
async def test_after_a_failover_a_read_only_standby_is_refused_and_a_promoted_one_comes_to_what_the_oracle_says(
    tmp_path: Path, schedule: Schedule
) -> None:
    chance = schedule.chance
    back = schedule.number % 2 == 1
    with embedded_server(bin_directory=settings.load().postgres_bin) as server:
        async with taken_over(server) as primary:
            state = await seeded(server)
            with streaming(server) as standby_server:
                standby = Fragile(server=standby_server, options={})
                async with begun(schedule, state, server, tmp_path) as round_:
                    await Pair(primary=server, replica=standby_server).caught_up()
                    await (await standby.answering()).close()
                    process = await round_.started()
                    await round_.reached(process, chance.randrange(1, state.gone * 8 // 10))
                    primary.crash()
                    await round_.ended(process, 1, 2)
                    round_.database.connection.terminate()
                    watching = await standby.answering(round_.database.name)
                    before = await contents(watching)
                    refused = await round_.ended(await round_.started(PGPORT=str(standby_server.port)), 2)
                    assert "is a read-only replica" in refused["error"]["message"]
                    assert await contents(watching) == before
                    survivor = primary if back else standby
                    if back:
                        primary.start()
                    else:
                        await watching.execute("select pg_promote()")
                    await watching.close()
                    database = replace(round_.database, server=survivor.server)
                    again = await _reconnected(replace(round_, database=database), survivor)
                    await again.done()
                    await again.sound("failover to a standby" + (" and back" if back else ", promoted"))
                    await again.database.connection.close()
                    if not back:
                        primary.start()
                        await primary.up()
