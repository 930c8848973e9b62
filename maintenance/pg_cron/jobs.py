"""Jobs: what pg_cron is to call, and when; the minutes of jobs that follow each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from maintenance.errors import UsageError
from maintenance.names import literal
from maintenance.pg_cron.compiler import Compilation

DAILY = "0 2 * * *"
WEEKLY = "0 3 * * 0"
"""In GMT, as pg_cron reads them; the same hours as the timers of the Functions app."""
_FIELD = r"(?:\*|\d{1,2}(?:-\d{1,2})?(?:,\d{1,2}(?:-\d{1,2})?)*)(?:/\d{1,2})?"
_SCHEDULE = re.compile(rf"{_FIELD}(?: {_FIELD}){{4}}")
_WEEKLY = re.compile(r"(\d{1,2}) (\d{1,2}) \* \* ([0-6])")
_AFTER = 60
"""Minutes after the last VACUUM has begun when somebody looks whether all were done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One named job."""

    name: str
    schedule: str
    command: str


def prefix(database: str) -> str:
    """What the names of all jobs of a database begin with."""
    return f"maintenance {database} "


def jobs(compilation: Compilation, daily: str, weekly: str) -> Iterator[Job]:
    """The clean-up, a VACUUM a table one after the other, and the look whether they were done.

    Raises:
        UsageError: a schedule is not one that can be used.
    """
    if not _SCHEDULE.fullmatch(daily):
        raise UsageError(f"--daily {daily!r} is no schedule of pg_cron; write five fields in GMT, such as {DAILY!r}.")
    start = prefix(compilation.database)
    yield Job(name=f"{start}daily-cleanup", schedule=daily, command="call maintenance.cron_run('daily-cleanup')")
    after = 0
    for one in compilation.tables:
        yield Job(name=f"{start}vacuum {one.table}", schedule=later(weekly, after), command=one.command)
        after += one.minutes
    look = after + _AFTER
    within = literal(f"{look} minutes")
    call = f"call maintenance.cron_vacuumed({within})"
    yield Job(name=f"{start}weekly-vacuum", schedule=later(weekly, look), command=call)


def later(schedule: str, minutes: int) -> str:
    """A weekly schedule so many minutes later, over midnight and the end of the week.

    Raises:
        UsageError: it is not one minute of one day of the week.
    """
    found = _WEEKLY.fullmatch(schedule)
    if found is None or int(found[1]) > 59 or int(found[2]) > 23:
        raise UsageError(
            f"--weekly {schedule!r} is not one minute of one day of the week, from which the jobs of all tables could "
            f"be counted; write one in GMT, such as {WEEKLY!r}."
        )
    minute, hour, day = (int(part) for part in found.groups())
    whole = ((day * 24 + hour) * 60 + minute + minutes) % (7 * 24 * 60)
    return f"{whole % 60} {whole // 60 % 24} * * {whole // 60 // 24}"
