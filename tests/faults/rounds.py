"""A round: our own command line at work, hit, run again until it is done, and all that must be true then."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maintenance.demo.server import Server
from maintenance.models import RunStatus, StepStatus
from maintenance.runs import Run
from tests.databases import ROOT, Database, connect, fresh
from tests.faults.archives import archived
from tests.faults.schedule import Schedule
from tests.faults.state import ARCHIVED, TASKS, State, contents, policy
from tests.faults.tally import TALLY

_TINY = {"MAINTENANCE_BATCH_TARGET": "0.2ms"}
_MOST = 8
_KEPT = "has been detached, maybe by somebody"
_HELD = """
    select count(*) from pg_locks join pg_database on pg_database.oid = pg_locks.database
    where locktype = 'advisory' and datname = current_database()
"""
_DETACHED = """
    select relname::text from pg_class
    where relnamespace = 'public'::regnamespace and relkind = 'r' and not relispartition and relname ~ '^(logs|audits)_'
"""


@dataclass(slots=True, kw_only=True)
class Round:
    """A database with the state, and what has been done to it so far."""

    schedule: Schedule
    state: State
    database: Database
    runs: int = 0
    hits: int = 1
    """Blows that met a run."""
    archive: Path | None = None
    """The folder that four of the rules store their rows in first."""
    by_hand: int = 0
    """Rows of partitions that a person had to drop, as the run's message asked for."""
    processes: list[Process] = field(default_factory=list)

    async def started(self, *arguments: str, **environment: str) -> Process:
        """The command line at work in tiny batches, in a process of its own."""
        self.runs += 1
        process = await asyncio.create_subprocess_exec(
            *self.database.command("run", *(arguments or TASKS), "--json"), stdout=PIPE, stderr=PIPE, cwd=ROOT,
            env={**self.database.environment, **_TINY, **environment},
        )  # fmt: skip
        self.processes.append(process)
        return process

    async def reached(self, process: Process, rows: int) -> None:
        """Wait until the last run has committed so many rows, or is over."""
        ready = "select to_regclass('maintenance.step') is not null"
        done = """
            select coalesce(sum(s.rows), 0)::int from maintenance.step s
            where s.run_id = (select max(id) from maintenance.run where status = 'running')
        """
        for _ in range(20_000):
            if process.returncode is not None:
                return
            if await self.database.values(ready) == [True] and await self.database.values(done) >= [rows]:
                return
            await asyncio.sleep(0.002)
        raise AssertionError(f"the run did not come to {rows} rows")

    async def ended(self, process: Process, *codes: int, within: float = 120.0) -> dict[str, Any]:
        """Wait until it is over, with one of these exit codes and no traceback; the document that it printed."""
        async with asyncio.timeout(within):
            out, err = await process.communicate()
        told = err.decode()
        assert "Traceback" not in told, told
        assert process.returncode in codes, f"exit {process.returncode}: {told}{out.decode()}"
        document: dict[str, Any] = json.loads(out)
        assert (process.returncode in (1, 2)) == ("error" in document and not document.get("id")) or document.get("id")
        return document

    async def killed(self, process: Process) -> bool:
        """Kill it, if it is not over; whether that is how it ended."""
        if process.returncode is None:
            process.kill()
        await process.communicate()
        return process.returncode == -9

    async def cut_off(self) -> None:
        """Wait until the server has noticed that one of its processes died, and has ended all sessions."""
        for _ in range(3000):
            if self.database.connection.is_closed():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the server did not notice within 30 s")

    async def lease_free(self) -> bool:
        """Whether the server frees the lease within 10 s."""
        for _ in range(200):
            if await self.database.values(_HELD) == [0]:
                return True
            await asyncio.sleep(0.05)
        return False

    async def lease_held(self) -> bool:
        """Whether a run has the lease now."""
        return await self.database.values(_HELD) != [0]

    async def done(self) -> Run:
        """Run again until a run succeeds, as a schedule would; the last one. What a run leaves to a person is done."""
        assert await self.lease_free(), "the lease is held"
        for _ in range(_MOST):
            self.runs += 1
            run = await self.database.run(*TASKS)
            if run.status is RunStatus.SUCCEEDED:
                return run
            assert run.status in (RunStatus.FAILED, RunStatus.INTERRUPTED), run
            for step in run.steps:
                if step.status is StepStatus.BLOCKED and _KEPT in (step.error or ""):
                    for table in await self.database.values(_DETACHED):
                        self.by_hand += (await self.database.values(f"select count(*) from {table}"))[0]
                        await self.database.execute(f"drop table {table}")
        raise AssertionError(f"not done after {_MOST} runs")

    async def sound(self, fault: str) -> None:
        """Every row, the ledger and the lease, after a run that was done; and one more run finds nothing to do."""
        assert await self.database.values(_DETACHED) == []
        found = await contents(self.database.connection)
        numbers = _compared(self.state.left, found)
        counted = (await self.database.values("select coalesce(sum(rows), 0)::int from maintenance.step"))[0]
        runs = (await self.database.values("select coalesce(sum(rows), 0)::int from maintenance.run"))[0]
        deleted = self.state.seeded - sum(len(rows) for rows in found.values())
        stuck = (await self.database.values(
            "select count(*)::int from maintenance.run where status = 'running' or ended_at is null"
        ))[0]  # fmt: skip
        TALLY.add(
            fault, hits=self.hits, runs=self.runs, seeded=self.state.seeded, deleted=deleted, **numbers,
            miscounted=abs(deleted - self.by_hand - counted), stuck=stuck, by_hand=self.by_hand,
        )  # fmt: skip
        assert found == self.state.left
        assert deleted == self.state.gone
        assert (counted, runs) == (deleted - self.by_hand, counted)
        assert stuck == 0
        if self.archive is not None:
            gone = {table: self.state.sizes[table] - len(found[table]) for table in ARCHIVED}
            assert await archived(self.database, self.archive) == gone
        assert not await self.database.values("select id from maintenance.step where status in ('running', 'pending')")
        assert await self.lease_free(), "the lease is held"
        again = await self.database.run(*TASKS)
        assert (again.status, again.rows) == (RunStatus.SUCCEEDED, 0)


def _compared(left: dict[str, list[str]], found: dict[str, list[str]]) -> dict[str, int]:
    lost = sum(len(set(rows) - set(found.get(table, []))) for table, rows in left.items())
    kept = sum(len(set(found.get(table, [])) - set(rows)) for table, rows in left.items())
    return {"lost": lost, "left": kept}


@asynccontextmanager
async def begun(
    schedule: Schedule, state: State, server: Server, folder: Path, *, archive: bool = False
) -> AsyncIterator[Round]:
    """A round in a database of its own, with or without an archive; no process of it is left."""
    store = folder / "archive" if archive else None
    if store is not None:
        store.mkdir(exist_ok=True)
    async with fresh(server, schedule.name, folder, state.template) as database:
        database.write_policy(policy(store))
        round_ = Round(schedule=schedule, state=state, database=database, archive=store)
        try:
            yield round_
        finally:
            for process in round_.processes:
                if process.returncode is None:
                    process.kill()
                    await process.communicate()


async def administer(server: Server, sql: str) -> None:
    """A statement of a superuser, outside of any database of a test."""
    connection = await connect(server, "postgres")
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
