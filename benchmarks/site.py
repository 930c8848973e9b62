"""The site: the server that everything is measured on, and the databases that the benchmark makes and drops there."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
from asyncpg import Connection
from asyncpg import exceptions as pg

from maintenance.demo.server import embedded_server
from maintenance.errors import SettingsError
from maintenance.settings import Settings
from maintenance.target import Auth, Target
from maintenance.tls import tls

SETTINGS = {
    "shared_buffers": "256MB",
    # No checkpoint comes in the middle of a measurement; one is made before each.
    "max_wal_size": "32GB",
    "min_wal_size": "1GB",
    "checkpoint_timeout": "1h",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_compression": "off",
    "autovacuum": "off",
    "jit": "off",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track_planning": "on",
}
"""Of the embedded server, the same for all contenders; everything else is PostgreSQL's default."""
_SHOWN = (
    "server_version", "shared_buffers", "work_mem", "maintenance_work_mem", "max_wal_size", "fsync",
    "synchronous_commit", "full_page_writes", "wal_compression", "data_checksums", "autovacuum", "jit",
    "random_page_cost", "io_method",
)  # fmt: skip
_ROOT = Path(__file__).parents[1]
_STATEMENTS = """
select coalesce(sum(total_exec_time + total_plan_time), 0) / 1000 as seconds,
       coalesce(max(max_exec_time), 0) / 1000 as longest
from pg_stat_statements where dbid = (select oid from pg_database where datname = $1)
"""
_RESET = "select pg_stat_statements_reset(0, (select oid from pg_database where datname = $1), 0)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server, and `connection` to a database of the benchmark's own there."""

    target: Target
    binaries: Path | None
    """Where the server's programs are, vacuumdb among them; None for those of PATH."""
    connection: Connection
    prefix: str
    toy: bool
    """Whether this is about whether everything works: times mean nothing, so nobody need wait for the disk."""
    counts_statements: bool
    """Whether pg_stat_statements is there to ask."""

    def of(self, database: str) -> Target:
        """The same server, another database."""
        return replace(self.target, database=database)

    async def connect(self, database: str) -> Connection:
        """A plain session, as a user's script has it."""
        return await connect(self.of(database))

    async def create(self, name: str, template: str | None = None) -> str:
        """Make a database, empty or a copy of another, and return its whole name."""
        whole = f"{self.prefix}_{name}"
        copied = f' template "{template}"' if template else ""
        if template and not self.toy and self.connection.get_server_version().major >= 15:
            # The default would write the whole copy to the WAL first.
            copied += " strategy file_copy"
        await self.connection.execute(f'create database "{whole}"{copied}')
        return whole

    async def drop(self, whole: str) -> None:
        """Drop a database that `create` made."""
        await self.connection.execute(f'drop database if exists "{whole}" with (force)')

    async def checkpoint(self) -> None:
        """Let what has been written so far cost nobody anything; where the role may not, it stays as it is."""
        try:
            await self.connection.execute("checkpoint")
        except pg.InsufficientPrivilegeError:
            return

    async def wal(self) -> int:
        """The place in the WAL, in bytes."""
        return int(await self.connection.fetchval("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))

    async def forget(self, database: str) -> None:
        """Count the statements of a database from zero."""
        if self.counts_statements:
            await self.connection.execute(_RESET, database)

    async def worked(self, database: str) -> tuple[float, float] | None:
        """Seconds that the server planned and executed in a database, and those of its longest statement."""
        if not self.counts_statements:
            return None
        row = await self.connection.fetchrow(_STATEMENTS, database)
        return None if row is None else (float(row["seconds"]), float(row["longest"]))

    async def settings(self) -> dict[str, str]:
        """What a reader needs to know of the server."""
        rows = await self.connection.fetch(
            "select name, current_setting(name) as value from pg_settings where name = any ($1::text[])", list(_SHOWN)
        )
        found = {row["name"]: row["value"] for row in rows}
        return {name: found[name] for name in _SHOWN if name in found}


async def connect(target: Target) -> Connection:
    """A session with nothing but the driver's defaults."""
    return await asyncpg.connect(
        host=target.host, port=target.port, database=target.database, user=target.user, password=target.password,
        ssl=tls(target), statement_cache_size=0,
    )  # fmt: skip


def environment(target: Target) -> dict[str, str]:
    """The environment of a process that works in that database."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "MAINTENANCE_"))}
    given = {
        "PGHOST": target.host, "PGPORT": target.port, "PGUSER": target.user, "PGPASSWORD": target.password,
        "PGDATABASE": target.database, "PGSSLMODE": target.sslmode, "PGSSLROOTCERT": target.root_certificate,
        "PYTHONPATH": _ROOT,
    }  # fmt: skip
    return {**inherited, **{name: str(value) for name, value in given.items() if value}}


@contextmanager
def located(settings: Settings, *, toy: bool) -> Iterator[tuple[Target, Path | None]]:
    """The server of the environment, or an embedded one, and where its programs are."""
    if settings.target is not None:
        if settings.target.auth is Auth.ENTRA:
            raise SettingsError(
                "The benchmark logs in with a password only; set PGPASSWORD and MAINTENANCE_AUTH=password."
            )
        yield settings.target, settings.postgres_bin
        return
    own = SETTINGS | {"fsync": "off"} if toy else SETTINGS
    with embedded_server(bin_directory=settings.postgres_bin, settings=own) as server:
        target = Target(
            host=server.host, port=server.port, user=server.user, password=server.password, database="postgres",
            sslmode="disable",
        )  # fmt: skip
        yield target, server.bin_directory


@asynccontextmanager
async def opened(target: Target, binaries: Path | None, *, toy: bool = False) -> AsyncIterator[Site]:
    """The site, with a database of its own for what it asks the server; all its databases are dropped in the end."""
    prefix = f"maintenance_bench_{secrets.token_hex(3)}"
    own = f"{prefix}_site"
    first = await connect(target)
    try:
        await first.execute(f'create database "{own}"')
        connection = await connect(replace(target, database=own))
        try:
            yield Site(
                target=target, binaries=binaries, connection=connection, prefix=prefix, toy=toy,
                counts_statements=await _counts(connection),
            )  # fmt: skip
        finally:
            await connection.close()
            made = "select datname from pg_database where starts_with(datname, $1)"
            rows: list[Any] = await first.fetch(made, f"{prefix}_")
            for row in rows:
                await first.execute(f'drop database if exists "{row["datname"]}" with (force)')
    finally:
        await first.close()


async def _counts(connection: Connection) -> bool:
    try:
        await connection.execute("create extension pg_stat_statements")
        await connection.fetchval(_STATEMENTS, "")
        await connection.execute(_RESET, "template0")
    except asyncpg.PostgresError:
        return False
    return True
