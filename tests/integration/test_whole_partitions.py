"""Whole partitions: dropped where every row is expired and nobody sees the difference; else row by row."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from maintenance.database import connected
from maintenance.errors import Blocked, ConnectionLost, UsageError
from maintenance.ledger import Ledger
from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.steps import Step
from maintenance.tasks.partitions import HINDRANCES
from tests.databases import Database, planned_step, step
from tests.sessions import application, role, waiting

_POLICY = '[[retention]]\ntable = "events"\ncolumn = "at"\nkeep = "30 days"\n'
_TABLES = '''
create table events (id int, at {type}) partition by range (at);
create table "P ""1""" partition of events for values from (minvalue) to ('2010-01-01');
create table p2 partition of events for values from ('2010-01-01') to ('2020-01-01');
create table p3 partition of events for values from ('2020-01-01') to ('2999-01-01');
insert into events values (1, '-infinity'), (2, '2001-01-01'), (3, '2015-01-01'), (4, '2021-01-01'), (5, now());
'''
_DEFAULT = "create table rest partition of events default; insert into events values (6, null), (7, 'infinity');"


async def left(database: Database) -> list[int]:
    return await database.values("select id from events order by id")


async def tables(database: Database) -> list[str]:
    """Every table that is or was a partition of events."""
    return await database.values(
        "select relname::text from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace"
        " and relname <> 'events' order by 1"
    )


@pytest.mark.parametrize("type_", ["timestamptz", "timestamp", "date"])
@pytest.mark.parametrize("default", ["", _DEFAULT])
async def test_partitions_that_end_before_the_cutoff_are_dropped(database: Database, type_: str, default: str) -> None:
    await database.execute(_TABLES.format(type=type_) + default)
    plan = await database.plan("retention", policy=_POLICY)
    whole = planned_step(plan, "retention", "public.events")
    assert (whole.strategy, 'dropped as a whole: P "1", p2' in whole.summary) == ("partition", True)
    assert {s.table.name for s in plan.steps} == {"events", "p3", *(["rest"] if default else [])}
    run = await database.run("retention")
    done = step(run, "retention", "public.events")
    assert (run.status, done.status, done.rows) == (RunStatus.SUCCEEDED, StepStatus.SUCCEEDED, 3)
    assert done.note == "2 partitions dropped"
    assert await left(database) == ([5, 6, 7] if default else [5])
    assert await tables(database) == ["p3", *(["rest"] if default else [])]
    again = await database.run("retention")
    assert (again.status, again.rows) == (RunStatus.SUCCEEDED, 0)


async def test_the_last_partition_stays_even_where_all_may_go(database: Database) -> None:
    await database.execute(_TABLES.format(type="date"))
    await database.execute("drop table p3")
    run = await database.run("retention", policy=f"{_POLICY}allow_empty = true")
    assert (run.status, await left(database), await tables(database)) == (RunStatus.SUCCEEDED, [], ["p2"])
    await database.execute("create table p3 partition of events for values from ('2020-01-01') to (maxvalue)")
    await database.run("retention")
    assert await tables(database) == ["p3"]


async def test_the_guard_against_an_empty_table_stops_it(database: Database) -> None:
    await database.execute(_TABLES.format(type="date"))
    await database.execute("delete from events where id = 5")
    run = await database.run("retention", policy=_POLICY)
    assert {s.stop_reason for s in run.steps} == {StopReason.GUARD}
    assert (await left(database), await tables(database)) == ([1, 2, 3, 4], ['P "1"', "p2", "p3"])


async def test_the_partition_of_the_cutoff_is_left_until_all_of_it_is_due_if_the_policy_says_so(
    database: Database,
) -> None:
    await database.execute(
        _TABLES.format(type="timestamptz") + _DEFAULT + "update events set at = '2001-01-01' where id = 6"
    )
    run = await database.run("retention", policy=f'{_POLICY}boundary = "leave"')
    assert (run.status, await left(database)) == (RunStatus.SUCCEEDED, [4, 5, 7])


@pytest.mark.parametrize("policy", ['partitions = "rows"', 'where = "id > 0"'])
async def test_rows_go_one_by_one_where_the_policy_wants_it_or_is_about_some_of_them(
    database: Database, policy: str
) -> None:
    await database.execute(_TABLES.format(type="timestamptz"))
    run = await database.run("retention", policy=_POLICY + policy)
    assert ({s.strategy for s in run.steps}, await left(database)) == ({"heap"}, [5])
    assert await tables(database) == ['P "1"', "p2", "p3"]


_HINDERED = {
    "reference": "alter table events add primary key (id, at); create table notes (id int, at date, "
    "foreign key (id, at) references events on delete cascade)",
    "trigger": "create function f() returns trigger language plpgsql as $$ begin return old; end $$;"
    "create trigger t before delete on events for each row execute function f()",
    "view": 'create view v as select * from "P ""1"""; create view w as select * from p2',
    "publication": "alter table events add primary key (id, at); create publication everything for table events",
}


@pytest.mark.parametrize("hindrance", list(_HINDERED))
async def test_rows_go_one_by_one_where_somebody_would_see_the_difference(database: Database, hindrance: str) -> None:
    await database.execute(_TABLES.format(type="date") + _HINDERED[hindrance])
    plan = await database.plan("retention", policy=_POLICY)
    why = f"row by row as {HINDRANCES[hindrance]}"
    assert {s.table.name for s in plan.steps if why in s.summary} == {'P "1"', "p2"}
    run = await database.run("retention")
    assert (run.status, run.rows, await left(database)) == (RunStatus.SUCCEEDED, 4, [5])
    assert {'P "1"', "p2", "p3"} <= set(await tables(database))


async def test_rows_go_one_by_one_where_the_table_is_somebody_elses(database: Database) -> None:
    await database.execute(_TABLES.format(type="date"))
    database.write_policy(_POLICY)
    grants = (
        "grant create on database {database} to {role}",
        "grant select, delete on all tables in schema public to {role}",
    )
    async with role(database, *grants) as target:
        run = await database.run("retention", target=target)
    assert (run.status, run.rows, await left(database)) == (RunStatus.SUCCEEDED, 4, [5])
    assert HINDRANCES["owner"] in step(run, "retention", "public.p2").summary


async def test_what_is_partitioned_again_goes_with_all_of_it(database: Database) -> None:
    await database.execute(_TABLES.format(type="date"))
    await database.execute(
        "drop table p2; create table p2 partition of events for values from ('2010-01-01') to ('2020-01-01')"
        " partition by hash (id); create table p2_0 partition of p2 for values with (modulus 2, remainder 0);"
        "create table p2_1 partition of p2 for values with (modulus 2, remainder 1);"
        "insert into events values (8, '2015-01-01'), (9, '2015-01-01')"
    )
    run = await database.run("retention", policy=_POLICY)
    assert (run.status, await left(database), await tables(database)) == (RunStatus.SUCCEEDED, [5], ["p3"])
    assert step(run, "retention", "public.events").rows == 4


async def test_a_reader_is_not_pushed_aside_and_the_next_run_finishes_what_waited_for_it(database: Database) -> None:
    await database.execute(_TABLES.format(type="date"))
    async with application(database) as reader:
        await reader.execute("begin isolation level repeatable read; select count(*) from events")
        run = await database.run("retention", policy=_POLICY, lock_timeout=0.05)
        assert await reader.fetchval("select count(*) from events") == 5
    done = step(run, "retention", "public.events")
    assert (done.stop_reason, done.rows) == (StopReason.LOCK, 0)
    pending = "select c.relname::text from pg_inherits i join pg_class c on c.oid = inhrelid where inhdetachpending"
    assert await database.values(pending) == ['P "1"']
    again = await database.run("retention")
    assert (again.status, step(again, "retention", "public.events").rows) == (RunStatus.SUCCEEDED, 3)
    assert (await left(database), await tables(database)) == ([5], ["p3"])


async def named(database: Database) -> tuple[Step, dict[str, int | str | None]]:
    """The step, and the cursor after the batch that named the first partition."""
    await database.execute(_TABLES.format(type="date"))
    whole = planned_step(await database.plan("retention", policy=_POLICY), "retention", "public.events")
    batch = await whole.batch(database.connection, None, 1)
    assert (batch.rows, batch.done) == (0, False)
    assert batch.cursor is not None
    resumed = whole.resume(batch.cursor)
    assert resumed is not None
    return whole, resumed


async def test_a_partition_that_a_dead_run_had_detached_is_dropped_by_the_next(database: Database) -> None:
    whole, cursor = await named(database)
    await database.execute('alter table events detach partition "P ""1""" concurrently')
    cursor = {**cursor, "detached": 1}
    batch = await whole.batch(database.connection, cursor, 1)
    assert (batch.rows, await tables(database)) == (2, ["p2", "p3"])
    batch = await whole.batch(database.connection, cursor, 1)
    assert (batch.rows, batch.done, await tables(database)) == (0, False, ["p2", "p3"])


@pytest.mark.parametrize("default", ["", _DEFAULT])
async def test_a_partition_is_dropped_together_with_its_entry_in_the_ledger(database: Database, default: str) -> None:
    await database.execute(_TABLES.format(type="timestamptz") + default)
    await Ledger(database.connection).install()
    await database.execute(
        "create function suicide() returns trigger language plpgsql as $$ begin"
        " perform pg_terminate_backend(pg_backend_pid()); return new; end $$;"
        "create trigger suicide before update of rows on maintenance.step for each row when (new.rows > 0)"
        " execute function suicide()"
    )
    with pytest.raises(ConnectionLost):
        await database.run("retention", policy=_POLICY)
    assert await database.values("select sum(rows)::int from maintenance.step") == [0]
    assert await tables(database) == ['P "1"', "p2", "p3", *(["rest"] if default else [])]
    await database.execute("drop trigger suicide on maintenance.step")
    assert (await database.run("retention")).rows == 4
    assert await tables(database) == ["p3", *(["rest"] if default else [])]


async def test_a_detached_partition_that_got_other_rows_meanwhile_is_not_dropped(database: Database) -> None:
    whole, cursor = await named(database)
    await database.execute('alter table events detach partition "P ""1"""; insert into "P ""1""" values (9, now())')
    with pytest.raises(Blocked, match="has rows that are not due"):
        await whole.batch(database.connection, {**cursor, "detached": 1}, 1)
    with pytest.raises(Blocked, match="wants to keep it"):
        await whole.batch(database.connection, cursor, 1)
    assert await tables(database) == ['P "1"', "p2", "p3"]


@pytest.mark.parametrize(
    "change",
    [
        'alter table "P ""1""" rename to mine',
        (
            'alter table events detach partition "P ""1"""; create table more (id int, at date)'
            " partition by range (at);"
            ' alter table more attach partition "P ""1""" for values from (minvalue) to (\'2010-01-01\')'
        ),
    ],
)
async def test_a_named_partition_that_became_another_table_is_left_alone(database: Database, change: str) -> None:
    whole, cursor = await named(database)
    await database.execute(change)
    before = await tables(database)
    batch = await whole.batch(database.connection, cursor, 1)
    assert (batch.rows, batch.done, await tables(database)) == (0, False, before)


async def test_the_proof_that_nothing_stays_reads_no_row(database: Database) -> None:
    await database.execute(_TABLES.format(type="timestamptz") + _DEFAULT)
    async with connected(database.settings, name="maintenance run") as ours:
        await ours.execute("load 'auto_explain'; set auto_explain.log_min_duration = 0; set client_min_messages = log")
        said: list[str] = []
        ours.add_log_listener(lambda _, message: said.append(str(message)))
        whole = planned_step(await database.plan("retention", policy=_POLICY), "retention", "public.events")
        assert (await whole.batch(ours, None, 1)).rows == 2
    asked = [text for text in said if 'from "public"."P ""1"""' in text and "select exists" in text]
    assert len(asked) == 1
    assert "Scan" not in asked[0]


_P1 = '"P ""1"""'
_DEPENDENT = {
    "a function's body": f"create function f() returns int language sql begin atomic select 1 from {_P1}; end",
    "a column of its row type": f"create table more (r {_P1})",
    "an argument of its row type": f"create function g(r {_P1}) returns int language sql as 'select 1'",
    "a policy": f"create table more (id int); create policy q on more using (exists (select from {_P1}))",
    "its sequence": f"create sequence s owned by {_P1}.id; create table more (id int default nextval('s'))",
}


@pytest.mark.parametrize("dependent", list(_DEPENDENT))
async def test_rows_go_one_by_one_where_something_depends_on_the_partition(database: Database, dependent: str) -> None:
    await database.execute(_TABLES.format(type="date") + _DEPENDENT[dependent])
    run = await database.run("retention", policy=_POLICY)
    assert HINDRANCES["dependency"] in step(run, "retention", 'public.P "1"').summary
    assert (run.status, await left(database)) == (RunStatus.SUCCEEDED, [5])
    assert [name for name in await tables(database) if name != "more"] == ['P "1"', "p3"]


async def test_a_partition_that_somebody_detached_to_keep_it_is_kept_and_every_run_says_so(database: Database) -> None:
    await database.execute(_TABLES.format(type="date"))
    database.write_policy(_POLICY)
    async with application(database) as other:
        await other.execute(f"begin; lock table {_P1} in share mode")
        await database.run("retention", lock_timeout=0.05)
    await database.execute(f"alter table events detach partition {_P1}")
    for _ in range(2):
        run = await database.run("retention")
        done = step(run, "retention", "public.events")
        assert (run.status, done.status) == (RunStatus.FAILED, StepStatus.BLOCKED)
        assert "DROP, rename or ATTACH it" in (done.error or "")
    await database.execute(f"alter table {_P1} rename to kept")
    assert (await database.run("retention")).status is RunStatus.SUCCEEDED
    assert await tables(database) == ["kept", "p3"]


async def test_what_somebody_else_began_to_detach_is_finished_first(database: Database) -> None:
    await database.execute(_TABLES.format(type="date"))
    async with application(database) as reader, application(database) as other:
        await reader.execute("begin isolation level repeatable read; select count(*) from events")
        await other.execute("set lock_timeout = '50ms'")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await other.execute("alter table events detach partition p2 concurrently")
    run = await database.run("retention", policy=_POLICY)
    assert (run.status, await tables(database)) == (RunStatus.SUCCEEDED, ["p3"])


async def test_a_partition_beside_a_default_one_is_locked_after_its_table_as_readers_do(database: Database) -> None:
    """In the other order the server would end the reader, who has waited longer."""
    await database.execute(_TABLES.format(type="date") + _DEFAULT)
    async with application(database) as reader:
        await reader.execute("begin; select from events limit 1")
        running = asyncio.create_task(database.run("retention", policy=_POLICY, lock_timeout=30))
        pid = await waiting(database)
        held = (
            "select count(*) from pg_locks where pid = $1 and granted and locktype = 'relation'"
            " and mode = 'AccessExclusiveLock'"
        )
        assert await database.values(held, pid) == [0]
        await reader.execute("commit")
        assert (await running).status is RunStatus.SUCCEEDED


async def test_a_partition_that_goes_as_a_whole_cannot_be_named_alone(database: Database) -> None:
    await database.execute(_TABLES.format(type="date"))
    with pytest.raises(UsageError, match=r"p2 is dropped as a whole by the rule of public\.events"):
        await database.run("retention", policy=_POLICY, tables=["p2"])


async def test_the_lag_of_whole_partitions_is_that_of_their_oldest_row(database: Database) -> None:
    await database.execute(_TABLES.format(type="date"))
    whole = planned_step(await database.plan("retention", policy=_POLICY), "retention", "public.events")
    lag = await whole.lag(database.connection, done=False)
    assert lag is not None
    assert lag > 86_400 * 365 * 20
