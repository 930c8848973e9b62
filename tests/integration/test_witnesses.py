"""What witnesses of a run are told, and that they cannot harm it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from maintenance.engine import performed
from maintenance.lease import lease
from maintenance.models import Batch, RunStatus, StopReason, Verdict
from maintenance.runs import Request, Run
from maintenance.steps import Step
from maintenance.witness import Outcome, Witness, Witnesses
from tests.databases import Database

RULE = '[[retention]]\ntable = "log"\ncolumn = "at"\nkeep = "30 days"\n'


class Watcher(Witness):
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.outcomes: dict[str, Outcome] = {}
        self.sizes: list[int | None] = []

    def run_began(self, run_id: int, name: str, scheduler: str) -> None:
        self.calls.append(f"run_began {run_id} {name} {scheduler}")

    def planned(self, steps: Sequence[Step]) -> None:
        self.calls.append(f"planned {len(steps)}")

    def began(self, step: Step) -> None:
        self.calls.append(f"began {step.table}")

    def advanced(self, step: Step, batch: Batch, rows: int, seconds: float) -> None:
        assert 0 < seconds < 60
        self.calls.append(f"advanced {rows}")

    def ended(self, step: Step, verdict: Verdict, outcome: Outcome) -> None:
        self.calls.append(f"ended {verdict.status}")
        self.outcomes[str(step.table)] = outcome

    def run_ended(self, run: Run, database_bytes: int | None) -> None:
        self.calls.append(f"run_ended {run.id} {run.status}")
        self.sizes.append(database_bytes)


class Broken(Watcher):
    """Raises whatever it is told."""

    def __getattribute__(self, name: str) -> object:
        if name in ("calls", "outcomes", "sizes") or name.startswith("__"):
            return super().__getattribute__(name)
        raise RuntimeError(f"broken: {name}")


async def watched(
    database: Database, *, type_: str = "timestamptz", index: bool = False, budget: float = 60
) -> Watcher:
    """A run over 100 days of log, of which 70 are to go, under the eyes of one."""
    await database.execute(f"create table log (id int primary key, at {type_})")
    await database.execute(
        "insert into log select n, now() + interval '1 hour' - n * interval '1 day' from generate_series(1, 100) n"
    )
    if index:
        await database.execute("create index on log (at)")
    return await again(database, budget=budget)


async def again(database: Database, *, budget: float = 60) -> Watcher:
    database.write_policy(RULE)
    watcher = Watcher()
    settings = replace(database.settings, budget=budget)
    await performed(Request(names=("retention",), scheduler="test"), settings, witness=watcher)
    return watcher


async def test_a_witness_sees_a_run_from_its_beginning_to_its_end(database: Database) -> None:
    watcher = await watched(database)
    assert watcher.calls == [
        "run_began 1 retention test", "planned 1", "began public.log", "advanced 70", "ended succeeded",
        "run_ended 1 succeeded",
    ]  # fmt: skip
    (size,) = watcher.sizes
    assert size
    assert size > 1_000_000
    outcome = watcher.outcomes["public.log"]
    assert (outcome.rows, outcome.updated, outcome.batches, outcome.lag) == (70, 0, 1, 0.0)
    assert outcome.table_bytes
    assert 0 < outcome.seconds < 60


async def test_a_witness_is_told_of_a_run_that_was_skipped(database: Database) -> None:
    await watched(database)
    async with lease(database.connection):
        watcher = await again(database)
    assert watcher.calls == ["run_ended 2 skipped"]
    assert watcher.sizes == [None]


async def test_a_witness_that_raises_harms_neither_the_run_nor_the_others_and_is_logged_once(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await database.execute("create table log (at timestamptz); insert into log values (now()), ('2020-01-01')")
    database.write_policy(RULE)
    watcher = Watcher()
    witness = Witnesses([Broken(), watcher])
    run = await performed(Request(names=("retention",), scheduler="test"), database.settings, witness=witness)
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 1)
    assert watcher.calls[-1] == "run_ended 1 succeeded"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Broken: RuntimeError('broken: run_began')" in caplog.text


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("type_", ["timestamptz", "timestamp", "date"])
async def test_a_retention_that_was_stopped_tells_how_long_its_oldest_row_has_been_due(
    database: Database, type_: str, index: bool
) -> None:
    await database.execute(
        "create function refuse() returns trigger language plpgsql as $$begin raise exception 'no'; end$$"
    )
    await watched(database, type_=type_, index=index, budget=0.001)  # its turn does not come
    await database.execute("insert into log values (0, '-infinity')")
    await database.execute("create trigger refuse before delete on log for each row execute function refuse()")
    watcher = await again(database)
    lag = watcher.outcomes["public.log"].lag
    assert lag is not None
    # 100 days and an hour less old, kept for 30.
    assert lag / 86_400 == pytest.approx(70, abs=1.1 if type_ == "date" else 0.1)


async def test_the_lag_is_not_known_where_the_turn_did_not_come(database: Database) -> None:
    watcher = await watched(database, budget=0.001)
    assert [outcome.lag for outcome in watcher.outcomes.values()] == [None]


async def test_the_lag_is_not_known_where_it_cannot_be_told_at_a_glance(database: Database) -> None:
    await watched(database, budget=0.001)
    database.write_policy(RULE + 'where = "pg_sleep(1) is not null"\n')
    watcher = Watcher()
    settings = replace(database.settings, budget=0.8, count_timeout=0.1)
    began = time.monotonic()
    run = await performed(Request(names=("retention",), scheduler="test"), settings, witness=watcher)
    assert time.monotonic() - began < 2.5
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.BUDGET)
    outcome = watcher.outcomes["public.log"]
    assert outcome.lag is None
    assert outcome.table_bytes
