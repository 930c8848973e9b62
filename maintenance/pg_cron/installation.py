"""Installation: the compiled policy and its jobs put into the server, or taken out of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from asyncpg import Connection
from asyncpg import exceptions as pg

from maintenance.database import connected, fetch_one
from maintenance.errors import LeaseHeld, SettingsError, StatementRefused
from maintenance.pg_cron.compiler import USUAL, Compilation, compiled
from maintenance.pg_cron.jobs import Job, jobs
from maintenance.pg_cron.script import here, removed, rendered, there
from maintenance.refusals import first_line
from maintenance.settings import Settings
from maintenance.sql import script, statement

_FILE = "pg_cron"
_NAME = "maintenance install"
_NO_CRON = (
    "Database {database} has no pg_cron, so nothing could call the procedures. If its jobs are in another database, "
    "name it with --cron-database. On Azure: allow pg_cron in azure.extensions, add it to shared_preload_libraries, "
    "restart, and CREATE EXTENSION pg_cron in the database that cron.database_name names."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """The schedules, in GMT; and the database of pg_cron's jobs, where the server would not tell."""

    daily: str
    weekly: str
    cron_database: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What was put into the server."""

    compilation: Compilation
    jobs: tuple[Job, ...]


async def printed(settings: Settings, when: When) -> str:
    """The script that `install` would run. Reads only.

    Raises:
        PolicyError: the policy does not fit the database, or has what no procedure could do.
        UsageError: a schedule cannot be used.
    """
    async with connected(settings, name="maintenance sql pg-cron", read_only=True) as connection:
        compilation = await compiled(connection, settings, when.cron_database)
    return rendered(compilation, list(jobs(compilation, when.daily, when.weekly)))


async def install(settings: Settings, when: When) -> Installed:
    """Compile the policy, and put procedures and jobs into the server; safe to repeat.

    Raises:
        PolicyError, UsageError: as for `printed`; nothing was changed.
        SettingsError: there is no pg_cron; nothing was changed.
        LeaseHeld: a run is at work; nothing was changed.
        StatementRefused: this role may not; the procedures may be there, and no job calls them.
    """
    async with connected(settings, name=_NAME) as connection:
        compilation = await compiled(connection, settings, when.cron_database)
        made = tuple(jobs(compilation, when.daily, when.weekly))
        async with _cron(settings, connection, when.cron_database) as cron:
            try:
                await connection.execute(here(compilation))
                await cron.execute(there(compilation, made))
            except pg.LockNotAvailableError as error:
                raise LeaseHeld(
                    "A run is at work on this database, so nothing was installed; try again later."
                ) from error
            except pg.InsufficientPrivilegeError as error:
                raise StatementRefused(
                    f"The server refused it ({first_line(error)}): the role needs CREATE on schema maintenance, USAGE "
                    "on schema cron, and EXECUTE on cron.schedule or, where the jobs are kept in another database, on "
                    "cron.schedule_in_database (docs/schedulers.md)."
                ) from error
    return Installed(compilation=compilation, jobs=made)


async def remove(settings: Settings, cron_database: str | None = None) -> int:
    """Take jobs and procedures out of the server; the ledger stays. Returns how many jobs there were.

    Raises:
        SettingsError: there is no pg_cron.
        LeaseHeld: a run is at work; its jobs are gone, its procedures are not.
    """
    async with connected(settings, name=_NAME) as connection, _cron(settings, connection, cron_database) as cron:
        database = str(await connection.fetchval(statement("grants", "database")))
        async with cron.transaction():
            await cron.execute(statement("other_deleters", "own_jobs"))
            gone = len(await cron.fetch(removed(database)))
        try:
            async with connection.transaction():
                await connection.execute(statement(_FILE, "holds_lease"))
                await connection.execute(script("pg_cron/remove"))
        except pg.LockNotAvailableError as error:
            raise LeaseHeld(
                f"{gone} jobs were removed, but a run is at work on this database, so its procedures were not; try "
                "again."
            ) from error
        return gone


@asynccontextmanager
async def _cron(settings: Settings, connection: Connection, named: str | None) -> AsyncIterator[Connection]:
    """A connection to the database that has pg_cron's jobs.

    Raises:
        SettingsError: it has none.
    """
    where = await fetch_one(connection, statement(_FILE, "cron_database"))
    database = named or where["cron"] or USUAL
    async with AsyncExitStack() as stack:
        cron = connection
        if database != where["own"]:
            target = replace(settings.required_target(), database=database)
            cron = await stack.enter_async_context(connected(replace(settings, target=target), name=_NAME))
        if not await cron.fetchval(statement(_FILE, "has_cron")):
            raise SettingsError(_NO_CRON.format(database=database))
        yield cron
