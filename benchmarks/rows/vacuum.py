"""The weekly vacuum against vacuumdb, and where nothing needs it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from benchmarks.contenders import BenchmarkError, Policy, ours, ran
from benchmarks.figures import Amount, Ratio
from benchmarks.measurement import Contender, Effect, Work
from benchmarks.meter import Meter
from benchmarks.row import Row
from benchmarks.rows.states import scaled
from benchmarks.site import Site, environment
from benchmarks.state import Clone, State
from maintenance.policy import Vacuum

ROWS = 600_000
"""Of the largest table."""
JOBS = 2
# Small tables are in need as well, also at a small scale.
_SIDE_BY_SIDE = "jobs" in Vacuum.model_fields
POLICY = "[vacuum]\ndead_rows = 0\ndead_fraction = 0.1\n" + (f"jobs = {JOBS}\n" if _SIDE_BY_SIDE else "")
_WAY = f"`jobs = {JOBS}`" if _SIDE_BY_SIDE else f"one after another against -j {JOBS}"
_PEER = f"vacuumdb --analyze -j {JOBS}"
NAME = "weekly-vacuum"
_DEAD = "select coalesce(sum(n_dead_tup), 0) from pg_stat_user_tables where schemaname = 'public'"
_KILL = """
do $$ begin
    for place in 1..15 loop execute 'delete from module_' || place || ' where id % 5 = 0'; end loop;
end $$
"""


def rows(scale: float, site: Site) -> tuple[Row, ...]:
    """One row."""
    state = State(name="tables", scripts=("tables",), amounts=(("rows", scaled(ROWS, scale, 1000)),), fleet=False)
    program = _program(site)
    policy = Policy(text=POLICY)

    async def vacuumed(clone: Clone) -> None:
        await clone.execute(_KILL)
        await ran(await policy.settings(clone), NAME)

    return (
        Row(
            slug="vacuum",
            title=f"weekly vacuum, 15 tables, a fifth of each dead, {_WAY}",
            contenders=(
                Contender(name="ours", state=state, prepare=_kill, work=_looked_after(ours(policy, NAME))),
                Contender(name=_PEER, state=state, prepare=_kill, work=_looked_after(_vacuumdb(program))),
                Contender(name="ours, nothing needs it", state=state, prepare=vacuumed, work=ours(policy, NAME)),
            ),
            figures=(
                Ratio(what="total", peer=_PEER, most=1.05),
                Amount(what="total, nothing needs it", ours="ours, nothing needs it", unit="s", most=0.2),
            ),
            absent=None if program else "vacuumdb is not installed; set MAINTENANCE_POSTGRES_BIN to where it is",
        ),
    )


async def _kill(clone: Clone) -> None:
    """Delete a fifth here and not in the template, as a copy of a database has no counters."""
    await clone.execute(_KILL)


def _program(site: Site) -> Path | None:
    if site.binaries is not None:
        path = site.binaries / "vacuumdb"
        return path if path.is_file() else None
    found = shutil.which("vacuumdb")
    return None if found is None else Path(found)


def _looked_after(work: Work) -> Work:
    """The work, and that no dead row is left by it."""

    async def checked(clone: Clone, meter: Meter) -> Effect:
        effect = await work(clone, meter)
        connection = await clone.connect()
        try:
            dead = await connection.fetchval(_DEAD)
        finally:
            await connection.close()
        if dead:
            raise BenchmarkError(f"vacuum: {dead} dead rows are left, so its time means nothing")
        return effect

    return checked


def _vacuumdb(program: Path | None) -> Work:
    async def work(clone: Clone, meter: Meter) -> Effect:
        words = ("--analyze", "--quiet", f"--jobs={JOBS}", f"--dbname={clone.database}")
        async with meter:
            process = await asyncio.create_subprocess_exec(str(program), *words, env=environment(clone.target))
            code = await process.wait()
        if code:
            raise BenchmarkError(f"vacuumdb ended with {code}")
        return Effect()

    return work
