"""Check-ins while a clean-up runs: how much longer a device waits for its answer."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from benchmarks.contenders import BenchmarkError, ours, peer
from benchmarks.figures import Amount, Ratio
from benchmarks.measurement import Contender, Effect, Work
from benchmarks.meter import Meter
from benchmarks.row import Row
from benchmarks.rows.nightly import NAME, reportmate
from benchmarks.rows.states import fleet
from benchmarks.site import environment
from benchmarks.state import Clone

RATE = 100
"""Check-ins a second, as of 360,000 devices that report hourly."""
ALONE = 4.0
"""Seconds that are looked at without a clean-up."""
LEAST = 0.5
"""Seconds of check-ins that are counted for a clean-up that is over sooner: in a few milliseconds none may be due."""


def rows(scale: float) -> tuple[Row, ...]:
    """One row."""
    state = fleet(scale)
    return (
        Row(
            slug="checkins",
            title=f"check-ins, {RATE} a second, while the daily clean-up runs (half of 1.5 M events expired)",
            contenders=(
                Contender(name="alone", state=state, work=_beside(_nothing(ALONE * min(scale, 1.0))), leaves="all"),
                Contender(name="ours", state=state, work=_beside(ours(reportmate("half"), NAME)), leaves="cleaned"),
                Contender(
                    name="one DELETE", state=state, work=_beside(peer("one_delete", cut="half")), leaves="deleted"
                ),
            ),
            figures=(
                Ratio(what="p99", metric="p99", peer="alone", most=1.25),
                Ratio(what="p50", metric="p50", peer="alone"),
                Ratio(what="longest", metric="worst", peer="alone"),
                Ratio(what="p99, one DELETE in place of ours", metric="p99", ours="one DELETE", peer="alone"),
                Amount(what="clean-up meanwhile", unit="s"),
            ),
        ),
    )


def _nothing(seconds: float) -> Work:
    async def work(clone: Clone, meter: Meter) -> Effect:
        async with meter:
            await asyncio.sleep(seconds)
        return Effect()

    return work


def _beside(work: Work) -> Work:
    """The work while devices check in, with the latencies of those that were due meanwhile."""

    async def watched(clone: Clone, meter: Meter) -> Effect:
        async with _checking_in(clone) as load:
            effect = await work(clone, meter)
            began, ended = meter.began, max(meter.ended, meter.began + LEAST)
            await asyncio.sleep(max(0.0, ended - time.time()))
        due = [latency for instant, latency in load.latencies if began <= instant <= ended]
        return replace(effect, latencies=tuple(due))

    return watched


@dataclass(slots=True)
class _Load:
    latencies: list[tuple[float, float]] = field(default_factory=list)


@asynccontextmanager
async def _checking_in(clone: Clone) -> AsyncIterator[_Load]:
    devices = dict(clone.state.amounts)["devices"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.load", str(RATE), str(devices), env=environment(clone.target),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**26,
    )  # fmt: skip
    load = _Load()
    try:
        if process.stdout is None or process.stdin is None or not await process.stdout.readline():
            raise BenchmarkError("checkins: the process that checks in ended before it began")
        yield load
        process.stdin.close()
        load.latencies = [(due, latency) for due, latency in json.loads(await process.stdout.readline())]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
