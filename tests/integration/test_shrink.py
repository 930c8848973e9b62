"""shrink: a table of which little is live is rewritten, within its limits, and what that gave back is measured."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from maintenance.amounts import size
from maintenance.demo.server import embedded_server
from maintenance.errors import PolicyError
from maintenance.ledger import Ledger
from maintenance.models import RunStatus, StepStatus, StopReason, Took
from maintenance.runs import Run, StepResult
from maintenance.tasks import hours, live, pinned
from maintenance.tasks.expectation import rewriting
from maintenance.tasks.hours import Term
from maintenance.tasks.rewrite import ShrinkStep
from tests.databases import Database, fresh, planned_step, step
from tests.odd_schema import NAME, asked, least, member
from tests.sessions import LEDGER_GRANTS, application, counted, locked, role, waiting

_QUIET = "autovacuum_enabled = off, toast.autovacuum_enabled = off"
_DEVICES = 60
_RULE = """
[[shrink]]
tables = ["applications"]
min_size = "1MB"
"""
_PARTS = """
select pg_table_size(c.oid) - pg_total_relation_size(c.reltoastrelid) as heap,
       pg_total_relation_size(c.reltoastrelid) as toast, pg_indexes_size(c.oid) as indexes
from pg_class c where c.relname = 'applications'
"""


async def bloated(database: Database, *, rounds: int = 12, options: str = _QUIET) -> None:
    """ReportMate's case in small: one row a device, whose large document is written anew at each check-in."""
    await database.execute(
        f"create table applications (id serial primary key, device_id text, data jsonb) with ({options});"
        "alter table applications alter data set storage external;"
        "create index on applications (device_id);"
        "insert into applications (device_id, data)"
        " select 'device ' || n, jsonb_build_object('installed', repeat(md5(n::text), 600))"
        f" from generate_series(1, {_DEVICES}) n"
    )
    for number in range(rounds):
        await database.execute(
            f"update applications set data = jsonb_build_object('installed', repeat(md5((id * {number})::text), 600))"
        )
    await counted(database)
    await database.execute("vacuum (analyze) applications")


async def contents(database: Database) -> list[Any]:
    return await database.values("select md5(string_agg(t::text, ',' order by id)) from applications t")


async def parts(database: Database) -> dict[str, int]:
    row = await database.connection.fetchrow(_PARTS)
    return dict(row) if row else {}


def shrunk(run: Run) -> StepResult:
    return step(run, "shrink", "public.applications")


async def test_little_that_is_live_is_rewritten_and_what_each_part_gave_back_is_said(database: Database) -> None:
    await bloated(database)
    before, rows = await parts(database), await contents(database)
    plan = await database.plan("weekly-vacuum", policy=_RULE)
    planned = planned_step(plan, "shrink", "public.applications")
    assert planned.strategy == "vacuum full"
    for part in ("heap ", "TOAST ", "indexes ", "of heap and TOAST is live (estimated from 60 rows)", "the disk needs"):
        assert part in planned.summary
    assert await parts(database) == before
    run = await database.run("weekly-vacuum")
    done, after = shrunk(run), await parts(database)
    assert (run.status, done.status, done.stop_reason) == (RunStatus.SUCCEEDED, StepStatus.SUCCEEDED, StopReason.DONE)
    assert after["toast"] < before["toast"] / 5
    assert all(after[part] <= before[part] for part in before)
    assert (done.bytes_before, done.bytes_after) == (sum(before.values()), sum(after.values()))
    assert await contents(database) == rows
    told = ", ".join(
        f"{name} {size(before[part])} to {size(after[part])}"
        for name, part in (("heap", "heap"), ("TOAST", "toast"), ("indexes", "indexes"))
    )
    assert done.note == f"{size(sum(before.values()) - sum(after.values()))} given back: {told}"
    visible = "select relallvisible = relpages from pg_class where relname = 'applications'"
    assert await database.values(visible) == [True], "it was vacuumed after it was rewritten"
    again = await database.run("weekly-vacuum")
    assert (again.status, shrunk(again).strategy, shrunk(again).batches) == (RunStatus.SUCCEEDED, "none", 0)
    assert "more than live_fraction = 0.5" in shrunk(again).summary


async def test_the_terminal_shows_what_was_given_back(database: Database) -> None:
    await bloated(database)
    database.write_policy(_RULE)
    planned = " ".join((await database.cli("plan", "shrink")).stdout.split())
    assert "shrink applications vacuum full" in planned
    done = await database.cli("run", "shrink")
    assert done.returncode == 0, done.stdout
    shown = " ".join(done.stdout.split())
    assert re.search(r"shrink applications: [\d.]+ MB given back: heap .* to .*, TOAST .* to .*, indexes .* to ", shown)
    document = await database.cli_json("plan", "shrink")
    assert [one["strategy"] for one in document["steps"]] == ["none"]


async def test_without_a_rule_nothing_is_ever_rewritten(database: Database) -> None:
    await bloated(database)
    before = await parts(database)
    run = await database.run("weekly-vacuum", "shrink", policy="[vacuum]\njobs = 1\n")
    assert [s for s in run.steps if s.task == "shrink"] == []
    assert await parts(database) == before


_STOPPED = [
    ('max_rewrite = "1MB"', "above max_rewrite = '1MB'"),
    ('max_lock = "10 milliseconds"', "above max_lock = '10 milliseconds'"),
]


@pytest.mark.parametrize(("line", "why"), _STOPPED)
async def test_a_limit_stops_it_and_says_which(database: Database, line: str, why: str) -> None:
    await bloated(database)
    before = await parts(database)
    plan = await database.plan("shrink", policy=f"{_RULE}{line}\n")
    assert why in planned_step(plan, "shrink").summary
    run = await database.run("shrink")
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.GUARD)
    assert why in (shrunk(run).error or "")
    assert await parts(database) == before


@pytest.mark.parametrize(
    ("lines", "steps"), [('min_size = "1MB"\nlive_fraction = 0.05', ["none"]), ('min_size = "1GB"', []), ("", [])]
)
async def test_a_threshold_that_is_not_reached_leaves_nothing_to_do(
    database: Database, lines: str, steps: list[str]
) -> None:
    await bloated(database)
    before = await parts(database)
    run = await database.run("shrink", policy=_RULE.replace('min_size = "1MB"', lines))
    assert ([s.strategy for s in run.steps], run.status) == (steps, RunStatus.SUCCEEDED)
    assert await parts(database) == before


async def test_outside_its_window_it_waits_and_says_when_it_opens(database: Database) -> None:
    await bloated(database)
    before = await parts(database)
    (weekday,) = await database.values("select to_char(now() at time zone 'Europe/Vienna' + interval '3 days', 'Dy')")
    run = await database.run("shrink", policy=f'{_RULE}window = "{weekday} 02:00-05:00 Europe/Vienna"\n')
    assert (run.status, run.stop_reason) == (RunStatus.INTERRUPTED, StopReason.GUARD)
    assert f"the window is {weekday} 02:00-05:00 Europe/Vienna, and opens at {weekday} 2" in (shrunk(run).error or "")
    summary = planned_step(await database.plan("shrink"), "shrink").summary
    assert f"; waits, the window is {weekday} 02:00-05:00 Europe/Vienna" in summary
    assert await parts(database) == before
    both = f'["{weekday} 02:00-05:00 Europe/Vienna", "00:00-24:00 UTC"]'
    run = await database.run("shrink", policy=f"{_RULE}window = {both}\n")
    assert run.status is RunStatus.SUCCEEDED
    assert (await parts(database))["toast"] < before["toast"] / 5


async def test_an_application_that_holds_the_table_is_not_kept_waiting_beyond_the_lock_timeout(
    database: Database,
) -> None:
    await bloated(database)
    before, rows = await parts(database), await contents(database)
    database.write_policy(_RULE)
    async with locked(database, "applications", "access share"), application(database) as other:
        running = asyncio.create_task(database.run("shrink", lock_timeout=0.3))
        await waiting(database)
        began = time.monotonic()
        await other.fetchval("select count(*) from applications")
        assert time.monotonic() - began < 1.0
        run = await running
    assert (run.status, shrunk(run).status, shrunk(run).stop_reason) == (
        RunStatus.INTERRUPTED, StepStatus.INTERRUPTED, StopReason.LOCK,
    )  # fmt: skip
    assert "the application has public.applications, so it is as it was" in (shrunk(run).error or "")
    assert (await parts(database), await contents(database)) == (before, rows)
    assert (await database.run("shrink")).status is RunStatus.SUCCEEDED


async def test_what_is_not_over_within_max_lock_is_taken_back_and_expected_to_take_longer(database: Database) -> None:
    await bloated(database)
    before, rows = await parts(database), await contents(database)
    policy = _RULE + 'max_lock = "600 milliseconds"\n'
    async with locked(database, "applications", "access share"):
        run = await database.run("shrink", policy=policy, lock_timeout=30)
    assert (run.status, shrunk(run).stop_reason) == (RunStatus.INTERRUPTED, StopReason.BUDGET)
    assert "not over within max_lock" in (shrunk(run).error or "")
    assert (await parts(database), await contents(database)) == (before, rows)
    run = await database.run("shrink")
    assert "lock everybody out for about 1 s, above max_lock = '600 milliseconds'" in (shrunk(run).error or "")


async def test_a_table_that_is_somebodys_alone_is_said_and_left(database: Database) -> None:
    await bloated(database)
    async with locked(database, "applications"):
        run = await database.run("shrink", policy=_RULE)
    assert (run.status, shrunk(run).stop_reason) == (RunStatus.INTERRUPTED, StopReason.LOCK)


async def test_killed_in_the_middle_nothing_is_lost_and_the_next_run_does_it(database: Database) -> None:
    await bloated(database)
    rows = await contents(database)
    database.write_policy(_RULE)
    # It is waiting at the end of its rewrite, in an index that calls a function which takes its time.
    await database.execute(
        "create function slow(text) returns text language plpgsql immutable as $$ begin"
        " if current_setting('application_name') like 'maintenance run%' then perform pg_sleep(0.2); end if;"
        " return $1; end $$;"
        "create index on applications (slow(device_id))"
    )
    before = await parts(database)
    process = subprocess.Popen(database.command("run", "shrink"), env=database.environment, cwd=database.folder)
    for _ in range(1000):
        if await database.values("select pid from pg_stat_progress_cluster where phase = 'rebuilding index'"):
            break
        await asyncio.sleep(0.01)
    else:
        raise AssertionError("it never came to rebuild an index")
    process.send_signal(signal.SIGKILL)
    await asyncio.to_thread(process.wait)
    for _ in range(1000):
        if not await database.values("select pid from pg_stat_progress_cluster"):
            break
        await asyncio.sleep(0.01)
    assert (await parts(database), await contents(database)) == (before, rows)
    await database.execute("drop function slow cascade")
    run = await database.run("shrink")
    assert run.status is RunStatus.SUCCEEDED
    assert (await parts(database))["toast"] < before["toast"] / 5
    assert await contents(database) == rows


async def test_dead_rows_that_somebody_keeps_block_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinned, "PATIENCE", 0.3)
    await bloated(database)
    async with application(database) as reader:
        await reader.execute("begin isolation level repeatable read; select from applications")
        await database.execute("update applications set device_id = 'x' || device_id")
        await counted(database)
        before = await parts(database)
        run = await database.run("shrink", policy=_RULE)
    assert (run.status, shrunk(run).stop_reason) == (RunStatus.FAILED, StopReason.BLOCKED)
    assert (shrunk(run).error or "").startswith("VACUUM FULL of public.applications was not begun: it has 60 dead rows")
    assert await parts(database) == before


@pytest.mark.parametrize("granted", [False, True])
async def test_a_role_that_may_not_is_blocked(database: Database, granted: bool) -> None:
    if granted and database.connection.get_server_version().major < 17:
        pytest.skip("needs PostgreSQL 17 for GRANT MAINTAIN")
    await Ledger(database.connection).install()
    await bloated(database)
    grants = ["grant select on applications to {role}"]
    if granted:
        grants.append("grant maintain on applications to {role}")
    async with role(database, *LEDGER_GRANTS, *grants) as plain:
        run = await database.run("shrink", policy=_RULE, target=plain)
    expected = StepStatus.SUCCEEDED if granted else StepStatus.BLOCKED
    assert shrunk(run).status is expected, shrunk(run).error


async def test_a_role_that_may_not_read_is_told_what_to_grant(database: Database) -> None:
    await Ledger(database.connection).install()
    await bloated(database)
    async with role(database, *LEDGER_GRANTS) as plain:
        run = await database.run("shrink", policy=_RULE, target=plain)
    assert (run.status, shrunk(run).stop_reason) == (RunStatus.INTERRUPTED, StopReason.GUARD)
    assert "grant the role SELECT on it, or pgstattuple" in (shrunk(run).error or "")


async def test_with_pgstattuple_it_is_measured(database: Database) -> None:
    await database.execute("create schema ext; create extension pgstattuple schema ext")
    await bloated(database)
    summary = planned_step(await database.plan("shrink", policy=_RULE), "shrink").summary
    assert "of heap and TOAST is live (by pgstattuple)" in summary


async def test_room_that_a_fillfactor_keeps_is_not_taken_for_empty(database: Database) -> None:
    await database.execute(
        f"create table roomy (id int, body text) with (fillfactor = 20, {_QUIET});"
        "insert into roomy select n, repeat('x', 100) from generate_series(1, 20000) n"
    )
    await database.execute("vacuum (analyze) roomy")
    await counted(database)
    run = await database.run("shrink", policy='[[shrink]]\ntables = ["*"]\nmin_size = "1MB"\n')
    (roomy,) = run.steps
    assert (roomy.strategy, run.status) == ("none", RunStatus.SUCCEEDED)


async def test_partitions_are_taken_by_their_own_name_or_their_tables_and_the_first_rule_counts(
    database: Database,
) -> None:
    await database.execute("create table log (id int, body text) partition by range (id)")
    for name, low in (("log_a", 1), ("log_b", 2), ("log_c", 3)):
        await database.execute(
            f"create table {name} partition of log for values from ({low}) to ({low + 1}) with ({_QUIET});"
            f"insert into log select {low}, repeat('x', 500) from generate_series(1, 5000);"
            f"delete from {name} where ctid > '(3,0)'"
        )
        await database.execute(f"vacuum (analyze, truncate false) {name}")
    await counted(database)
    policy = (
        '[[shrink]]\ntables = ["log_b"]\nmin_size = "1MB"\nmax_rewrite = "1kB"\n'
        '[[shrink]]\ntables = ["log", "!log_c"]\nmin_size = "1MB"\n'
    )
    run = await database.run("shrink", policy=policy)
    assert {(s.table, str(s.stop_reason)) for s in run.steps} == {("public.log_a", "done"), ("public.log_b", "guard")}
    assert await database.values("select count(*) = 3 * (select count(*) from log_a) from log") == [True]


_WRONG = [
    ('min_size = "much"', r"shrink\[1\].min_size = 'much' is no size"),
    ('max_lock = "soon"', r"shrink\[1\].max_lock = 'soon' is no interval above zero"),
    ('max_lock = "0 s"', r"shrink\[1\].max_lock = '0 s' is no interval above zero"),
]


@pytest.mark.parametrize(("line", "message"), _WRONG)
async def test_the_server_judges_sizes_and_intervals_before_anything_is_written(
    database: Database, line: str, message: str
) -> None:
    database.write_policy(f'[[shrink]]\ntables = ["*"]\n{line}\n')
    for verb in (database.plan, database.run):
        with pytest.raises(PolicyError, match=message):
            await verb("weekly-vacuum")
    assert await database.values("select to_regnamespace('maintenance')::text") == [None]


async def test_a_vacuum_keeps_to_its_window_too(database: Database) -> None:
    await database.execute("create table t (id int) with (autovacuum_enabled = off)")
    await database.execute("insert into t select generate_series(1, 20000)")
    await counted(database)
    (weekday,) = await database.values("select to_char(now() at time zone 'UTC' + interval '3 days', 'Dy')")
    run = await database.run("vacuum", policy=f'[vacuum]\nwindow = "{weekday} 02:00-05:00 UTC"\n')
    assert (run.status, run.stop_reason, step(run, "vacuum").batches) == (RunStatus.INTERRUPTED, StopReason.GUARD, 0)
    assert "a run in those hours does it" in (step(run, "vacuum").error or "")
    run = await database.run("vacuum", policy='[vacuum]\nwindow = "daily 00:00-24:00 UTC"\n')
    assert run.status is RunStatus.SUCCEEDED
    assert [s.table for s in run.steps] == ["public.t"]


async def test_where_pg_repack_is_installed_its_command_is_printed_and_works(tmp_path: Path) -> None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_repack"))
    if not found:
        pytest.skip("needs pg_repack (Debian and Ubuntu: apt install postgresql-15-repack)")
    with embedded_server(bin_directory=found[-1].parent) as server:
        async with fresh(server, "repacked", tmp_path) as database:
            await database.execute("create extension pg_repack")
            await bloated(database)
            before, rows = await parts(database), await contents(database)
            run = await database.run("shrink", policy=f'{_RULE}max_rewrite = "1kB"\n')
            message = shrunk(run).error or ""
            command = message[message.index("pg_repack --") :]
            words = [str(found[-1]), *shlex.split(command)[1:]]
            done = await asyncio.to_thread(
                subprocess.run, words, env=database.environment, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, done.stderr
            assert (await parts(database))["toast"] < before["toast"] / 5
            assert await contents(database) == rows


@pytest.mark.parametrize(
    ("work", "last", "others", "seconds"),
    [
        (50_000_000, None, (), 2.0),
        (50_000_000, None, ((1.0, 100_000_000),), 1.0),
        (50_000_000, (1.0, 100_000_000), ((1.0, 900_000_000),), 0.5),
        (50_000_000, (0.001, 1000), (), 2.0),
    ],
)
def test_what_a_rewrite_takes_is_told_by_the_last_ones_or_else_by_the_disk(
    work: int, last: tuple[float, int] | None, others: tuple[tuple[float, int], ...], seconds: float
) -> None:
    def took(one: tuple[float, int]) -> Took:
        return Took(seconds=one[0], size=10**9, after=one[1])

    assert rewriting(work, took(last) if last else None, [took(one) for one in others]) == pytest.approx(seconds)


def test_a_rewrite_that_was_taken_back_is_expected_to_take_twice_as_long() -> None:
    assert rewriting(1000, Took(seconds=9.0, size=10**9, cut=True), ()) == 18.0


async def test_the_printed_grants_are_all_that_a_rewrite_needs(database: Database) -> None:
    if database.connection.get_server_version().major < 17:
        pytest.skip("needs PostgreSQL 17 for GRANT MAINTAIN")
    await bloated(database)
    before = await parts(database)
    database.write_policy(_RULE + '[vacuum]\ntables = ["none"]\n')
    script = least(await asked(database))
    assert 'grant maintain on table "public"."applications"' in script
    async with member(database, NAME, script) as plain:
        run = await database.run("shrink", target=plain)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert (await parts(database))["toast"] < before["toast"] / 5


async def test_a_table_of_which_the_server_has_no_count_is_not_taken_for_empty(database: Database) -> None:
    await database.execute(
        f"create table full_one with ({_QUIET}) as select n, repeat('x', 100) from generate_series(1, 50000) n"
    )
    await counted(database)
    await database.execute("select pg_stat_reset()")
    assert await database.values("select reltuples from pg_class where relname = 'full_one'") == [-1]
    run = await database.run("shrink", policy='[[shrink]]\ntables = ["full_one"]\nmin_size = "1MB"\n')
    (done,) = run.steps
    assert (done.strategy, done.status) == ("none", StepStatus.SUCCEEDED)


async def test_rows_that_lie_too_thin_for_a_sample_are_estimated_from_statistics(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_BLOCKS", 0)
    await database.execute(
        f"create table thin with ({_QUIET}) as select n, repeat('x', 100) from generate_series(1, 50000) n;"
        "delete from thin where n % 10000 <> 0"
    )
    await counted(database)
    await database.execute("vacuum (analyze) thin")
    run = await database.run("shrink", policy='[[shrink]]\ntables = ["thin"]\nmin_size = "1MB"\n')
    (done,) = run.steps
    assert (done.strategy, run.status) == ("vacuum full", RunStatus.SUCCEEDED)
    assert "is live (estimated from its statistics)" in done.summary
    assert (done.bytes_after or 0) < (done.bytes_before or 0) / 20


async def test_what_a_rewrite_did_not_make_smaller_is_not_rewritten_each_week(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However wrong the estimate is."""
    monkeypatch.setattr(live, "_HEAP", 0.01)
    await database.execute(
        f"create table full_one with ({_QUIET}) as select n, repeat('x', 100) from generate_series(1, 50000) n"
    )
    await database.execute("vacuum (analyze) full_one")
    await counted(database)
    policy = '[[shrink]]\ntables = ["full_one"]\nmin_size = "1MB"\n'
    assert [s.strategy for s in (await database.run("shrink", policy=policy)).steps] == ["vacuum full"]
    (done,) = (await database.run("shrink")).steps
    assert (done.strategy, done.status) == ("none", StepStatus.SUCCEEDED)
    assert "its last rewrite gave back next to nothing" in done.summary


def ends_in(monkeypatch: pytest.MonkeyPatch, seconds: float) -> str:
    """The line of a window that is open for so long, whenever somebody looks at the clock."""

    async def soon(_: object) -> datetime:
        return datetime(2026, 11, 1, 5, tzinfo=UTC) - timedelta(seconds=seconds)

    monkeypatch.setattr(hours, "clock", soon)
    return 'window = "Sun 02:00-05:00 UTC"\n'


_VACUUM = "[vacuum]\ninsert_rows = 0\ninsert_fraction = 0\n"


@pytest.mark.parametrize(("task", "policy"), [("vacuum", _VACUUM), ("shrink", _RULE)])
async def test_what_is_at_work_when_the_window_closes_is_ended_and_nothing_is_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch, task: str, policy: str
) -> None:
    await bloated(database)
    await database.execute("insert into applications (device_id) values ('new')")
    await counted(database)
    before, rows = await parts(database), await contents(database)
    async with locked(database, "applications", "share update exclusive"):
        run = await database.run(task, policy=policy + ends_in(monkeypatch, 1.0), lock_timeout=30)
    done = step(run, task)
    assert (done.status, done.stop_reason) == (StepStatus.INTERRUPTED, StopReason.BUDGET)
    assert "its window Sun 02:00-05:00 UTC closed before it was done, after 1 s; nothing is lost" in (done.error or "")
    assert (await parts(database), await contents(database)) == (before, rows)


@pytest.mark.parametrize(("task", "policy"), [("vacuum", _VACUUM), ("shrink", _RULE)])
async def test_what_is_not_expected_to_end_in_the_window_is_not_begun(
    database: Database, monkeypatch: pytest.MonkeyPatch, task: str, policy: str
) -> None:
    await bloated(database)
    await database.execute("insert into applications (device_id) values ('new')")
    await counted(database)
    run = await database.run(task, policy=policy + ends_in(monkeypatch, 0.01))
    done = step(run, task)
    assert (done.status, done.stop_reason, done.batches) == (StepStatus.INTERRUPTED, StopReason.GUARD, 0)
    assert "expected, and its window Sun 02:00-05:00 UTC closes in under 1 s" in (done.error or "")


async def slowly_indexed(database: Database, seconds: float) -> None:
    """An index that takes a run so long for each device, when it is made and when it is analyzed."""
    await database.execute(
        "create function slow(text) returns text language plpgsql immutable as $$ begin"
        f" if current_setting('application_name') like 'maintenance run%' then perform pg_sleep({seconds}); end if;"
        " return $1; end $$;"
        "create index on applications (slow(device_id))"
    )


@pytest.mark.parametrize(("lock_timeout", "afterwards"), [(0.8, RunStatus.INTERRUPTED), (1.2, RunStatus.SUCCEEDED)])
async def test_all_attempts_at_a_rewrite_together_end_when_the_window_closes(
    database: Database, monkeypatch: pytest.MonkeyPatch, lock_timeout: float, afterwards: RunStatus
) -> None:
    """One that was cut off is expected to take longer; one that was not begun, as there was no time left, is not."""
    await bloated(database)
    before, seconds, limit = await parts(database), 2.0, 'max_lock = "3 seconds"\n'
    async with locked(database, "applications", "access share"):
        began = time.monotonic()
        run = await database.run(
            "shrink", policy=_RULE + limit + ends_in(monkeypatch, seconds), lock_timeout=lock_timeout
        )
        took = time.monotonic() - began
    assert (run.status, shrunk(run).stop_reason) == (RunStatus.INTERRUPTED, StopReason.BUDGET)
    assert "its window Sun 02:00-05:00 UTC" in (shrunk(run).error or "")
    assert took < seconds + 1.0
    assert await parts(database) == before
    assert (await database.run("shrink", policy=_RULE + limit)).status is afterwards


async def test_the_vacuum_after_a_rewrite_ends_when_the_window_closes_and_the_note_says_so(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bloated(database)
    rewrite = 2.4
    await slowly_indexed(database, rewrite / _DEVICES)
    window = 1.5 * rewrite
    began = time.monotonic()
    run = await database.run("shrink", policy=_RULE + ends_in(monkeypatch, window))
    took = time.monotonic() - began
    assert shrunk(run).status is StepStatus.SUCCEEDED, shrunk(run).error
    assert "the VACUUM after it was not made" in (shrunk(run).note or "")
    assert took < window + rewrite / 3


async def test_where_no_time_is_left_the_vacuum_after_a_rewrite_is_not_begun(database: Database) -> None:
    await bloated(database)
    (planned,) = (await database.plan("shrink", policy=_RULE)).steps
    assert isinstance(planned, ShrinkStep)
    term = Term(connection=database.connection, whole=1.0, end=time.monotonic(), window=None)
    before = await database.values("select last_vacuum from pg_stat_user_tables where relname = 'applications'")
    assert "the VACUUM after it was not begun" in await planned.afterwards(term)
    after = await database.values("select last_vacuum from pg_stat_user_tables where relname = 'applications'")
    assert before == after


async def test_a_column_that_is_computed_when_it_is_read_takes_no_room(database: Database) -> None:
    if database.connection.get_server_version().major < 18:
        pytest.skip("needs PostgreSQL 18 for virtual generated columns")
    await bloated(database)
    await database.execute(
        "alter table applications add thick text generated always as (repeat(data::text, 20)) virtual,"
        " add wrong int generated always as (1 / (id - 7)) virtual"
    )
    planned = planned_step(await database.plan("shrink", policy=_RULE), "shrink")
    assert planned.strategy == "vacuum full"
    assert "(estimated from 60 rows)" in planned.summary
