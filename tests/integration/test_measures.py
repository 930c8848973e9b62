"""What guards measure: a partitioned table as it was, foreign keys by their own operators, and what they cannot see."""

from __future__ import annotations

from dataclasses import replace

import pytest

from maintenance.engine import performed, planned
from maintenance.models import RunStatus, StopReason
from maintenance.runs import Request
from tests.databases import Database

_RULE = '[[retention]]\ntable = "{table}"\ncolumn = "at"\nkeep = "30 days"\n'


async def test_what_has_gone_from_one_partition_stops_no_other_one(database: Database) -> None:
    await database.execute(
        "create table events (id int, at timestamptz) partition by range (id);"
        "create table e1 partition of events for values from (0) to (30);"
        "create table e2 partition of events for values from (30) to (100);"
        "insert into events select i, case when i < 40 then '2020-01-01' else now() end from generate_series(0, 99) i"
    )
    database.write_policy(_RULE.format(table="events") + "max_fraction = 0.5\n", guarded=True)
    run = await database.run("retention")
    assert (run.status, [step.rows for step in run.steps]) == (RunStatus.SUCCEEDED, [30, 10]), run.error
