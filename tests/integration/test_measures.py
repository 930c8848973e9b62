"""What guards measure: a partitioned table as it was, foreign keys by their own operators, and what they cannot see."""

from __future__ import annotations

from dataclasses import replace

import pytest

from maintenance import engine
from maintenance.engine import continued, performed, planned, queued
from maintenance.models import RunStatus, StopReason
from maintenance.runs import Request, Run
from maintenance.tasks import partitions
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


async def _said(database: Database, table: str, more: str = "") -> str:
    database.write_policy(_RULE.format(table=table) + more, guarded=True)
    (found,) = (await database.plan("retention")).steps
    return found.summary


async def test_foreign_keys_are_followed_by_their_own_operators(database: Database) -> None:
    await database.execute(
        "create schema types; create domain types.code as text;"
        'create table devices ("ID" types.code, part int, at timestamptz, primary key ("ID", part));'
        'create table notes (part bigint, device types.code, foreign key (device, part) references devices ("ID", part)'
        " on delete cascade);"
        "insert into devices select 'd' || i, i, now() - i * interval '1 day' from generate_series(1, 50) i;"
        "insert into notes select i, 'd' || i from generate_series(1, 50) i"
    )
    assert "deletes 21 rows of public.notes along" in await _said(database, "devices")
    await database.execute(
        "create extension citext schema types; create table hosts (name types.citext primary key, at timestamptz);"
        "create table logins (host types.citext references hosts on delete cascade);"
        "insert into hosts values ('a', '2020-01-01'), ('b', now()); insert into logins values ('A'), ('B')"
    )
    assert "deletes 1 rows of public.logins along" in await _said(database, "hosts")


async def test_a_rule_of_a_partition_counts_what_refers_to_the_whole_table(database: Database) -> None:
    await database.execute(
        "create table events (id int primary key, at timestamptz) partition by range (id);"
        "create table e1 partition of events for values from (0) to (9) partition by range (id);"
        "create table e2 partition of e1 for values from (0) to (9);"
        "create table of_all (event int references events on delete cascade);"
        "create table of_some (event int references e1 on delete cascade);"
        "insert into events values (1, '2020-01-01'), (2, now()); insert into of_all values (1), (1), (2);"
        "insert into of_some values (1)"
    )
    for table in ("events", "e1", "e2"):
        said = await _said(database, table, 'partitions = "rows"\n')
        assert "deletes 2 rows of public.of_all along" in said
        assert "deletes 1 rows of public.of_some along" in said


async def test_a_row_that_goes_by_the_rule_is_not_counted_again_as_taken_along(database: Database) -> None:
    await database.execute(
        "create table notes (id int primary key, at timestamptz, up int references notes on delete cascade);"
        "insert into notes select i, '2020-01-01', nullif(i - 1, 0) from generate_series(1, 60) i;"
        "insert into notes select i, now(), i - 60 from generate_series(61, 65) i; analyze notes"
    )
    assert "deletes 5 rows of public.notes along" in await _said(database, "notes")
    database.write_policy(_RULE.format(table="notes") + "max_rows = 65\n", guarded=True)
    run = await database.run("retention")
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert await database.values("select count(*) from notes") == [0]


async def test_a_table_that_the_role_may_not_read_stops_nothing(database: Database) -> None:
    await database.execute(
        "create table devices (id int primary key, at timestamptz); create schema hidden;"
        "create table hidden.notes (device int references devices on delete cascade);"
        "insert into devices values (1, '2020-01-01'), (2, now()); insert into hidden.notes values (1), (2);"
        "create role reader login password 'x'; grant select, delete on devices to reader"
    )
    await database.execute(f'grant create on database "{database.name}" to reader')
    target = replace(database.settings.required_target(), user="reader", password="x")
    settings = replace(database.settings, target=target)
    try:
        database.write_policy(_RULE.format(table="devices") + "max_fraction = 0.5\nmax_rows = 1\n", guarded=True)
        request = Request(names=("retention",), scheduler="test")
        (found,) = (await planned(request, settings)).steps
        assert "notes_device_fkey deletes ? rows of hidden.notes along" in found.summary
        run = await performed(request, settings)
        assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 1), run.error
    finally:
        await database.execute("drop owned by reader cascade; drop role reader")
    assert await database.values("select device from hidden.notes") == [2]


async def test_a_slice_that_died_before_it_knew_how_much_would_go_is_judged_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_DYING", 0.2)
    await database.execute(
        "create table twins (id int); insert into twins select i % 10 from generate_series(1, 100) i"
    )
    database.write_policy('[[duplicates]]\ntables = ["twins"]\nkey = ["id"]\nnewest = ["id"]\n', guarded=True)
    asked = await queued(Request(names=("duplicates",), scheduler="test"), database.settings)
    first = await continued(asked.id, 0, database.settings)
    assert first is not None
    assert (first.stop_reason, first.steps[0].batches, first.rows) == (StopReason.GUARD, 1, 0)
    # What a worker leaves behind that was killed after its first batch, which is the pass.
    await database.execute(
        "update maintenance.run set status = 'running', stop_reason = null, ended_at = null;"
        "update maintenance.step set status = 'running', stop_reason = null, error = null"
    )
    again = await continued(asked.id, 0, database.settings)
    assert again is not None
    assert (again.stop_reason, again.rows) == (StopReason.GUARD, 0), again.error
    assert await database.values("select count(*) from twins") == [100]


async def test_what_was_approved_passes_in_the_slices_that_follow(database: Database) -> None:
    await database.execute(
        "create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.002); return null; end'"
    )
    tables = ("one", "two", "three")
    for table in tables:
        await database.execute(
            f"create table {table} (id int, at timestamptz, filler char(7500));"
            f"alter table {table} alter filler set storage plain;"
            f"insert into {table} select i, case when i < 200 then '2020-01-01' else now() end, ''"
            " from generate_series(0, 200) i;"
            f"create trigger slow after delete on {table} for each row execute function slow()"
        )
    database.write_policy("".join(_RULE.format(table=table) + "max_rows = 10\n" for table in tables), guarded=True)
    word = (await database.plan("retention")).approve
    settings = replace(database.settings, budget=0.3)
    first = await performed(Request(names=("retention",), scheduler="test", approve=word), settings)
    assert first.left_over, "1.2 s of work do not fit into 0.3"
    run: Run | None = first
    assert run is not None
    while run.left_over:
        run = await continued(run.id, run.slices, replace(settings, budget=60))
        assert run is not None
    assert (run.status, [step.rows for step in run.steps]) == (RunStatus.SUCCEEDED, [200] * 3), run.error


_PARTITIONS = """
create table events (id int, at timestamptz) partition by range (at);
create table e1 partition of events for values from ('2020-01-01') to ('2020-02-01');
create table e2 partition of events for values from ('2020-02-01') to ('2020-03-01');
create table e3 partition of events for values from ('2020-03-01') to ('2099-01-01');
insert into events select i, timestamptz '2020-01-05' + i / 301 * interval '1 month' from generate_series(1, 600) i;
insert into events values (0, now());
"""


async def _partitions(database: Database) -> list[str]:
    return await database.values("select relname::text from pg_class where relname ~ '^e[1-3]$' order by 1")


@pytest.mark.parametrize("default", [False, True])
async def test_a_partition_is_no_surprise_because_the_server_took_it_for_larger(
    database: Database, monkeypatch: pytest.MonkeyPatch, default: bool
) -> None:
    monkeypatch.setattr(partitions, "_COUNTED", 0)
    await database.execute(_PARTITIONS + ("create table rest partition of events default;" if default else ""))
    await database.execute("analyze events; update pg_class set reltuples = 20000 where relname in ('e1', 'e2')")
    database.write_policy(_RULE.format(table="events") + "max_rows = 1000\n", guarded=True)
    run = await database.run("retention")
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert (await _partitions(database), await database.values("select id from events")) == (["e3"], [0])


async def test_a_ramp_ends_before_the_partition_that_would_go_beyond_it(database: Database) -> None:
    await database.execute(_PARTITIONS + "analyze events")
    database.write_policy(_RULE.format(table="events") + "ramp = 100\n", guarded=True)
    run = await database.run("retention")
    assert (run.stop_reason, run.rows) == (StopReason.GUARD, 300)
    assert await database.values("select count(*) from events") == [301], "neither dropped nor detached"
    run = await database.run("retention")
    assert (run.status, run.rows, await _partitions(database)) == (RunStatus.SUCCEEDED, 300, ["e3"])
