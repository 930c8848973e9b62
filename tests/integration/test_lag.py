"""A run holds back for a replica that is behind, for the WAL, and for sessions that wait for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maintenance import lag
from maintenance.budget import Budget
from maintenance.demo.server import embedded_server
from maintenance.engine import continued, performed
from maintenance.errors import PolicyError
from maintenance.lag import Brake, Limits
from maintenance.ledger import Ledger
from maintenance.models import Batch, RunStatus, StopReason, Verdict
from maintenance.runs import Request, Run
from maintenance.settings import load
from maintenance.steps import Step
from maintenance.telemetry.events import About, Events
from maintenance.witness import Outcome
from tests.databases import Database, Spares, opened, step
from tests.replica import NAME, Pair, streaming
from tests.sessions import LEDGER_GRANTS, application, counted, role, sleeping

# A row a block; the heap is walked in batches of 128 blocks, then of more where nothing speaks against it.
SCHEMA = """
create table log (id int primary key, at timestamptz, filler char(500))
    with (fillfactor = 10, autovacuum_enabled = off);
alter table log alter filler set storage plain;
insert into log select n, now() - case when n <= 1000 then interval '40 days' else interval '0' end, ''
from generate_series(1, 1010) n;
"""
RULE = '[[retention]]\ntable = "log"\ncolumn = "at"\nkeep = "30 days"\n'
REPLAY = RULE + '[lag]\nreplay = "100 ms"\nwaiting = 0\n'


class Watcher(Events):
    """Sees what a run holds back for, and how large its batches are."""

    def __init__(self, budget: Budget | None = None) -> None:
        """`budget` ends soon after the run begins to hold back."""
        super().__init__(About(name="retention"))
        self.budget = budget
        self.began_to_hold = asyncio.Event()
        self.whys: list[str] = []
        self.rows: list[int] = []
        self.paused = 0.0

    def held(self, step: Step, why: str) -> None:
        super().held(step, why)
        self.whys.append(why)
        if self.budget is not None:
            self.budget.limit(0.1)
        self.began_to_hold.set()

    def advanced(self, step: Step, batch: Batch, rows: int, seconds: float) -> None:
        self.rows.append(batch.rows)

    def ended(self, step: Step, verdict: Verdict, outcome: Outcome) -> None:
        super().ended(step, verdict, outcome)
        self.paused += outcome.paused


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks again more often than is of use where a replica needs more than a moment."""
    monkeypatch.setattr(lag, "_NAP", 0.05)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    # Without images of whole pages the WAL of a batch does not depend on when the last checkpoint was.
    settings = {"full_page_writes": "off", "autovacuum": "off"}
    with (
        embedded_server(bin_directory=load().postgres_bin, settings=settings) as primary,
        streaming(primary) as replica,
    ):
        yield Pair(primary=primary, replica=replica)


@pytest.fixture(scope="module")
async def databases(pair: Pair) -> AsyncIterator[Spares]:
    """Of the server with the replica."""
    spares = Spares(pair.primary)
    yield spares
    await spares.close()


@pytest.fixture
async def logs(pair: Pair, databases: Spares, tmp_path: Path) -> AsyncIterator[Database]:
    """1,000 of 1,010 rows are expired, on a server with a replica that has them all."""
    async with opened(pair.primary, databases, await databases.taken(), tmp_path) as database:
        await database.execute(SCHEMA)
        await pair.caught_up()
        yield database


def begun(
    database: Database, policy: str, watcher: Watcher, *names: str, budget: Budget | None = None, **changed: Any
) -> asyncio.Task[Run]:
    database.write_policy(policy)
    request = Request(names=names or ("retention",), scheduler="test")
    settings = replace(database.settings, **changed)
    return asyncio.create_task(performed(request, settings, budget=budget, witness=watcher))


async def left(database: Database) -> int:
    (count,) = await database.values("select count(*) from log")
    return int(count)


async def test_a_run_waits_until_the_replica_has_caught_up_and_says_for_how_long(
    logs: Database, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = Watcher()
    with caplog.at_level(logging.INFO, "maintenance"):
        async with pair.stopped():
            await pair.behind(0.2)
            task = begun(logs, REPLAY, watcher)
            await asyncio.wait_for(watcher.began_to_hold.wait(), 30)
            assert await left(logs) == 1010
        run = await task
    assert (run.status, run.rows, await left(logs)) == (RunStatus.SUCCEEDED, 1000, 10)
    done = step(run, "retention")
    assert 0 < done.paused <= done.seconds
    assert watcher.paused == done.paused
    assert watcher.whys[0].startswith(f"replica '{NAME}' at 127.0.0.1 is ")
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "held_back"]
    assert (record.levelname, vars(record)["table"]) == ("INFO", "public.log")


async def test_a_replica_that_falls_behind_in_mid_step_holds_the_next_batch_back(logs: Database, pair: Pair) -> None:
    await logs.execute(
        "create function await_replica() returns trigger language plpgsql as $$ begin"
        " while not exists (select from pg_stat_get_wal_senders() where replay_lag > interval '200 ms') loop"
        " perform pg_logical_emit_message(false, 'tests', 'tick'), pg_sleep(0.02); end loop; return null; end $$;"
        "create trigger await_replica after delete on log for each row when (old.id = 1)"
        " execute function await_replica()"
    )
    watcher = Watcher()
    task = begun(logs, REPLAY, watcher)
    await sleeping(logs)
    watcher.began_to_hold.clear()
    async with pair.stopped():
        await asyncio.wait_for(watcher.began_to_hold.wait(), 30)
        assert (len(watcher.rows), await left(logs)) == (1, 1010 - watcher.rows[0])
    run = await task
    assert (run.status, await left(logs)) == (RunStatus.SUCCEEDED, 10)


async def test_a_run_whose_budget_ends_while_it_waits_ends_by_lag_and_the_next_one_does_the_work(
    logs: Database, pair: Pair
) -> None:
    await logs.execute("create table other as select * from log")
    logs.write_policy(RULE.replace("log", "other") + REPLAY)
    async with pair.stopped():
        await pair.behind(0.2)
        document = await logs.cli_json("run", "retention", "--budget", "1500ms", exit_code=3)
        assert (document["status"], document["stop_reason"], document["rows"]) == ("interrupted", "lag", 0)
        assert [(told["table"], told["stop_reason"], told["batches"]) for told in document["steps"]] == [
            ("public.other", "lag", 0),
            ("public.log", "budget", 0),
        ]
        assert document["steps"][0]["paused"] > 0
        for word in (NAME, "127.0.0.1", "s behind, over [lag] replay = 0.1 s", "the next run goes on from here"):
            assert word in document["error"]
    assert await left(logs) == 1010
    again = await logs.run("retention")
    assert (again.status, await left(logs)) == (RunStatus.SUCCEEDED, 10)
    assert [done.table for done in again.steps] == ["public.other", "public.log"], "who waited has not had its turn"


async def test_a_replica_that_has_replayed_everything_holds_nobody_back_though_its_last_lag_is_shown_for_a_while(
    logs: Database, pair: Pair
) -> None:
    await Ledger(logs.connection).install()
    async with pair.stopped():
        await pair.behind(0.2)
        # What is shown is for how long the last record of all had to wait.
        await asyncio.sleep(0.3)
    await pair.even()
    hold = await Brake(logs.connection, Limits(replay=0.1), Budget(4)).before_step(lambda _: None)
    assert hold.verdict is None


async def test_another_slice_goes_on_after_lag_and_one_that_only_waited_is_seen_to_have_done_nothing(
    logs: Database, pair: Pair
) -> None:
    async with pair.stopped():
        await pair.behind(0.2)
        budget = Budget(60)
        first = await begun(logs, REPLAY, Watcher(budget), budget=budget)
        assert (first.stop_reason, first.left_over) == (StopReason.LAG, True)
        budget = Budget(60)
        second = await continued(first.id, 1, logs.settings, budget=budget, witness=Watcher(budget))
        assert second is not None
        assert (second.stop_reason, second.slices, second.left_over) == (StopReason.LAG, 2, True)
        assert second.progress == first.progress
        assert step(second, "retention").paused > step(first, "retention").paused
        assert step(second, "retention").paused <= step(second, "retention").seconds
    third = await continued(first.id, 2, logs.settings)
    assert third is not None
    assert (third.status, third.left_over, await left(logs)) == (RunStatus.SUCCEEDED, False, 10)


async def test_no_vacuum_begins_while_a_replica_is_behind(logs: Database, pair: Pair) -> None:
    await logs.execute("delete from log where id <= 1000")
    await counted(logs)
    budget = Budget(60)
    need = "[vacuum]\ndead_rows = 1\ndead_fraction = 0\n"
    async with pair.stopped():
        await pair.behind(0.2)
        run = await begun(logs, REPLAY + need, Watcher(budget), "vacuum", budget=budget)
        assert (run.stop_reason, step(run, "vacuum").batches) == (StopReason.LAG, 0)
        assert await logs.values("select last_vacuum from pg_stat_user_tables where relname = 'log'") == [None]
    assert (await logs.run("vacuum")).status is RunStatus.SUCCEEDED


@pytest.mark.parametrize("by", ["switch", "signal"])
async def test_a_run_that_waits_hears_the_switch_and_a_signal(logs: Database, pair: Pair, by: str) -> None:
    budget, watcher = Budget(60), Watcher()
    async with pair.stopped():
        await pair.behind(0.2)
        task = begun(logs, REPLAY, watcher, budget=budget)
        await asyncio.wait_for(watcher.began_to_hold.wait(), 30)
        if by == "switch":
            await logs.execute("insert into maintenance.pause (reason) values ('migration')")
        else:
            budget.cut()
        run = await asyncio.wait_for(task, 30)
    reason = StopReason.PAUSED if by == "switch" else StopReason.LAG
    assert (run.status, run.stop_reason, run.rows) == (RunStatus.INTERRUPTED, reason, 0)


async def test_a_run_that_writes_more_wal_than_it_may_is_slowed_and_gets_all_done(logs: Database) -> None:
    policy = RULE + '[lag]\nwal = "64kB"\nwaiting = 0\n'
    watcher = Watcher()
    run = await begun(logs, policy, watcher)
    assert (run.status, await left(logs)) == (RunStatus.SUCCEEDED, 10)
    assert step(run, "retention").paused > 0
    assert "of WAL a second, over [lag] wal = 64.0 kB" in watcher.whys[0]


async def test_a_run_whose_budget_ends_while_it_makes_up_for_its_wal_ends_by_lag(logs: Database) -> None:
    budget = Budget(60)
    run = await begun(logs, RULE + '[lag]\nwal = "1kB"\n', Watcher(budget), budget=budget)
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.LAG)
    assert "[lag] wal = 1.0 kB" in (run.error or "")
    assert 0 < await left(logs) < 1010
    budget = Budget(60)
    following = await continued(run.id, 1, logs.settings, budget=budget, witness=Watcher(budget))
    assert following is not None
    assert (following.stop_reason, following.progress != run.progress) == (StopReason.LAG, True)


@pytest.mark.parametrize(("limit", "smaller"), [(2, True), (3, False), (0, False)])
async def test_a_batch_for_which_sessions_waited_is_followed_by_a_smaller_one(
    logs: Database, limit: int, smaller: bool
) -> None:
    # The second session waits for the first, which waits for us. The batch goes on until both of them do.
    await logs.execute(
        "create function await_others() returns trigger language plpgsql as $$ begin"
        " while (select count(*) from pg_locks where not granted) < 2 loop perform pg_sleep(0.01); end loop;"
        " return null; end $$;"
        "create trigger await_others after delete on log for each row when (old.id = 1) execute function await_others()"
    )
    watcher = Watcher()
    # A target that no batch comes near: without those who wait each batch would be twice as large as the one before.
    task = begun(logs, RULE + f"[lag]\nwaiting = {limit}\n", watcher, batch_target=60.0)
    await sleeping(logs)
    async with application(logs) as one, application(logs) as another:
        touch = "update log set at = at where id = 1"
        await asyncio.gather(one.execute(touch), another.execute(touch))
    run = await task
    assert (run.status, await left(logs)) == (RunStatus.SUCCEEDED, 10)
    assert (watcher.rows[1] < watcher.rows[0]) is smaller
    assert (step(run, "retention").paused > 0) is smaller
    told = ["sessions waited for the last batch: 2; [lag] waiting = 2"]
    assert watcher.whys == (told if smaller else [])


async def test_a_limit_that_the_role_cannot_see_is_off_and_said(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await database.execute(SCHEMA)
    await database.run("retention", policy=RULE.replace('"30 days"', '"90 days"'))
    policy = RULE + '[lag]\nreplay = "1 s"\n'
    async with role(database, *LEDGER_GRANTS, "grant select, delete on log to {role}") as plain:
        with caplog.at_level(logging.INFO, "maintenance"):
            run = await begun(database, policy, Watcher(), target=plain)
        assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 1000)
        assert run.note is not None
        assert "[lag] replay is off" in run.note
        (record,) = [record for record in caplog.records if getattr(record, "event", "") == "limit_unseen"]
        assert (record.levelname, record.message) == ("WARNING", run.note)
        environment: Any = {"PGUSER": plain.user, "PGPASSWORD": plain.password}
        told = (await database.cli("run", "retention", **environment)).stdout
        assert told.count("[lag] replay is off") == 2, "once while it runs, once at the end"
        await database.execute(f"grant pg_read_all_stats to {plain.user}")
        assert (await database.cli_json("run", "retention", **environment))["note"] is None


@pytest.mark.parametrize(
    ("limit", "function"),
    [('wal = "1MB"', "pg_current_wal_insert_lsn()"), ("waiting = 1", "pg_blocking_pids(integer)")],
)
async def test_a_limit_is_off_where_an_administrator_keeps_its_function_to_himself(
    database: Database, limit: str, function: str
) -> None:
    await database.execute(SCHEMA)
    await database.run("retention", policy=RULE.replace("30 days", "90 days"))
    await database.execute(f"revoke execute on function pg_catalog.{function} from public")
    try:
        async with role(database, *LEDGER_GRANTS, "grant select, delete on log to {role}") as plain:
            run = await database.run("retention", policy=f"{RULE}[lag]\n{limit}\n", target=plain)
        assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 1000)
        assert function in (run.note or "")
    finally:
        await database.execute(f"grant execute on function pg_catalog.{function} to public")


@pytest.mark.parametrize(
    "line",
    [
        'replay = "soon"', 'replay = "0"', 'replay = "-1 second"', 'replay = "infinity"', 'replay = "1000 years"',
        'wal = "much"', 'wal = "0"', 'wal = "-1MB"', 'wal = "16MB/s"', 'wal = "99999999999999999TB"',
    ],
)  # fmt: skip
async def test_a_limit_that_the_server_does_not_take_is_refused_before_anything_is_touched(
    database: Database, line: str
) -> None:
    await database.execute(SCHEMA)
    key = line.split()[0]
    for asked in (database.run, database.plan):
        with pytest.raises(PolicyError, match=rf"lag\.{key} = '"):
            await asked("retention", policy=f"{RULE}[lag]\n{line}\n")
    assert await database.values("select to_regnamespace('maintenance')::text") == [None]
    assert await left(database) == 1010


async def test_where_nothing_is_limited_the_server_is_not_asked(database: Database) -> None:
    async with application(database) as connection:
        brake = Brake(connection, Limits(), Budget(60))
    assert connection.is_closed()
    await brake.look(inside=True)
    hold = await brake.before_step(pytest.fail)
    assert (hold.seconds, hold.smaller, hold.verdict) == (0, False, None)
