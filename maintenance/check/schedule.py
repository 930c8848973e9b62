"""Schedule: pg_cron's jobs of ours: whether they are on, and how they last went."""

from __future__ import annotations

from maintenance.check.kinds import finding
from maintenance.check.view import Look, View
from maintenance.findings import Finding
from maintenance.pg_cron.jobs import prefix
from maintenance.sql import statement


async def _find(view: View) -> list[Finding]:
    if not await view.connection.fetchval(statement("other_deleters", "has_cron")):
        return []
    async with view.connection.transaction():
        # Each role sees its own jobs: here that is what we want, and no error.
        await view.connection.execute(statement("other_deleters", "own_jobs"))
        rows = await view.rows("schedule", "jobs", prefix(view.database))
    found: list[Finding] = []
    for row in rows:
        if not row["active"]:
            cure = f"select cron.alter_job({row['id']}, active := true);"
            fact = f"the job ({row['schedule']}) is not active"
            found.append(finding("schedule.inactive", row["name"], fact, cure=cure))
        if row["status"] == "failed":
            when = f"{row['at']:%Y-%m-%d %H:%M} UTC" if row["at"] else "last time"
            said = (row["message"] or "").split("\n")[0]
            found.append(finding("schedule.failed", row["name"], f"the job failed ({when}): {said}"))
    return found


SCHEDULE = Look(name="schedule", what="pg_cron's jobs", find=_find)
