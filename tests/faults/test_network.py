"""The network fails at a chosen message of the protocol; no commit is lost, and none counted twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from maintenance.demo.server import Server
from tests.faults.proxy import Blow, Place, Proxy, Strike, proxied
from tests.faults.rounds import Round, begun
from tests.faults.schedule import Schedule, of, rounds
from tests.faults.state import State

_CASES = [
    (Blow.RESET, Place.COMMITTED),
    (Blow.HOLE, Place.COMMITTED),
    (Blow.RESET, Place.COMMIT),
    (Blow.REFUSED, Place.ANSWERED),
    (Blow.RESET, Place.ASKED),
    (Blow.HOLE, Place.ASKED),
    (Blow.RESET, Place.ANSWERED),
    (Blow.LATENCY, Place.ASKED),
    (Blow.RESET, Place.COMMITTED),
    (Blow.HOLE, Place.COMMIT),
    (Blow.RESET, Place.DETACHED),
    (Blow.RESET, Place.COPIED),
    (Blow.HOLE, Place.COPIED),
]
"""Taken in turn, so that a few rounds see as many as they can."""
_SHORT = {"MAINTENANCE_BUDGET": "4s", "MAINTENANCE_CONNECT_TIMEOUT": "1s", "PGSSLMODE": "disable"}
_PATIENCE = 90.0
"""Seconds within which a process is over that hears nothing any more: what is not work has 30 s, and its patience."""


@pytest.fixture(scope="module")
async def usual(server: Server, state: State, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Place, int]:
    """How many messages of each place a run has that nobody disturbs."""
    folder = tmp_path_factory.mktemp("usual")
    passed: dict[Place, int] = {}
    for number, archive in enumerate((True, False)):
        async with (
            begun(of("usual", number), state, server, folder, archive=archive) as round_,
            proxied(server.host, server.port) as proxy,
        ):
            await round_.ended(await round_.started(PGPORT=str(proxy.port), **_SHORT), 0)
            passed.update(proxy.passed)
    return passed


async def _struck(round_: Round, proxy: Proxy, strike: Strike) -> bool:
    """A run that is struck, and what is seen of it; False where it was over before."""
    by_proxy = {**_SHORT, "PGPORT": str(proxy.port)}
    proxy.aim(strike)
    document = await round_.ended(await round_.started(**by_proxy), 0, 1, 2, 3, within=_PATIENCE)
    if not proxy.struck.is_set():
        return False
    if strike.blow is Blow.LATENCY:
        assert document["status"] in ("succeeded", "interrupted")
        return True
    assert document["error"]["type"] in ("ConnectionLost", "DatabaseError")
    if strike.blow is Blow.REFUSED:
        refused = await round_.ended(await round_.started(**by_proxy), 2)
        assert "cannot be reached" in refused["error"]["message"]
    if strike.blow is Blow.HOLE:
        # The server may not have noticed yet: whoever comes meanwhile is told who has the lease.
        second = await round_.ended(await round_.started(), 0, 4)
        assert second["status"] == "succeeded" or "holds the lease" in second["error"]
    return True


@pytest.mark.parametrize("schedule", rounds("network"))
async def test_after_a_broken_network_the_next_runs_come_to_what_the_oracle_says(
    server: Server, state: State, tmp_path: Path, usual: Mapping[Place, int], schedule: Schedule
) -> None:
    blow, place = _CASES[schedule.number % len(_CASES)]
    part = schedule.chance.uniform(0.25 if blow is Blow.HOLE else 0, 0.8)
    delay = schedule.chance.uniform(0.001, 0.03) if blow is Blow.LATENCY else 0.0
    # A run may have fewer messages than usual: then once more, at an earlier one.
    for number in (int(usual[place] * part) + 1, int(usual[place] * part / 3) + 1):
        async with (
            begun(schedule, state, server, tmp_path, archive=place is Place.COPIED) as round_,
            proxied(server.host, server.port) as proxy,
        ):
            if await _struck(round_, proxy, Strike(blow=blow, place=place, number=number, delay=delay)):
                await proxy.heal()
                await round_.done()
                await round_.sound(blow if blow is Blow.LATENCY else f"{blow}, {place}")
                return
    raise AssertionError(f"{blow} {place} never met its message")
