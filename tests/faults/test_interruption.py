"""The real process is killed in the middle of a run; the next runs come to the state of one that nobody disturbed.

INTERRUPTION_ROUNDS sets how many rounds there are, INTERRUPTION_SEED repeats those of a failure.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from maintenance.demo.server import Server
from tests.databases import ROOT, Database, connect, fresh

_ROUNDS = int(os.environ.get("INTERRUPTION_ROUNDS", "3"))
_SEED = int(os.environ.get("INTERRUPTION_SEED") or random.SystemRandom().randrange(10**9))
_TEMPLATE = "interruption_template"
_TASKS = ("retention", "duplicates", "orphans", "unreferenced")
_TABLES = ("visits", "samples", "parents", "children", "twins", "catalog", "uses")
# Many blocks and many rows, so that each task but the last comes to dozens of tiny batches.
_FILL = """
create table visits (id int, at timestamptz) with (fillfactor = 10);
insert into visits select i, now() - case when i % 3 = 0 then interval '1 day' else interval '40 days' end
from generate_series(1, 8000) i;
create table samples (id int, at date);
create index on samples (at);
insert into samples select i, current_date - i % 60 from generate_series(1, 10000) i;
create table parents (id int primary key);
insert into parents select i from generate_series(1, 500) i;
create table children (id int, parent text) with (fillfactor = 10);
alter table parents add code varchar(10);
update parents set code = id;
insert into children select i, nullif(i % 1000, 0)::text from generate_series(1, 8000) i;
create table twins (id int, key uuid, at timestamp);
insert into twins select i, md5((i % 3000)::text)::uuid, timestamp '2024-01-01' + i % 7 * interval '1 day'
from generate_series(1, 8000) i;
create table catalog (hash text, uses int);
insert into catalog select 'h' || i, i % 3 from generate_series(1, 600) i;
create table uses (id int, hashes text[]);
insert into uses select i, array['h' || i, 'h' || i * 2] from generate_series(1, 200) i;
"""
_POLICY = """
[[retention]]
table = "visits"
column = "at"
keep = "30 days"
[[retention]]
table = "samples"
column = "at"
keep = "30 days"
where = "id > 10"
[[duplicates]]
tables = ["twins"]
key = ["key"]
newest = ["at", "id"]
[[orphans]]
tables = ["children"]
column = "parent"
parent = "parents"
parent_column = "code"
[[unreferenced]]
table = "catalog"
column = "hash"
references = [{ table = "uses", column = "hashes" }]
count_column = "uses"
"""


@pytest.fixture(scope="module")
async def template(server: Server) -> AsyncIterator[str]:
    """Rows for every task, and an empty ledger."""
    admin = await connect(server, "postgres")
    await admin.execute(f"create database {_TEMPLATE}")
    connection = await connect(server, _TEMPLATE)
    await connection.execute(_FILL)
    await connection.close()
    yield _TEMPLATE
    await admin.execute(f"drop database {_TEMPLATE} with (force)")
    await admin.close()


async def _contents(database: Database) -> dict[str, list[str]]:
    return {table: await database.values(f"select t::text from {table} t order by 1") for table in _TABLES}


@pytest.fixture(scope="module")
async def undisturbed(
    server: Server, template: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, list[str]], int]:
    """What a run leaves that nobody disturbs, and how many rows it deletes."""
    async with fresh(server, "undisturbed", tmp_path_factory.mktemp("undisturbed"), template) as database:
        run = await database.run(*_TASKS, policy=_POLICY)
        assert run.status == "succeeded"
        assert all(s.rows > 0 for s in run.steps)
        assert (await database.run(*_TASKS)).rows == 0
        return await _contents(database), run.rows


async def _started(database: Database) -> Process:
    """The command line at work in tiny batches, in a process of its own."""
    return await asyncio.create_subprocess_exec(
        *database.command("run", *_TASKS, "--json"), stdout=PIPE, stderr=PIPE, cwd=ROOT,
        env={**database.environment, "MAINTENANCE_BATCH_TARGET": "1ms"},
    )  # fmt: skip


async def _deleted(database: Database, run: int, rows: int, process: Process) -> None:
    """Wait until that run has committed so many rows, or is over."""
    ready = "select to_regclass('maintenance.step') is not null"
    count = """
        select coalesce(sum(s.rows), 0)::int from maintenance.step s join maintenance.run r on r.id = s.run_id
        where r.id = $1 and r.status = 'running' having count(*) > 0
    """
    for _ in range(20_000):
        if process.returncode is not None:
            return
        if await database.values(ready) == [True]:
            done = await database.values(count, run)
            if done and done[0] >= rows:
                return
        await asyncio.sleep(0.002)
    raise AssertionError(f"the run did not come to {rows} rows")


async def _lease_free(database: Database) -> bool:
    held = """
        select count(*) from pg_locks join pg_database on pg_database.oid = pg_locks.database
        where locktype = 'advisory' and datname = current_database()
    """
    for _ in range(200):
        if await database.values(held) == [0]:
            return True
        await asyncio.sleep(0.05)
    return False


@pytest.mark.parametrize("number", range(_ROUNDS))
async def test_after_a_kill_the_next_run_comes_to_the_same_rows_as_one_that_nobody_disturbed(
    server: Server, template: str, undisturbed: tuple[dict[str, list[str]], int], tmp_path: Path, number: int
) -> None:
    chance = random.Random(_SEED + number)
    kills = chance.choice([1, 1, 2])
    told = f"INTERRUPTION_SEED={_SEED}, round {number}"
    expected, total = undisturbed
    async with fresh(server, f"interruption_{number}", tmp_path, template) as database:
        database.write_policy(_POLICY)
        left, killed = total, 0
        for _ in range(kills):
            process = await _started(database)
            await _deleted(database, killed + 1, chance.randrange(max(left // 2, 1)), process)
            await asyncio.sleep(chance.uniform(0, 0.02))
            if process.returncode is None:
                process.kill()
            await process.communicate()
            assert await _lease_free(database), told
            statuses = await database.values("select status from maintenance.run order by id")
            if process.returncode == 0:
                # On a busy machine a run may be over before it is killed; that is no fault, but it showed nothing.
                assert statuses == ["interrupted"] * killed + ["succeeded"], told
                break
            assert statuses == ["interrupted"] * killed + ["running"], told
            killed += 1
            left = total - (await database.values("select sum(rows)::int from maintenance.step"))[0]
        assert killed, f"{told}: the run was over before it could be killed"

        assert (await database.run(*_TASKS)).status == "succeeded", told
        assert await _contents(database) == expected, told
        runs = await database.connection.fetch(
            "select status, stop_reason, rows, ended_at from maintenance.run order by id"
        )
        ended_well = len(runs) - killed
        assert [r["status"] for r in runs] == ["interrupted"] * killed + ["succeeded"] * ended_well, told
        assert all(r["ended_at"] is not None for r in runs), told
        assert sum(r["rows"] for r in runs) == total, told
        assert not await database.values("select id from maintenance.step where status in ('running', 'pending')"), told
        assert await _lease_free(database), told
        assert (await database.run(*_TASKS)).rows == 0, told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_signal_ends_the_run_after_the_batch_at_hand_and_the_next_goes_on(
    server: Server, template: str, undisturbed: tuple[dict[str, list[str]], int], tmp_path: Path, number: signal.Signals
) -> None:
    expected, total = undisturbed
    async with fresh(server, f"interruption_{number.name.lower()}", tmp_path, template) as database:
        database.write_policy(_POLICY)
        process = await _started(database)
        await _deleted(database, 1, 1, process)
        process.send_signal(number)
        began = time.monotonic()
        out, err = await process.communicate()
        assert time.monotonic() - began < 5
        assert process.returncode == 3, err.decode()
        assert err == b""
        run: dict[str, Any] = json.loads(out)
        assert (run["status"], run["stop_reason"]) == ("interrupted", "budget")
        assert run["ended_at"] is not None
        assert 0 < run["rows"] < total
        assert {s["status"] for s in run["steps"]} <= {"succeeded", "interrupted"}
        assert await _lease_free(database)
        assert run["rows"] + (await database.run(*_TASKS)).rows == total
        assert await _contents(database) == expected
