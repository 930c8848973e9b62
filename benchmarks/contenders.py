"""Contenders: our own runs, and the peers' statements, as the work of a row."""

from __future__ import annotations

import time
from dataclasses import dataclass

from asyncpg import exceptions as pg

from benchmarks.measurement import Effect, Work
from benchmarks.meter import Meter
from benchmarks.state import Clone, script
from maintenance.engine import performed
from maintenance.models import Batch, RunStatus
from maintenance.runs import Request, Run
from maintenance.settings import Settings
from maintenance.steps import Step
from maintenance.witness import Witness

CAP = 600.0
"""Seconds after which a peer is ended in any case."""


class BenchmarkError(Exception):
    """A contender failed, or did not do the work, so that its time says nothing."""


class Stopwatch(Witness):
    """The longest transaction of a run: its longest batch, from before BEGIN until after COMMIT."""

    def __init__(self) -> None:
        self.longest = 0.0

    def advanced(self, step: Step, batch: Batch, rows: int, seconds: float) -> None:
        """A batch took `seconds`; VACUUM and ANALYZE are no transactions of ours."""
        if step.transactional:
            self.longest = max(self.longest, seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy of which `{keep}` is the age of a cut of the events."""

    text: str
    cut: str | None = None

    async def settings(self, clone: Clone) -> Settings:
        """Our defaults, this policy, that database."""
        path = clone.folder / "policy.toml"
        text = self.text.replace("{keep}", await clone.keep(self.cut)) if self.cut else self.text
        path.write_text(text, encoding="utf-8")
        return Settings(target=clone.target, policy=path, budget=86_400.0)


def ours(policy: Policy, *names: str) -> Work:
    """A run of these tasks or groups, in this process, whose modules are loaded already."""

    async def work(clone: Clone, meter: Meter) -> Effect:
        settings = await policy.settings(clone)
        watch = Stopwatch()
        async with meter:
            run = await ran(settings, *names, witness=watch)
        only_batches = all(step.strategy not in ("vacuum", "analyze") for step in run.steps)
        longest = max(watch.longest, meter.statement or 0.0) if only_batches else watch.longest
        return Effect(longest=longest or None, work=sum(step.seconds for step in run.steps))

    return work


async def ran(settings: Settings, *names: str, witness: Witness | None = None) -> Run:
    """The run itself.

    Raises:
        BenchmarkError: it did not succeed.
    """
    run = await performed(Request(names=names, scheduler="benchmark"), settings, witness=witness)
    if run.status is not RunStatus.SUCCEEDED:
        raise BenchmarkError(f"our run of {run.name} is {run.status} ({run.stop_reason}): {run.error}")
    return run


def peer(name: str, *, cut: str | None = None, cap: float = CAP, repeat: bool = False, afterwards: str = "") -> Work:
    """The statements of a file of sql/peers, in one transaction; with `repeat` again and again until no row is left."""

    async def work(clone: Clone, meter: Meter) -> Effect:
        sql = script(f"peers/{name}")
        if cut is not None:
            sql = sql.replace("{keep}", await clone.keep(cut))
        longest, capped, began = 0.0, False, 0.0
        async with meter:
            connection = await clone.connect()
            try:
                await connection.execute(f"set statement_timeout = {cap * 1000:.0f}")
                status = None
                while status is None or (repeat and status != "DELETE 0"):
                    began = time.perf_counter()
                    # Several statements in one message are one transaction.
                    status = await connection.execute(sql)
                    longest = max(longest, time.perf_counter() - began)
            except pg.QueryCanceledError:
                longest, capped = time.perf_counter() - began, True
            finally:
                await connection.close()
        followed = await _timed(clone, afterwards) if afterwards else None
        return Effect(longest=longest, capped=capped, afterwards=followed)

    return work


async def _timed(clone: Clone, sql: str) -> float:
    began = time.perf_counter()
    await clone.execute(sql)
    return time.perf_counter() - began
