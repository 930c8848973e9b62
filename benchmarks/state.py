"""States: seeded rows, built once as a template and copied for each contender, so that all begin with the same."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from asyncpg import Connection

from benchmarks.site import Site
from maintenance.ledger import Ledger
from maintenance.sql import script as ours
from maintenance.target import Target

_FOLDER = Path(__file__).with_name("sql")
_JUDGED_BY = {"policy_catalog": "device_count"}
"""What is compared of a row besides its key."""
_TABLES = """
select c.relname as name, string_agg(quote_ident(a.attname), ', ' order by a.attnum) as key
from pg_class c
join pg_index i on i.indrelid = c.oid and i.indisprimary
join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey::smallint[])
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
group by c.relname order by c.relname
"""
_AGE = "select extract(epoch from clock_timestamp() - cutoff)::bigint || ' seconds' from bench.cut where name = $1"


@cache
def script(path: str) -> str:
    """A .sql file of the benchmark, by its path below sql/ without the suffix."""
    return (_FOLDER / f"{path}.sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a database has in it before a contender begins: scripts of sql/states, with their amounts."""

    name: str
    scripts: tuple[str, ...]
    amounts: tuple[tuple[str, int], ...]
    fleet: bool = True
    """Whether ReportMate's tables are made first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A copy of a state, for one contender."""

    site: Site
    database: str
    state: State
    folder: Path

    @property
    def target(self) -> Target:
        """How to reach it."""
        return self.site.of(self.database)

    async def connect(self) -> Connection:
        """A plain session."""
        return await self.site.connect(self.database)

    async def execute(self, sql: str) -> None:
        """Something that belongs to no contender."""
        connection = await self.connect()
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def keep(self, cut: str) -> str:
        """How long rows live, as an interval, for the events before a cut to be expired now."""
        connection = await self.connect()
        try:
            return str(await connection.fetchval(_AGE, cut))
        finally:
            await connection.close()

    async def left(self) -> dict[str, str]:
        """How many rows each table has, and which; what the application's stand-in wrote meanwhile is left out."""
        connection = await self.connect()
        try:
            return {
                row["name"]: await self._left(connection, row["name"], row["key"])
                for row in await connection.fetch(_TABLES)
            }
        finally:
            await connection.close()

    async def _left(self, connection: Connection, table: str, key: str) -> str:
        judged = ", ".join([key, *([_JUDGED_BY[table]] if table in _JUDGED_BY else [])])
        only = "created_at < now() - interval '90 minutes'" if table == "events" else "true"
        sql = f"select count(*), bit_xor(hashtextextended(concat_ws('|', {judged}), 0)) from {table} where {only}"
        row = await connection.fetchrow(sql)
        return "" if row is None else f"{row[0]} {row[1]}"


@dataclass(slots=True)
class States:
    """The templates that have been built so far."""

    site: Site
    folder: Path
    _templates: dict[State, str] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @asynccontextmanager
    async def cloned(self, state: State) -> AsyncIterator[Clone]:
        """A copy of a state, dropped in the end."""
        template = self._templates.get(state) or await self._built(state)
        self._templates[state] = template
        database = await self.site.create(f"clone_{next(self._numbers)}", template)
        try:
            yield Clone(site=self.site, database=database, state=state, folder=self.folder)
        finally:
            await self.site.drop(database)

    async def forget(self, kept: set[State]) -> None:
        """Drop the templates that nobody will need any more."""
        for state in set(self._templates) - kept:
            await self.site.drop(self._templates.pop(state))

    async def _built(self, state: State) -> str:
        database = await self.site.create(f"state_{state.name}")
        connection = await self.site.connect(database)
        try:
            for name, amount in state.amounts:
                await connection.execute("select set_config($1, $2, false)", f"bench.{name}", str(amount))
            for text in [
                *([ours("demo/schema")] if state.fleet else []),
                *(script(f"states/{s}") for s in state.scripts),
            ]:
                await connection.execute(text)
            await Ledger(connection).install()
            await connection.execute(script("states/tidy"))
            await connection.execute("vacuum (freeze, analyze)")
        finally:
            await connection.close()
        return database
