"""The demo fleet under ReportMate's own policy, end to end."""

from maintenance.models import RunStatus
from tests.databases import Database, planned_step, step

_STATES = """
select data ->> 'state' from applications union select data ->> 'state' from hardware
union select data ->> 'state' from profiles union select data ->> 'state' from printers order by 1
"""


async def test_daily_cleanup_leaves_what_must_stay_and_a_second_run_finds_nothing(fleet: Database) -> None:
    state_rows = await fleet.values("select count(*) from events where module_id is not null")
    run = await fleet.run("daily-cleanup")
    assert run.status is RunStatus.SUCCEEDED
    assert step(run, "retention", "public.events").rows > 0
    assert await fleet.values("select count(*) from events where module_id is not null") == state_rows
    assert set(await fleet.values(_STATES)) == {"current", "orphan, fresh"}
    again = await fleet.run("daily-cleanup")
    assert (again.status, again.rows) == (RunStatus.SUCCEEDED, 0)
    assert all(s.updated == 0 for s in again.steps)


async def test_the_plan_counts_what_the_run_deletes(fleet: Database) -> None:
    plan = await fleet.plan("retention", "duplicates", "orphans")
    run = await fleet.run("retention", "duplicates")
    for done in run.steps:
        if done.status == "succeeded":
            expected = planned_step(plan, done.task, done.table)
            assert (done.table, done.rows, expected.exact) == (done.table, expected.rows, True)
