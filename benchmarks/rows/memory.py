"""Memory of our process, whatever the size of the table."""

from __future__ import annotations

import asyncio
import sys

from benchmarks.contenders import BenchmarkError, Policy
from benchmarks.figures import Amount
from benchmarks.measurement import Contender, Effect, Work
from benchmarks.meter import Meter
from benchmarks.row import Row
from benchmarks.rows.states import events
from benchmarks.site import environment
from benchmarks.state import Clone

MOST = 150 * 2**20
RULES = """
[[retention]]
table = "events"
column = "created_at"
keep = "{keep}"
where = "module_id is null"

[[duplicates]]
tables = ["events"]
key = ["device_id", "timestamp"]
newest = ["id"]

[[orphans]]
tables = ["events"]
column = "device_id"
parent = "devices"
parent_column = "id"
"""
# Not ru_maxrss where that can be helped: a child begins with its parent's on Linux.
_PROGRAM = """
import re, resource, sys
from maintenance.__main__ import main
code = main(["run", "--json"])
try:
    with open("/proc/self/status") as status:
        peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1]) * 1024
except FileNotFoundError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(peak, file=sys.stderr)
sys.exit(code)
"""


def rows(scale: float, sizes: tuple[float, ...]) -> tuple[Row, ...]:
    """One row."""
    policy = Policy(text=RULES, cut="half")
    return (
        Row(
            slug="memory",
            title="memory of our process, retention, duplicates and orphans of all events, process start included",
            contenders=tuple(
                Contender(name=f"{size:g} M", state=events(size * 1_000_000, scale), work=_process(policy))
                for size in sizes
            ),
            figures=tuple(
                Amount(what=f"largest, {size:g} M events", metric="peak", unit="bytes", ours=f"{size:g} M", most=MOST)
                for size in sizes
            ),
            rounds=1,
        ),
    )


def _process(policy: Policy) -> Work:
    async def work(clone: Clone, meter: Meter) -> Effect:
        settings = await policy.settings(clone)
        own = {"MAINTENANCE_POLICY": str(settings.policy), "MAINTENANCE_BUDGET": "1h"}
        async with meter:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _PROGRAM, env={**environment(clone.target), **own},
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, told = await process.communicate()
        words = told.decode().split()
        if process.returncode or not words:
            raise BenchmarkError(f"our process ended with {process.returncode}: {told.decode()}")
        return Effect(peak=int(words[-1]))

    return work
