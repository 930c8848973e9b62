"""The application goes on while a run deletes: what it has committed stays, and what it changes is judged as it is."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from hashlib import md5
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from maintenance.demo.server import Server
from tests.databases import Database
from tests.faults.rounds import begun
from tests.faults.schedule import Schedule, rounds
from tests.faults.state import State, contents, judged
from tests.faults.tally import TALLY
from tests.faults.writers import Writers, writing
from tests.oracle import rivals
from tests.sessions import application

_DDL = {
    "add column": ("alter table {table} add column more int default 1", "alter table {table} drop column more"),
    "rename": ("alter table {table} rename to elsewhere", "alter table elsewhere rename to {table}"),
    "drop table": ("drop table {table}", None),
}


def _ids(rows: list[str]) -> set[int]:
    return {int(re.split(r"[(,)]", row)[1]) for row in rows}


async def _best_twins(seeds: list[Any], writers: Writers) -> set[int]:
    """The row of each key that nothing has ever beaten, by the oracle."""
    rows = [(row["id"], [row["key"]], [writers.touched.get(row["id"], row["at"]), row["id"]]) for row in seeds]
    rows += [
        (id_, [UUID(md5(str(key).encode()).hexdigest())], [at, id_]) for id_, (key, at) in writers.twins.items()
    ]  # fmt: skip
    alone, best = rivals(rows)
    return alone | {id_ for group in best for id_ in group}


@pytest.mark.parametrize("schedule", rounds("busy"))
async def test_nothing_that_an_application_commits_meanwhile_is_lost(
    server: Server, state: State, tmp_path: Path, schedule: Schedule
) -> None:
    async with begun(schedule, state, server, tmp_path) as round_:
        database = round_.database
        seeds = await database.connection.fetch("select * from twins")
        async with writing(database, schedule.chance) as writers:
            await asyncio.sleep(schedule.chance.uniform(0, 0.2))
            await round_.ended(await round_.started(), 0, 1, 3)
        await round_.done()
        found = await contents(database.connection)
        lost = await _lost(state, found, writers, await _best_twins(seeds, writers))
        as_of = await database.connection.fetchval("select now()")
        left = sum(len(set(rows) ^ set(found[table])) for table, rows in (
            await judged(database.connection, as_of)
        ).items())  # fmt: skip
        deleted, counted = await _deleted(database, state, writers, found)
        TALLY.add(
            "application writes to the rows that are judged", hits=writers.written, runs=round_.runs,
            seeded=state.seeded + writers.added, deleted=deleted, lost=len(lost), left=left,
            miscounted=abs(deleted - counted),
        )  # fmt: skip
        assert lost == set()
        assert left == 0
        assert deleted == counted
        assert writers.refreshed
        assert writers.registered


async def _lost(
    state: State, found: dict[str, list[str]], writers: Writers, best: set[int]
) -> set[tuple[str, int | str]]:
    """What must be there and is not, by table."""
    there = {table: _ids(found[table]) for table in ("visits", "twins", "children")}
    never_orphans, visits = _ids(state.left["children"]), _ids(state.left["visits"])
    missing: set[tuple[str, int | str]] = {
        *(("visits", id_) for id_ in (visits | writers.refreshed | writers.visits) - there["visits"]),
        *(("twins", id_) for id_ in best ^ there["twins"]),
        *(("children", id_) for id_ in (never_orphans | writers.children) - there["children"]),
    }  # fmt: skip
    for table in ("samples", "logs", "audits", "catalog", "uses"):
        missing |= {(table, row) for row in set(state.left[table]) ^ set(found[table])}
    return missing


async def _deleted(
    database: Database, state: State, writers: Writers, found: dict[str, list[str]]
) -> tuple[int, int]:  # fmt: skip
    """Rows that are gone, and those that the ledger has."""
    counted = await database.values("select sum(rows)::int from maintenance.step")
    return state.seeded + writers.added - sum(map(len, found.values())), counted[0]


@pytest.mark.parametrize("schedule", rounds("ddl"))
async def test_ddl_between_plan_and_apply_costs_no_more_than_its_own_table(
    server: Server, state: State, tmp_path: Path, schedule: Schedule
) -> None:
    chance = schedule.chance
    name = list(_DDL)[schedule.number % len(_DDL)]
    table = chance.choice(["visits", "samples", "twins", "children", "catalog"])
    async with begun(schedule, state, server, tmp_path) as round_:
        database = round_.database
        process = await round_.started()
        if chance.random() < 0.3:
            await asyncio.sleep(chance.uniform(0.2, 0.5))
        else:
            await round_.reached(process, chance.randrange(state.gone * 7 // 10))
        do, undo = _DDL[name]
        async with application(database) as other:
            await other.execute(do.format(table=table))
            await round_.ended(process, 0, 1, 3)
            if undo is not None:
                await other.execute(undo.format(table=table))
        if undo is None:
            # What went with the table is not to be found any more: neither in it, nor in the ledger.
            await round_.done()
            await database.execute(f"delete from maintenance.step where table_name = 'public.{table}'")
            await database.execute(
                "update maintenance.run r set rows = (select coalesce(sum(s.rows), 0) from maintenance.step s"
                " where s.run_id = r.id)"
            )
            left = {key: rows for key, rows in state.left.items() if key != table}
            round_.state = replace(state, seeded=state.seeded - state.sizes[table], left=left)
        await round_.done()
        await round_.sound(f"{name} during a run")
