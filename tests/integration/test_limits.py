"""Limits: a rule that would take too much is stopped before its first row goes, and let pass by approval or ramp."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from maintenance import policy_file
from maintenance.budget import Budget
from maintenance.clock import utc
from maintenance.conduct import Conduct
from maintenance.database import connected
from maintenance.engine import planned
from maintenance.errors import PolicyError
from maintenance.ledger import Ledger
from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.runs import Request
from maintenance.witness import Witness
from tests.databases import Database, planned_step, step

_TABLES = """
create table parents (id int primary key);
insert into parents select generate_series(1, 40);
create table children (id int, parent int) with (fillfactor = 10);
insert into children select i, i from generate_series(1, 100) i;
create table twins (id int, key int);
insert into twins select i, i % 40 from generate_series(1, 100) i;
create table catalog (hash int);
insert into catalog select generate_series(1, 100);
create table uses (hash int);
insert into uses select generate_series(1, 40);
create table events (id int, at timestamptz);
insert into events select i, now() - i * interval '1 day' from generate_series(1, 100) i;
"""
_RULES = {
    "retention": '[[retention]]\ntable = "events"\ncolumn = "at"\nkeep = "40 days"\n',
    "duplicates": '[[duplicates]]\ntables = ["twins"]\nkey = ["key"]\nnewest = ["id"]\n',
    "orphans": '[[orphans]]\ntables = ["children"]\ncolumn = "parent"\nparent = "parents"\nparent_column = "id"\n',
    "unreferenced": '[[unreferenced]]\ntable = "catalog"\ncolumn = "hash"\n'
    'references = [{ table = "uses", column = "hash" }]\n',
}
_OF = {"retention": "events", "duplicates": "twins", "orphans": "children", "unreferenced": "catalog"}
_MOST = [task for task in _RULES if task != "retention"]


async def _left(database: Database, task: str) -> int:
    (count,) = await database.values(f"select count(*)::int from {_OF[task]}")
    return int(count)


async def _stopped(database: Database, task: str, rule: str) -> str:
    """A run that a limit stops before a row goes: what it says."""
    database.write_policy(rule, guarded=True)
    run = await database.run(task)
    (done,) = run.steps
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.GUARD)
    assert (done.status, done.stop_reason, done.rows) == (StepStatus.INTERRUPTED, StopReason.GUARD, 0)
    assert await _left(database, task) == 100
    return str(done.error)


@pytest.mark.parametrize("task", _MOST)
async def test_more_than_half_of_a_table_goes_only_where_the_policy_says_so(database: Database, task: str) -> None:
    await database.execute(_TABLES)
    said = await _stopped(database, task, _RULES[task])
    assert f"60 of the 100 rows of public.{_OF[task]} would go (60%), and max_fraction = 0.5 allows no more" in said
    assert "so nothing was deleted" in said
    assert planned_step(await database.plan(task), task).rows == 60

    database.write_policy(_RULES[task] + "max_fraction = 0.6\n", guarded=True)
    run = await database.run(task)
    assert (run.status, run.rows, await _left(database, task)) == (RunStatus.SUCCEEDED, 60, 40)


async def test_retention_may_take_any_share_unless_the_policy_says_otherwise(database: Database) -> None:
    await database.execute(_TABLES)
    await _stopped(database, "retention", _RULES["retention"] + "max_fraction = 0.5\n")
    database.write_policy(_RULES["retention"], guarded=True)
    assert (await database.run("retention")).rows == 61


@pytest.mark.parametrize("task", list(_RULES))
async def test_max_rows_is_a_limit_of_every_rule(database: Database, task: str) -> None:
    await database.execute(_TABLES)
    free = _RULES[task] + "max_fraction = 1\n"
    assert "and max_rows = 59 allows no more" in await _stopped(database, task, free + "max_rows = 59\n")
    database.write_policy(free + "max_rows = 61\n", guarded=True)
    assert (await database.run(task)).status is RunStatus.SUCCEEDED


@pytest.mark.parametrize("task", list(_RULES))
async def test_a_plan_ends_with_the_word_that_lets_exactly_it_pass(database: Database, task: str) -> None:
    await database.execute(_TABLES)
    database.write_policy(_RULES[task] + "max_rows = 10\n", guarded=True)
    document = await database.cli_json("plan", task)
    word = document["approve"]
    told = await database.cli("plan", task)
    assert f"run ... --approve {word}" in told.stdout
    stopped = await database.cli("run", task)
    assert stopped.returncode == 3
    assert f"`python -m maintenance plan {task}`" in " ".join(stopped.stdout.split())

    run = await database.cli_json("run", task, "--approve", word)
    assert (run["status"], run["rows"]) == ("succeeded", document["steps"][0]["rows"])
    assert run["approve"] == word
    again = await database.cli("run", task, "--approve", word)
    assert again.returncode == 2
    assert "there is nothing to approve" in again.stderr


@pytest.mark.parametrize(
    "change",
    [
        "insert into children select 1000 + i, 1000 from generate_series(1, 1100) i",
        "alter table children add note text",
        "policy",
        "table",
    ],
)
async def test_an_approval_is_good_for_nothing_else(database: Database, change: str) -> None:
    await database.execute(_TABLES)
    database.write_policy(_RULES["orphans"], guarded=True)
    word = (await database.plan("orphans")).approve
    assert word is not None
    if change == "policy":
        database.write_policy(_RULES["orphans"] + "allow_empty_parent = true\n", guarded=True)
    elif change == "table":
        database.write_policy(_RULES["orphans"].replace("children", "twins").replace('"parent"', '"id"'), guarded=True)
    else:
        await database.execute(change)
    before = await _left(database, "orphans")
    done = await database.cli("run", "orphans", "--approve", word)
    assert done.returncode == 2
    assert "have changed since that plan, so nothing was done" in done.stderr
    assert await _left(database, "orphans") == before


async def test_an_approval_lets_no_other_rule_pass_and_outlives_a_few_rows_more(database: Database) -> None:
    await database.execute(_TABLES)
    database.write_policy(_RULES["orphans"] + _RULES["duplicates"], guarded=True)
    word = (await database.plan("orphans")).approve
    await database.execute("insert into children select 1000 + i, 1000 from generate_series(1, 5) i")
    done = await database.cli("run", "orphans", "duplicates", "--approve", str(word))
    assert done.returncode == 2, "two rules are stopped, and only one of them was approved"
    run = await database.cli_json("run", "orphans", "--approve", str(word))
    assert run["rows"] == 65
    for wrong in ("", "12345678", "xyz", f"{word}.1", "0" * 8 + "-60"):
        assert (await database.cli("run", "duplicates", "--approve", wrong)).returncode == 2
    assert await _left(database, "duplicates") == 100


@pytest.mark.parametrize("task", list(_RULES))
async def test_a_ramp_takes_a_backlog_in_shares(database: Database, task: str) -> None:
    await database.execute(_TABLES)
    await database.execute("alter table events set (fillfactor = 10)")
    await database.execute(
        "insert into events select i, now() - interval '50 days' from generate_series(101, 3000) i;"
        "insert into children select i, i from generate_series(101, 3000) i;"
        "insert into twins select i, i % 40 from generate_series(101, 3000) i;"
        "insert into catalog select generate_series(101, 3000)"
    )
    due = {"retention": 2961, "duplicates": 2960, "orphans": 2960, "unreferenced": 2960}[task]
    database.write_policy(_RULES[task] + "ramp = 1000\n", guarded=True)
    assert "at most 1,000 a run" in planned_step(await database.plan(task), task).summary
    taken: list[int] = []
    for _ in range(20):
        run = await database.run(task)
        taken.append(run.rows)
        if run.status is RunStatus.SUCCEEDED:
            break
        assert run.stop_reason is StopReason.GUARD
        assert "ramp = 1000: the next run" in str(run.error)
    else:
        pytest.fail(f"not finished: {taken}")
    assert sum(taken) == due
    # The smallest batch of unreferenced and orphans is more than this table has.
    assert task in ("unreferenced", "orphans") or max(taken) <= 1000
    assert task == "unreferenced" or len(taken) >= 2


async def test_a_run_that_takes_more_than_was_measured_is_stopped(database: Database) -> None:
    """The first row that goes takes the parent of all others along."""
    await database.execute(
        "create table parents (id int); insert into parents values (1), (2);"
        "create table children (id int, parent int) with (fillfactor = 10);"
        "insert into children select i, case when i < 5 then 3 else 2 end from generate_series(1, 8000) i;"
        "create function more() returns trigger language plpgsql as"
        " 'begin delete from parents where id = 2; return null; end';"
        "create trigger more after delete on children for each row execute function more()"
    )
    database.write_policy(_RULES["orphans"], guarded=True)
    run = await database.run("orphans", batch_target=0.005)
    (done,) = run.steps
    assert (done.status, done.stop_reason) == (StepStatus.INTERRUPTED, StopReason.GUARD)
    assert 4 < done.rows <= 4 * 1.1 + 1000
    assert f"{done.rows:,} rows went where 4 were measured" in str(done.error)


async def test_a_partitioned_table_is_measured_as_a_whole(database: Database) -> None:
    await database.execute(
        "create table parents (id int); insert into parents values (1);"
        "create table children (id int, parent int) partition by range (id);"
        "create table c1 partition of children for values from (0) to (100);"
        "create table c2 partition of children for values from (100) to (300);"
        "insert into children select i, case when i < 100 then 7 else 1 end from generate_series(0, 299) i"
    )
    database.write_policy(_RULES["orphans"], guarded=True)
    run = await database.run("orphans")
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 100), "a third of the table, all of one partition"
    await database.execute("update children set parent = 7 where id < 250")
    assert (await database.run("orphans")).stop_reason is StopReason.GUARD
    assert await database.values("select count(*) from children") == [200]


async def test_what_takes_too_long_to_count_is_judged_by_a_sample(database: Database) -> None:
    await database.execute(
        "create table parents (id int primary key); insert into parents select generate_series(1, 40000);"
        "create table children (id int, parent int);"
        "insert into children select i, i % 120000 from generate_series(1, 240000) i; analyze children;"
        "create function slow(int) returns boolean language plpgsql as"
        " 'begin if $1 % 24 = 0 then perform pg_sleep(0.00005); end if; return true; end'"
    )
    database.write_policy(
        '[[retention]]\ntable = "children"\ncolumn = "at"\nkeep = "1 day"\nmax_fraction = 0.5\nwhere = "slow(id)"\n',
        guarded=True,
    )
    await database.execute("alter table children add at timestamptz")
    await database.execute(
        "update children set at = now() - case when parent > 40000 then '9 d' else '1 h' end::interval"
    )
    run = await database.run("retention", count_timeout=1.0, budget=60)
    (done,) = run.steps
    assert done.stop_reason is StopReason.GUARD, done.error
    assert done.rows == 0
    assert "about " in str(done.error)


@pytest.mark.parametrize(
    ("action", "stays"), [("cascade", 10), ("set null", 10), ("set default", 10), ("no action", None)]
)
async def test_what_foreign_keys_take_along_is_shown_and_counts(
    database: Database, action: str, stays: int | None
) -> None:
    await database.execute(
        "create table devices (id int primary key, seen timestamptz);"
        "insert into devices select i, now() - i * interval '1 day' from generate_series(1, 10) i;"
        "create table notes (id int primary key, device int default 1 references devices on delete " + action + ");"
        "insert into notes select i, 1 + i % 10 from generate_series(1, 100) i;"
        "create table tags (note int references notes on delete cascade);"
        "insert into tags select 1 + i % 100 from generate_series(1, 1000) i"
    )
    rule = '[[retention]]\ntable = "devices"\ncolumn = "seen"\nkeep = "7 days 1 hour"\n'
    database.write_policy(rule, guarded=True)
    said = planned_step(await database.plan("retention"), "retention").summary
    word = {"cascade": "deletes", "set null": "sets to NULL", "set default": "sets to the default"}.get(action)
    if word is None:
        assert "notes" not in said
        return
    assert f"the foreign key notes_device_fkey {word} 30 rows of public.notes along" in said
    assert ("deletes 300 rows of public.tags along" in said) == (action == "cascade")
    database.write_policy(rule + "max_rows = 32\n", guarded=True)
    run = await database.run("retention")
    assert run.stop_reason is StopReason.GUARD
    assert "30 rows of public.notes along" in str(run.error)
    assert "and max_rows = 32 allows no more" in str(run.error)
    assert await database.values("select count(*) from devices") == [stays]
    # A third of the notes; a limit of the share is one of theirs, too.
    database.write_policy(rule + "max_fraction = 0.25\n", guarded=True)
    assert (await database.run("retention")).stop_reason is StopReason.GUARD
    database.write_policy(rule + "max_fraction = 0.5\n", guarded=True)
    assert (await database.run("retention")).rows == 3


@pytest.mark.parametrize(("minutes", "stops"), [(-6, True), (6, True), (-4, False), (4, False)])
async def test_a_clock_that_is_far_from_ours_stops_every_rule(database: Database, minutes: int, stops: bool) -> None:
    await database.execute(_TABLES)
    free = "".join(rule + ("" if task == "retention" else "max_fraction = 1\n") for task, rule in _RULES.items())
    database.write_policy(free, guarded=True)

    def ours() -> datetime:
        return utc() + timedelta(minutes=minutes)

    request = Request(names=tuple(_RULES))
    plan = await planned(request, database.settings, now=ours)
    assert [s.summary.startswith("guard: the database's clock (") for s in plan.steps] == [stops] * 4
    assert plan.approve is None
    async with connected(database.settings, name="test") as connection:
        conduct = Conduct(
            connection=connection, ledger=Ledger(connection), settings=database.settings,
            policy=policy_file.load(database.policy_file), budget=Budget(10), witness=Witness(), now=ours,
        )  # fmt: skip
        run = await conduct.begin(request)
    assert run is not None
    if stops:
        assert {(s.stop_reason, s.rows) for s in run.steps} == {(StopReason.GUARD, 0)}
        assert "is 6 min from ours" in str(run.error)
        assert "set the clocks right" in str(run.error)
    else:
        assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 241)


@pytest.mark.parametrize("clock", ["", "soon", "-1 hour", "0", "infinity", "1000 years"])
async def test_an_allowance_that_is_no_span_is_refused(database: Database, clock: str) -> None:
    await database.execute(_TABLES)
    database.write_policy(_RULES["retention"] + f'[guards]\nclock = "{clock}"\n', guarded=True)
    with pytest.raises(PolicyError, match="clock"):
        await database.run("retention")


_KEPT: list[tuple[str, str, set[int]]] = [
    ("keep_newest = 3", "", {1, 2, 3}),
    ("keep_newest = 1", "", {1}),
    ("keep_newest = 100", "", {1, 2, 3, 4, 5, 6, 7}),
    ("keep_newest = 2", "where = \"kind <> 'b'\"", {1, 2, 4, 6}),
    ('keep_per_key = { columns = ["kind"], rows = 1 }', "", {1, 2, 7}),
    ('keep_per_key = { columns = ["kind"], rows = 2 }', "", {1, 2, 3, 4, 7}),
    ('keep_per_key = { columns = ["kind"], rows = 9 }', "", {1, 2, 3, 4, 5, 6, 7}),
    ('keep_per_key = { columns = ["kind"], rows = 1 }', "keep_newest = 3", {1, 2, 3, 7}),
]


@pytest.mark.parametrize(("key", "more", "stays"), _KEPT)
@pytest.mark.parametrize("partitioned", [False, True])
async def test_floors_keep_the_newest_rows_however_old_they_are(
    database: Database, key: str, more: str, stays: set[int], partitioned: bool
) -> None:
    parts = (
        "create table p1 partition of events for values from (1) to (4);"
        "create table p2 partition of events for values from (4) to (99);"
    )
    await database.execute(
        f"create table events (id int, kind text, at timestamp) {'partition by range (id)' if partitioned else ''};"
        f"{parts if partitioned else ''}"
        "insert into events values (1, 'a', now() - interval '41 days'), (2, 'b', now() - interval '42 days'),"
        "(3, 'a', now() - interval '43 days'), (4, 'b', now() - interval '44 days'),"
        "(5, 'a', now() - interval '45 days'), (6, 'b', now() - interval '46 days'),"
        "(7, 'c', now() - interval '47 days')"
    )
    rule = f'[[retention]]\ntable = "events"\ncolumn = "at"\nkeep = "30 days"\nallow_empty = true\n{key}\n{more}\n'
    planned = await database.plan("retention", policy=rule)
    assert sum(s.rows or 0 for s in planned.steps) == 7 - len(stays)
    assert (await database.run("retention")).rows == 7 - len(stays)
    assert set(await database.values("select id from events")) == stays
    assert (await database.run("retention")).rows == 0


async def test_rows_without_a_key_have_no_floor_of_their_own(database: Database) -> None:
    await database.execute(
        "create table events (id int, kind text, at date);"
        "insert into events values (1, null, '2020-01-01'), (2, 'a', '2020-01-01'), (3, 'a', '2020-01-01')"
    )
    rule = '[[retention]]\ntable = "events"\ncolumn = "at"\nkeep = "1 year"\n'
    rule += 'keep_per_key = { columns = ["kind"], rows = 1 }\n'
    assert (await database.run("retention", policy=rule)).rows == 2
    assert await database.values("select kind from events") == ["a"]


async def test_a_floor_of_each_key_wants_an_index_where_the_table_is_not_small(database: Database) -> None:
    await database.execute(
        "create table events (kind int, at timestamptz);"
        "insert into events select i % 100, now() - i * interval '1 hour' from generate_series(1, 30000) i"
    )
    rule = '[[retention]]\ntable = "events"\ncolumn = "at"\nkeep = "1 day"\n'
    rule += 'keep_per_key = { columns = ["kind"], rows = 2 }\n'
    with pytest.raises(PolicyError, match=r'CREATE INDEX CONCURRENTLY ON "public"\."events" \("kind"\)'):
        await database.run("retention", policy=rule)
    await database.execute("create index on events (kind, at)")
    assert (await database.run("retention")).rows == 30000 - 200
    assert set(await database.values("select count(*) from events group by kind")) == {2}


async def test_archived_devices_and_rows_outside_where_are_never_touched(database: Database) -> None:
    await database.execute(
        "create table devices (id text primary key, archived boolean, seen timestamptz);"
        "insert into devices values ('old', false, now() - interval '90 days'),"
        "('kept', true, now() - interval '90 days'),"
        "('unknown', null, now() - interval '90 days'), ('new', false, now());"
    )
    rule = '[[retention]]\ntable = "devices"\ncolumn = "seen"\nkeep = "30 days"\nwhere = "not archived"\n'
    run = await database.run("retention", policy=rule)
    assert step(run, "retention").rows == 1
    assert await database.values("select id from devices order by 1") == ["kept", "new", "unknown"]


async def test_an_approval_without_the_right_shape_is_refused_before_anything_is_written(database: Database) -> None:
    await database.execute(_TABLES)
    database.write_policy(_RULES["orphans"], guarded=True)
    done = await database.cli("run", "--approve", "nonsense")
    assert done.returncode == 2
    assert await database.values("select to_regclass('maintenance.run')::text") == [None]
