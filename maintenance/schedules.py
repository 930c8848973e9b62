"""Schedules: when runs are due, by the Functions app's timers and by pg_cron, as far as this machine can see."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
from asyncpg import Connection

from maintenance.pg_cron.jobs import prefix
from maintenance.report.situation import NextRun
from maintenance.settings import Settings
from maintenance.sql import statement
from maintenance.variables import TIMERS

_PLAIN = ("GMT", "UTC")
"""Zones that need no word, as all instants are told in them."""
_FURTHEST = timedelta(days=400)
"""What is due less often than once a year is not looked for."""


async def next_runs(connection: Connection, settings: Settings, now: datetime) -> tuple[NextRun, ...]:
    """What is due, the soonest first; empty where no schedule can be seen from here. Reads only."""
    found = [*_timers(settings, now), *await _cron_jobs(connection, now)]
    return tuple(sorted(found, key=lambda run: (run.at is None, run.at or now, run.name)))


def _timers(settings: Settings, now: datetime) -> Iterator[NextRun]:
    for name, expression in settings.schedules:
        # In another time zone than ours we would tell a wrong hour.
        zone = settings.time_zone
        due, at = (None, None) if zone else around(expression, now, both=True)
        source = f"{TIMERS[name]}, in the time zone {zone} of the app" if zone else TIMERS[name]
        yield NextRun(name=name, schedule=expression, source=source, at=at, due=due)


async def _cron_jobs(connection: Connection, now: datetime) -> list[NextRun]:
    """The jobs of pg_cron's that call our procedures, as far as this role may see them."""
    try:
        if not await connection.fetchval(statement("other_deleters", "has_cron")):
            return []
        async with connection.transaction():
            # Each role sees its own jobs: here that is what we want, and no error.
            await connection.execute(statement("other_deleters", "own_jobs"))
            rows = await connection.fetch(statement("report", "cron_jobs"))
            zone = str(await connection.fetchval(statement("report", "cron_zone")))
    except asyncpg.PostgresError:
        if connection.is_closed():
            raise
        return []
    found = []
    for row in rows:
        due, at = around(row["schedule"].replace("$", "L"), now, both=False, zone=zone)
        name = row["name"].removeprefix(prefix(row["database"]))
        source = "pg_cron" if zone in _PLAIN else f"pg_cron, in the time zone {zone}"
        found.append(NextRun(name=name, schedule=row["schedule"], source=source, at=at, due=due))
    return found


def around(expression: str, now: datetime, *, both: bool, zone: str = "UTC") -> tuple[datetime | None, datetime | None]:
    """The instants of a cron expression next to `now`, before it and after it, in UTC; None where it tells none.

    With five fields as cron has them, or six as NCRONTAB does, whose first are seconds. `both` says that a day must be
    right by the month and by the week, as with NCRONTAB; cron takes it if either is. `zone` is that of its hours,
    by a name of the IANA's; one that this machine does not know tells no instant.
    https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
    """
    from cronsim import CronSim, CronSimError

    fields = expression.split()
    if len(fields) not in (5, 6):
        return None, None
    try:
        local = now.astimezone(ZoneInfo(zone))
    except (KeyError, OSError, ValueError):
        return None, None
    days = [fields]
    if both and fields[-1] != "*" and fields[-3] != "*":
        days = [[*fields[:-1], "*"], [*fields[:-3], "*", *fields[-2:]]]

    def nearest(*, reverse: bool) -> datetime | None:
        sides = [CronSim(" ".join(one), local, reverse=reverse) for one in days]
        instants = [next(side, None) for side in sides]
        while None not in instants and len(set(instants)) > 1:
            known = [instant for instant in instants if instant is not None]
            goal = min(known) if reverse else max(known)
            if abs(goal - now) > _FURTHEST:
                return None
            instants = [
                instant if instant == goal else next(side, None) for side, instant in zip(sides, instants, strict=True)
            ]
        return None if None in instants or instants[0] is None else instants[0].astimezone(UTC)

    try:
        return nearest(reverse=True), nearest(reverse=False)
    except CronSimError:
        return None, None
