"""`check`: the ledger, and whether the work was done: did it run at all, and did it get through?"""

from __future__ import annotations

import pytest

from maintenance.findings import Severity
from maintenance.lease import lease
from maintenance.ledger import Ledger
from tests.checks import POLICY, check, codes, keeper, look, make, only
from tests.databases import Database, connect
from tests.sessions import role


async def age(database: Database, interval: str, where: str = "true") -> None:
    await database.execute(
        f"update maintenance.run set started_at = started_at - interval '{interval}',"
        f" as_of = as_of - interval '{interval}', ended_at = ended_at - interval '{interval}' where {where}"
    )


async def test_no_ledger_is_a_warning_where_it_can_be_made_and_an_error_where_not(database: Database) -> None:
    database.write_policy("")
    assert only(await look(database, "runs"), "ledger.missing").severity is Severity.WARNING
    async with role(database, "grant connect on database {database} to {role}") as target:
        found = only(await check(database, target=target), "ledger.forbidden")
        assert found.severity is Severity.ERROR
        await database.execute(str(found.cure))
        assert only(await check(database, target=target), "ledger.missing").severity is Severity.WARNING


async def test_a_ledger_without_a_run(database: Database) -> None:
    database.write_policy("")
    await Ledger(database.connection).install()
    assert codes(await look(database, "runs")) == ["runs.never"]


async def test_an_older_ledger(database: Database) -> None:
    await make(database)
    await database.execute("alter table maintenance.step drop column dead_before")
    examination = await look(database, "runs")
    assert [one.code for one in examination.findings] == ["ledger.old"]
    assert [(one.look, one.what) for one in examination.unseen] == [("runs", "the last runs")]
    async with keeper(database) as target:
        examination = await check(database, target=target)
        found = only(examination, "ledger.forbidden")
        assert (found.severity, f"{target.user} may not bring it up to date" in found.fact) == (Severity.ERROR, True)
        assert "install` as " in found.remedy
        assert ("runs", "the last runs") in [(one.look, one.what) for one in examination.unseen]
    await database.run("daily-cleanup")
    assert codes(await look(database, "runs")) == []


async def test_a_ledger_that_may_be_read_and_not_written(database: Database) -> None:
    await make(database)
    async with keeper(database, "insert") as target:
        await database.execute(f"grant usage on schema maintenance to {target.user}")
        await database.execute(f"grant select on all tables in schema maintenance to {target.user}")
        examination = await check(database, target=target)
        assert codes(examination) == ["ledger.forbidden"]
        await database.execute(str(examination.findings[0].cure))
        assert codes(await check(database, target=target)) == []


@pytest.mark.parametrize(
    ("interval", "found"),
    [
        ("35 hours", []),
        ("37 hours", ["runs.overdue"]),
        ("8 days", ["runs.overdue"]),
        ("10 days", ["runs.overdue", "runs.vacuum_overdue"]),
    ],
)
async def test_runs_that_did_not_come(database: Database, interval: str, found: list[str]) -> None:
    await make(database)
    await age(database, interval)
    examination = await look(database, "runs")
    assert codes(examination) == found
    assert [one.severity for one in examination.findings] == [Severity.ERROR, Severity.WARNING][: len(found)]


async def test_a_clean_up_that_failed_all_the_time_is_told_with_its_error_and_since_when(database: Database) -> None:
    await make(database)
    await age(database, "40 hours")
    await database.execute("create rule kept as on delete to event do instead nothing")
    for _ in range(2):
        await database.run("daily-cleanup")
    await age(database, "30 hours", "id = 3")
    examination = await look(database, "runs")
    assert codes(examination) == ["runs.failed", "runs.overdue"]
    failed = only(examination, "runs.failed")
    assert "the last 2 runs failed, since " in failed.fact
    assert "the rule kept rewrites every DELETE" in failed.fact
    assert "history --run 4" in failed.remedy
    await database.execute("drop rule kept on event")
    await database.run("daily-cleanup")
    assert codes(await look(database, "runs")) == []


async def test_a_run_of_some_tables_is_no_clean_up(database: Database) -> None:
    await make(database)
    await age(database, "40 hours")
    await database.run("daily-cleanup", tables=["event"])
    assert codes(await look(database, "runs")) == ["runs.overdue"]


async def test_a_run_of_one_task_by_hand_hides_no_other_that_fails_every_night(database: Database) -> None:
    await make(database)
    await age(database, "40 hours")
    await database.execute(
        "alter table item drop constraint item_device_fkey, drop constraint item_device_key;"
        "create rule kept as on delete to item do instead nothing"
    )
    for _ in range(2):
        await database.run("daily-cleanup")
        await age(database, "10 hours", "id > 2")
    await database.run("retention")
    examination = await look(database, "runs")
    assert codes(examination) == ["runs.failed", "runs.overdue"]
    assert [one.subject for one in examination.findings] == ["duplicates, orphans"] * 2
    assert "the last 2 runs failed" in examination.findings[0].fact
    await database.execute("drop rule kept on item")
    await database.run("duplicates", "orphans")
    assert codes(await look(database, "runs")) == []


async def test_a_task_that_got_through_in_a_run_that_failed_is_not_said_to_have_failed(database: Database) -> None:
    await make(database)
    await age(database, "40 hours")
    await database.execute("create rule kept as on delete to event do instead nothing")
    await database.run("daily-cleanup")
    assert [one.subject for one in (await look(database, "runs")).findings] == ["retention"] * 2
    await database.execute("drop rule kept on event")
    await database.run("retention")
    assert codes(await look(database, "runs")) == []


async def test_a_run_that_is_killed_every_night_did_not_get_through(database: Database) -> None:
    await make(database)
    await age(database, "40 hours", "name = 'daily-cleanup'")
    await database.execute(
        "insert into maintenance.run (name, status, scheduler, as_of)"
        " values ('daily-cleanup', 'running', 'test', now())"
    )
    await Ledger(database.connection).close_dead()
    assert await database.values("select status from maintenance.run where id = 3") == ["interrupted"]
    assert codes(await look(database, "runs")) == ["runs.overdue"]


async def test_the_tasks_by_their_names_are_a_clean_up(database: Database) -> None:
    await make(database)
    await age(database, "40 hours")
    await database.run("retention", "duplicates", "orphans")
    assert codes(await look(database, "runs")) == []


async def test_a_vacuum_that_never_came(database: Database) -> None:
    await make(database)
    await database.execute("delete from maintenance.run where name = 'weekly-vacuum'")
    assert codes(await look(database, "runs")) == []
    await age(database, "10 days")
    await database.run("daily-cleanup")
    assert "never came" in only(await look(database, "runs"), "runs.vacuum_overdue").fact


async def test_clean_ups_that_all_leave_work(database: Database) -> None:
    await make(database)
    for number in range(7):
        assert codes(await look(database, "runs")) == []
        await database.execute(
            "insert into maintenance.run (name, status, stop_reason, scheduler, as_of, ended_at)"
            f" values ('daily-cleanup', 'interrupted', 'budget', 'test {number}', now(), now())"
        )
    assert codes(await look(database, "runs")) == ["runs.unfinished"]
    await database.run("daily-cleanup")
    assert codes(await look(database, "runs")) == []


async def test_a_run_whose_session_is_gone(database: Database) -> None:
    await make(database)
    await database.execute(
        "insert into maintenance.run (name, status, scheduler, as_of)"
        " values ('daily-cleanup', 'running', 'test', now())"
    )
    other = await connect(database.server, database.name)
    try:
        async with lease(other):
            assert codes(await look(database, "runs")) == []
    finally:
        await other.close()
    assert only(await look(database, "runs"), "runs.dead").subject == "run 3"


async def test_a_pause_is_told(database: Database) -> None:
    await make(database)
    await database.cli("pause", "--reason", "a release")
    found = only(await look(database, "runs"), "runs.paused")
    assert "a release" in found.fact
    await database.cli("resume")
    assert codes(await look(database, "runs")) == []


async def test_a_rule_that_a_guard_stops_every_night(database: Database) -> None:
    await make(database)
    await database.execute("update event set at = now() - interval '50 days'")
    await database.run("daily-cleanup")
    found = only(await look(database, "runs"), "runs.guarded")
    assert (found.severity, found.subject) == (Severity.WARNING, "retention public.event")
    assert "allow_empty" in found.fact
    await database.execute("insert into event values (1000, now())")
    await database.run("daily-cleanup")
    assert codes(await look(database, "runs")) == []


async def test_a_rule_that_is_late_is_named_by_what_its_last_step_left(database: Database) -> None:
    await make(database)
    assert codes(await look(database, "lateness")) == []
    await database.execute("update maintenance.step set lag_after = 2 * 86400 where task = 'retention'")
    found = only(await look(database, "lateness"), "retention.late")
    assert (found.severity, found.subject) == (Severity.WARNING, "public.event")
    assert "'at keep 30 days' wants gone had been due for 2 days; 24 h 0 min are allowed" in found.fact
    # The policy may allow more.
    patient = POLICY + '\n[guards]\nlag_objective = "3 days"\n'
    assert codes(await look(database, "lateness", policy=patient)) == []


async def test_a_timer_that_was_due_and_began_nothing_is_missed(database: Database) -> None:
    await make(database)
    (now,) = await database.values("select now()")
    # Every three hours, the last time an hour and a half ago at least.
    hours = sorted({(now.hour - 2 - 3 * n) % 24 for n in range(7)})
    schedules = (("daily-cleanup", f"0 0 {','.join(map(str, hours))} * * *"),)
    assert codes(await look(database, "lateness", schedules=schedules)) == []
    await age(database, "9 hours", "name = 'daily-cleanup'")
    found = only(await look(database, "lateness", schedules=schedules), "schedule.missed")
    assert (found.severity, found.subject) == (Severity.ERROR, "daily-cleanup")
    assert "has not begun since; it last did 9 h ago, by DAILY_CLEANUP_SCHEDULE" in found.fact
