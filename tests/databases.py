"""A database for one test, and the ways in which a test maintains it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
from asyncpg import Connection

from maintenance.demo.server import Server
from maintenance.engine import performed, planned
from maintenance.runs import Plan, Request, Run, StepResult
from maintenance.settings import Settings
from maintenance.steps import Step
from maintenance.target import Target

ROOT = Path(__file__).parents[1]
_OURS = ("PG", "MAINTENANCE_", "GITHUB_")
"""What a test sets itself; GITHUB_ is there where the tests themselves run in a workflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A fresh database; `connection` is a superuser's."""

    server: Server
    name: str
    connection: Connection
    folder: Path

    @property
    def settings(self) -> Settings:
        """Settings for this database, with the policy of the last `write_policy`."""
        target = Target(
            host=self.server.host,
            port=self.server.port,
            database=self.name,
            user=self.server.user,
            password=self.server.password,
        )
        return Settings(target=target, policy=self.policy_file)

    @property
    def policy_file(self) -> Path:
        return self.folder / "policy.toml"

    def write_policy(self, text: str, *, guarded: bool = False) -> None:
        """The policy; a rule may take any share of the tiny tables of most tests, unless it is `guarded`."""
        free = (
            text
            if guarded
            else re.sub(r"(?m)^(\[\[(?:duplicates|orphans|unreferenced)\]\])$", r"\1\nmax_fraction = 1", text)
        )
        self.policy_file.write_text(free, encoding="utf-8")

    async def execute(self, sql: str) -> None:
        await self.connection.execute(sql)

    async def values(self, sql: str, *arguments: object) -> list[Any]:
        """The first column of a query's rows, in their order."""
        return [row[0] for row in await self.connection.fetch(sql, *arguments)]

    async def run(self, *names: str, policy: str | None = None, tables: Sequence[str] = (), **changed: Any) -> Run:
        """A run in this process; `changed` are settings that differ, such as budget=0.3."""
        if policy is not None:
            self.write_policy(policy)
        settings = replace(self.settings, **changed)
        return await performed(Request(names=names, tables=tuple(tables), scheduler="test"), settings)

    async def plan(self, *names: str, policy: str | None = None, tables: Sequence[str] = (), **changed: Any) -> Plan:
        if policy is not None:
            self.write_policy(policy)
        return await planned(Request(names=names, tables=tuple(tables)), replace(self.settings, **changed))

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process that maintains this database."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        own = {"MAINTENANCE_POLICY": str(self.policy_file), "PYTHONPATH": str(ROOT)}
        return {**inherited, **self.server.environment(self.name), **own}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "maintenance", *arguments]

    async def cli(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The real command line, in a process of its own."""
        return await asyncio.to_thread(
            subprocess.run,
            self.command(*arguments),
            env={**self.environment, **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
        )

    async def cli_json(self, *arguments: str, exit_code: int = 0, **environment: str) -> Any:
        """The document that the command line prints with --json."""
        done = await self.cli(*arguments, "--json", **environment)
        assert done.returncode == exit_code, done.stderr + done.stdout
        return json.loads(done.stdout)


_CLEAN = """
select md5(string_agg(part, ',' order by part)) from (
    select 'class ' || count(*) from pg_class union all select 'type ' || count(*) from pg_type
    union all select 'proc ' || count(*) from pg_proc union all select 'operator ' || count(*) from pg_operator
    union all select 'cast ' || count(*) from pg_cast union all select 'extension ' || count(*) from pg_extension
    union all select 'event ' || count(*) from pg_event_trigger union all select 'acl ' || count(*) from pg_default_acl
    union all select 'publication ' || count(*) from pg_publication
    union all select 'large ' || count(*) from pg_largeobject_metadata
    union all select 'setting ' || count(*) from pg_db_role_setting d
        join pg_database b on b.oid = d.setdatabase where b.datname = current_database()
    union all select 'database ' || coalesce(datacl::text, '') || datconnlimit || datallowconn
        from pg_database where datname = current_database()
    union all select 'schema ' || nspname || coalesce(nspacl::text, '') from pg_namespace where nspname !~ '^pg_'
) as parts (part)
"""
_RESET = """
do $$
declare name text;
begin
    perform pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid();
    for name in select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' loop
        execute format('drop schema %I cascade', name);
    end loop;
end $$;
create schema public authorization pg_database_owner;
grant usage on schema public to public;
"""
_RESET_OLD = _RESET.replace(" authorization pg_database_owner", "").replace("grant usage", "grant create, usage")


class Spares:
    """Empty databases: those that earlier tests left, once they are as new, and new ones, made while a test runs."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self._next: asyncio.Task[str] | None = None
        self._free: list[str] = []
        self._pristine: str | None = None

    async def made(self, template: str = "template1") -> str:
        name = f"test_{next(self._numbers)}"
        await self.administer(f'create database "{name}" template "{template}"')
        return name

    async def taken(self) -> str:
        if self._free:
            return self._free.pop()
        name = await (self._next or self.made())
        self._next = asyncio.create_task(self.made())
        return name

    async def dropped(self, name: str) -> None:
        """Empty it for another test; where anything is left that one could trip over, drop it."""
        if await self._emptied(name):
            self._free.append(name)
        else:
            await self.administer(f'drop database "{name}" with (force)')

    async def _emptied(self, name: str) -> bool:
        try:
            if self._pristine is None:
                fresh = await self.made()
                self._pristine = await self._state(fresh)
                self._free.append(fresh)
            connection = await connect(self._server, name)
        except asyncpg.PostgresError:
            return False
        try:
            await connection.execute("set lock_timeout = '2s'")
            await connection.execute(_RESET if connection.get_server_version().major >= 15 else _RESET_OLD)
            return bool(await connection.fetchval(_CLEAN) == self._pristine)
        except asyncpg.PostgresError:
            return False
        finally:
            await connection.close()

    async def _state(self, name: str) -> str:
        connection = await connect(self._server, name)
        try:
            return str(await connection.fetchval(_CLEAN))
        finally:
            await connection.close()

    async def close(self) -> None:
        if self._next is not None:
            await self._next

    async def administer(self, sql: str) -> None:
        connection = await connect(self._server, "postgres")
        try:
            await connection.execute(sql)
        finally:
            await connection.close()


@asynccontextmanager
async def opened(server: Server, spares: Spares, name: str, folder: Path) -> AsyncIterator[Database]:
    """The database of that name, dropped in the end."""
    try:
        connection = await connect(server, name)
        try:
            yield Database(server=server, name=name, connection=connection, folder=folder)
        finally:
            await connection.close()
    finally:
        await spares.dropped(name)


@asynccontextmanager
async def fresh(server: Server, name: str, folder: Path, template: str = "template1") -> AsyncIterator[Database]:
    """A database of a name of one's own choice, dropped in the end."""
    spares = Spares(server)
    await spares.administer(f'create database "{name}" template "{template}"')
    try:
        connection = await connect(server, name)
        try:
            yield Database(server=server, name=name, connection=connection, folder=folder)
        finally:
            await connection.close()
    finally:
        await spares.administer(f'drop database "{name}" with (force)')


async def connect(server: Server, database: str) -> Connection:
    return await asyncpg.connect(
        host=server.host, port=server.port, user=server.user, password=server.password, database=database
    )


def step(run: Run, task: str, table: str = "") -> StepResult:
    """The only step of a run with that task (and table, with its schema)."""
    (found,) = [s for s in run.steps if s.task == task and table in ("", s.table)]
    return found


def planned_step(plan: Plan, task: str, table: str = "") -> Step:
    (found,) = [s for s in plan.steps if s.task == task and table in ("", str(s.table))]
    return found
