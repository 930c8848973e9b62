"""Other deleters: who else takes rows from a table of the policy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import asyncpg
from asyncpg import Connection

from maintenance.names import Table
from maintenance.past import Deletions
from maintenance.sql import statement

_FILE = "other_deleters"
_FEW = 1000
"""Rows that an application takes back now and then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CronJob:
    """A job of pg_cron's in this database that deletes something."""

    name: str
    command: str

    def deletes_from(self, table: Table) -> bool:
        """Whether its text says so; what a function does that it calls, nobody can see."""
        schema = rf'(?:"?{re.escape(table.schema)}"?\s*\.\s*)?'
        what = rf'(?:delete\s+from|truncate)\s+(?:table\s+|only\s+)*{schema}"?{re.escape(table.name)}"?(?![\w$.])'
        return re.search(what, self.command, re.IGNORECASE) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherDeleters:
    """What is known of them when a plan or a run begins."""

    jobs: tuple[CronJob, ...] = ()
    before: Mapping[str, Deletions] = field(default_factory=dict)

    def scheduled(self, table: Table) -> str | None:
        """The jobs that delete from the table as well, in words."""
        names = [job.name for job in self.jobs if job.deletes_from(table)]
        return f"pg_cron deletes from it as well: {', '.join(names)}" if names else None

    def told(self, table: Table, total: int | None) -> str | None:
        """Who else deletes from the table, known or not; `total` are the deletes that were counted."""
        return "; ".join(filter(None, (self.unknown(table, total), self.scheduled(table)))) or None

    def unknown(self, table: Table, total: int | None) -> str | None:
        """What somebody has deleted from the table since our last step there, in words."""
        last = self.before.get(str(table))
        # A total that is less than it was began anew: a crash, a reset, another table of that name.
        others = None if last is None or total is None or total < last.total else total - last.total
        if last is None or others is None or others < _FEW or others <= last.rows:
            return None
        return (
            f"since run {last.run_id} others deleted {others:,} rows of it, more than our rule did: the "
            "application, another job, or foreign keys that cascade"
        )


async def cron_jobs(connection: Connection) -> tuple[CronJob, ...]:
    """Active jobs of pg_cron's that delete in this database, as far as this role may see them; none without pg_cron."""
    if not await connection.fetchval(statement(_FILE, "has_cron")):
        return ()
    try:
        async with connection.transaction():
            # Each role sees its own jobs: here that is what we want, and no error.
            await connection.execute(statement(_FILE, "own_jobs"))
            rows = await connection.fetch(statement(_FILE, "cron_jobs"))
    except asyncpg.PostgresError:
        if connection.is_closed():
            raise
        return ()
    return tuple(CronJob(name=row["name"], command=row["command"]) for row in rows)
