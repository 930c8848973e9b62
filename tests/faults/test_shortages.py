"""The disk is full, or there is no connection left; the next runs come to what the oracle says."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from maintenance.demo.server import Server
from tests.databases import connect
from tests.faults.conftest import seeded
from tests.faults.fragile import Fragile
from tests.faults.rounds import administer, begun
from tests.faults.schedule import Schedule, rounds
from tests.faults.state import POLICY, State

_SIZE = 64
"""Megabytes of the small disk: room for two databases."""
_FULL = ("53100", "58030")


@pytest.fixture(scope="module")
async def disk(server: Server) -> AsyncIterator[Path]:
    """A small disk of its own, with a tablespace of the server on it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    owner = (server.directory / "data").stat()
    folder = server.directory / "small"
    folder.mkdir()
    options = f"size={_SIZE}m,uid={owner.st_uid},gid={owner.st_gid},mode=700"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs root that may mount a small disk: {mounted.stderr.strip()}")
    try:
        place = folder / "tablespace"
        place.mkdir()
        os.chown(place, owner.st_uid, owner.st_gid)
        await administer(server, f"create tablespace small location '{place}'")
        try:
            yield folder
        finally:
            await administer(server, "drop tablespace small")
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="module")
async def small_state(server: Server, disk: Path) -> AsyncIterator[State]:
    template = "faults_small"
    yield await seeded(server, template, options="tablespace small")
    await administer(server, f"drop database {template} with (force)")


def _fill(ballast: Path) -> None:
    """Take all that is left of its disk, also while the server takes some."""
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


@pytest.mark.parametrize("schedule", rounds("disk"))
async def test_after_a_full_disk_the_next_runs_come_to_what_the_oracle_says(
    server: Server, disk: Path, small_state: State, tmp_path: Path, schedule: Schedule
) -> None:
    ballast = disk / "ballast"
    async with begun(schedule, small_state, server, tmp_path) as round_:
        early = schedule.number % 2 == 0
        process = None if early else await round_.started()
        if process is not None:
            await round_.reached(process, schedule.chance.randrange(small_state.gone // 2))
        try:
            _fill(ballast)
            if process is not None:
                await round_.ended(process, 0, 1, 3)
            told = await round_.ended(await round_.started(), 0, 1)
            if early:
                # Not even the ledger can be made, so nothing begins.
                assert "No space left on device" in told["error"]["message"]
            else:
                assert {step["sqlstate"] for step in told.get("steps", [])} <= {None, *_FULL}
        finally:
            ballast.unlink()
        await round_.done()
        await round_.sound("disk full")


@pytest.mark.parametrize("schedule", rounds("connections"))
async def test_without_a_free_connection_a_run_does_not_begin_and_with_one_it_does_without_help(
    fragile: Fragile, fragile_state: State, tmp_path: Path, schedule: Schedule
) -> None:
    alone = schedule.number % 2 == 1
    async with begun(schedule, fragile_state, fragile.server, tmp_path) as round_, AsyncExitStack() as stack:
        taken = []
        while True:
            try:
                taken.append(await connect(fragile.server, "postgres"))
            except asyncpg.TooManyConnectionsError:
                break
            stack.push_async_callback(taken[-1].close)
        if alone:
            # One for the run, none for those that it would call to its help.
            await taken.pop().close()
            round_.database.write_policy(POLICY + "[vacuum]\ndead_rows = 0\ndead_fraction = 0\njobs = 3\n")
            run = await round_.ended(await round_.started("vacuum"), 0)
            assert run["status"] == "succeeded"
        else:
            refused = await round_.ended(await round_.started(), 2)
            assert "too many clients" in refused["error"]["message"]
            assert await round_.database.values("select to_regnamespace('maintenance') is null") == [True]
        await stack.aclose()
        await round_.done()
        await round_.sound("one connection left" if alone else "out of connections")
