"""Tables where a DELETE does not do what it says: seen at plan time, said, and handled or refused."""

from __future__ import annotations

import pytest

from maintenance.models import RunStatus, StepStatus, StopReason
from tests.databases import Database, connect, planned_step

_EVENTS = """
create table events (id int primary key, at timestamptz, kind text);
insert into events select i, now() - i * interval '1 day' + interval '1 hour', 'k' from generate_series(1, 100) i;
"""
_RULE = '[[retention]]\ntable = "events"\ncolumn = "at"\nkeep = "60 days"\n'
_KEEPER = """
create function keep() returns trigger language plpgsql as
    'begin if old.id % 2 = 0 then return null; end if; return old; end';
create trigger keep before delete on events for each row execute function keep();
"""


async def _count(database: Database) -> int:
    (count,) = await database.values("select count(*)::int from events")
    return int(count)


@pytest.mark.parametrize("indexed", [False, True])
async def test_rows_that_a_trigger_keeps_are_not_called_done(database: Database, indexed: bool) -> None:
    await database.execute(_EVENTS + _KEEPER + ("create index on events (at);" if indexed else ""))
    database.write_policy(_RULE)
    said = planned_step(await database.plan("retention"), "retention").summary
    assert "before each delete runs keep, which may keep the row" in said
    run = await database.run("retention")
    (done,) = run.steps
    assert (run.status, done.status, done.stop_reason) == (RunStatus.FAILED, StepStatus.BLOCKED, StopReason.BLOCKED)
    assert done.rows == 20
    assert "20 rows that should be gone are still there: the trigger keep" in str(done.error)
    assert await _count(database) == 80

    await database.execute("alter table events disable trigger keep")
    run = await database.run("retention")
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 20)
    assert "runs keep" not in planned_step(await database.plan("retention"), "retention").summary


async def test_a_trigger_that_keeps_nothing_is_no_obstacle(database: Database) -> None:
    await database.execute(
        _EVENTS + "create table log (id int);"
        "create function told() returns trigger language plpgsql as"
        " 'begin insert into log values (old.id); return old; end';"
        "create trigger told before delete on events for each row execute function told()"
    )
    run = await database.run("retention", policy=_RULE)
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 40)
    assert await database.values("select count(*) from log") == [40]


@pytest.mark.parametrize(
    ("policy", "more"),
    [
        ('[[duplicates]]\ntables = ["events"]\nkey = ["kind"]\nnewest = ["id"]\n', ""),
        (
            '[[orphans]]\ntables = ["events"]\ncolumn = "kind"\nparent = "kinds"\nparent_column = "kind"\n',
            "create table kinds (kind text); insert into kinds values ('other')",
        ),
        (
            (
                '[[unreferenced]]\ntable = "events"\ncolumn = "kind"\n'
                'references = [{ table = "kinds", column = "kind" }]\n'
            ),
            "create table kinds (kind text); insert into kinds values ('other')",
        ),
    ],
)
async def test_every_task_sees_what_a_trigger_keeps(database: Database, policy: str, more: str) -> None:
    await database.execute(_EVENTS + _KEEPER + more)
    run = await database.run(policy.partition("]]")[0].strip("["), policy=policy)
    assert (run.status, run.steps[0].stop_reason) == (RunStatus.FAILED, StopReason.BLOCKED), run.steps[0].error
    assert "the trigger keep" in str(run.error)
    assert 50 <= await _count(database) <= 51


async def test_what_comes_while_rows_go_is_not_called_kept_by_a_trigger(database: Database) -> None:
    """The trigger itself stands for an application that writes another duplicate, and another, in other sessions."""
    await database.execute(
        "create table twins (id serial, key int);"
        "insert into twins (key) select i % 10 from generate_series(1, 100) i;"
        "create function more() returns trigger language plpgsql as"
        " 'begin if pg_trigger_depth() = 1 and old.id = 50 then insert into twins (key) select 3 from"
        " generate_series(1, 5); end if; return old; end';"
        "create trigger more before delete on twins for each row execute function more()"
    )
    rule = '[[duplicates]]\ntables = ["twins"]\nkey = ["key"]\nnewest = ["id"]\n'
    run = await database.run("duplicates", policy=rule)
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 90), run.error
    assert (await database.run("duplicates")).rows == 5, "the probe was rolled back, and the next run takes them"


@pytest.mark.parametrize("action", ["do instead nothing", "do also insert into log values (1)"])
async def test_a_rule_that_rewrites_deletes_is_refused(database: Database, action: str) -> None:
    await database.execute(_EVENTS + f"create table log (id int); create rule shield as on delete to events {action}")
    database.write_policy(_RULE)
    planned = planned_step(await database.plan("retention"), "retention")
    assert "blocked: the rule shield rewrites every DELETE on public.events" in planned.summary
    run = await database.run("retention")
    assert (run.status, run.steps[0].stop_reason, run.rows) == (RunStatus.FAILED, StopReason.BLOCKED, 0)
    assert 'DROP RULE "shield" ON "public"."events"' in str(run.error)
    assert await _count(database) == 100
    assert await database.values("select count(*) from log") == [0]


async def test_rows_that_a_policy_hides_are_an_error_and_not_a_table_without_them(database: Database) -> None:
    await database.execute(
        _EVENTS + "drop role if exists half_blind; create role half_blind login password 'x';"
        "alter table events enable row level security; create policy p on events using (id < 50);"
        "create schema maintenance; grant usage, create on schema maintenance to half_blind;"
        f'grant create on database "{database.name}" to half_blind;'
        "grant select, update, delete on events to half_blind"
    )
    try:
        database.write_policy(_RULE)
        own = {"PGUSER": "half_blind", "PGPASSWORD": "x"}
        plan = await database.cli_json("plan", "retention", exit_code=1, **own)
        assert "BYPASSRLS" in plan["steps"][0]["summary"]
        done = await database.cli_json("run", "retention", exit_code=1, **own)
        assert done["steps"][0]["status"] == "failed"
        assert "what is hidden cannot be judged, so nothing was deleted" in done["error"]
        assert await _count(database) == 100
    finally:
        admin = await connect(database.server, database.name)
        await admin.execute("drop owned by half_blind cascade; drop role half_blind")
        await admin.close()


async def test_tables_that_inherit_are_named_and_left_alone(database: Database) -> None:
    await database.execute(
        _EVENTS + "create table archive () inherits (events); insert into archive select * from only events"
    )
    database.write_policy(_RULE)
    planned = planned_step(await database.plan("retention"), "retention")
    assert "not those of public.archive, which inherit from it: name them" in planned.summary
    assert planned.rows == 40
    assert (await database.run("retention")).rows == 40
    assert await database.values("select count(*) from only events") == [60]
    assert await database.values("select count(*) from archive") == [100]


async def test_a_parent_counts_with_those_that_inherit_from_it(database: Database) -> None:
    await database.execute(
        "create table parents (id int); create table more () inherits (parents);"
        "insert into parents values (1); insert into more values (2);"
        "create table children (parent int); insert into children values (1), (2), (3)"
    )
    rule = '[[orphans]]\ntables = ["children"]\ncolumn = "parent"\nparent = "parents"\nparent_column = "id"\n'
    assert (await database.run("orphans", policy=rule)).rows == 1
    assert await database.values("select parent from children order by 1") == [1, 2]


@pytest.mark.parametrize("partitioned", [False, True])
async def test_a_published_table_without_a_replica_identity_is_refused(database: Database, partitioned: bool) -> None:
    parts = "create table e1 partition of events for values from (0) to (1000);"
    await database.execute(
        f"create table events (id int, at timestamptz) {'partition by range (id)' if partitioned else ''};"
        f"{parts if partitioned else ''}"
        "insert into events select i, now() - i * interval '1 day' from generate_series(1, 100) i;"
        "create publication everything for table events"
    )
    database.write_policy(_RULE)
    said = planned_step(await database.plan("retention"), "retention").summary
    assert "has no replica identity, and the publication everything replicates its deletes" in said
    run = await database.run("retention")
    assert (run.status, run.steps[0].stop_reason) == (RunStatus.FAILED, StopReason.BLOCKED)
    assert await _count(database) == 100
    await database.execute(f"alter table {'e1' if partitioned else 'events'} replica identity full")
    assert (await database.run("retention")).rows in (40, 41)
    await database.execute("drop publication everything")


async def test_a_deferrable_key_is_no_replica_identity(database: Database) -> None:
    await database.execute(
        _EVENTS + "alter table events drop constraint events_pkey, add primary key (id) deferrable;"
        "create publication everything for table events"
    )
    database.write_policy(_RULE)
    try:
        run = await database.run("retention")
        assert "has no replica identity, and the publication everything" in str(run.error)
        assert run.steps[0].stop_reason is StopReason.BLOCKED
    finally:
        await database.execute("drop publication everything")


async def test_generated_columns_are_judged_like_others(database: Database) -> None:
    await database.execute(
        "create table events (id int, seconds bigint, day date generated always as (date '2020-01-01' + id) stored);"
        "insert into events select i, i from generate_series(1, 100) i; insert into events (id) values (4000)"
    )
    rule = '[[retention]]\ntable = "events"\ncolumn = "day"\nkeep = "1 year"\n'
    assert (await database.run("retention", policy=rule)).rows == 100
    assert await database.values("select id from events") == [4000]
