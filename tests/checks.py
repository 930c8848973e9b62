"""What `check` finds on a database, and a database on which it finds nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from maintenance import policy_file
from maintenance.budget import Budget
from maintenance.check.examination import LOOKS, Examination, examined, examined_target
from maintenance.check.thresholds import Thresholds
from maintenance.check.view import View
from maintenance.database import connected, fetch_one
from maintenance.findings import Finding
from maintenance.grants import Grant
from maintenance.names import Fragment
from maintenance.sql import statement
from maintenance.target import Target
from tests.databases import Database
from tests.odd_schema import asked, maintains
from tests.sessions import counted, role

POLICY = """
[[retention]]
table = "event"
column = "at"
keep = "30 days"

[[duplicates]]
tables = ["item"]
key = ["device"]
newest = ["at"]

[[orphans]]
tables = ["item"]
column = "device"
parent = "device"
parent_column = "id"
"""
OLD = ("server.ended", "server.ending")
"""Found or not by the day on which the tests run."""
SCHEMA = """
create table device (id int primary key);
create table event (id int primary key, at timestamptz);
create index event_at on event (at);
create table item (id int primary key, device int unique references device (id) on delete cascade, at timestamptz);
insert into device select generate_series(1, 10);
insert into event select i, now() - i * interval '1 day' from generate_series(1, 60) i;
insert into item select i, i, now() from generate_series(1, 10) i;
"""


async def make(database: Database, policy: str = POLICY) -> None:
    """Tables that fit their policy, and a ledger with a clean-up and a VACUUM of a moment ago."""
    await database.execute(SCHEMA)
    database.write_policy(policy)
    await counted(database)
    for names in ("daily-cleanup", "weekly-vacuum"):
        await database.run(names)


@asynccontextmanager
async def keeper(database: Database, *less: str) -> AsyncIterator[Target]:
    """A role with what the policy needs and no more, but for the grants with one of these words in them.

    Before PostgreSQL 17 it is a member of the tables' owner; without that, where `owner` is one of the words.
    """
    given = await asked(database, f"plain_{database.name}")
    more = Grant(what=Fragment("pg_read_all_stats"), role=given.role, about="", why="")
    scripts = [str(grant) for grant in (*given.grants, more)]
    kept = [script for script in scripts if not any(word in script for word in less)]
    async with role(database, *[script.replace("{", "{{").replace("}", "}}") for script in kept]) as target:
        if maintains(database) or "owner" in less:
            yield target
            return
        async with _owned(database, str(target.user)):
            yield target


@asynccontextmanager
async def _owned(database: Database, member: str) -> AsyncIterator[None]:
    owner = f"owner_{database.name}"
    await database.execute(f"create role {owner}; grant {owner} to {member}")
    tables = (
        "select oid::regclass::text from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace"
    )
    for table in await database.values(tables):
        await database.execute(f"alter table {table} owner to {owner}")
    try:
        yield
    finally:
        await database.execute(f"reassign owned by {owner} to current_user; drop owned by {owner}; drop role {owner}")


async def check(
    database: Database, *, policy: str | None = None, target: Target | None = None, **thresholds: Any
) -> Examination:
    """What is found by this login; a superuser's where there is no other."""
    if policy is not None:
        database.write_policy(policy)
    settings = database.settings if target is None else replace(database.settings, target=target)
    return await examined_target(settings, Thresholds(**thresholds))


async def look(
    database: Database,
    name: str,
    *,
    policy: str | None = None,
    schedules: tuple[tuple[str, str], ...] = (),
    **thresholds: Any,
) -> Examination:
    """One look alone, as a superuser."""
    if policy is not None:
        database.write_policy(policy)
    settings = replace(database.settings, schedules=schedules)
    looks = [one for one in LOOKS if one.name == name]
    assert looks, name
    async with connected(settings, name="test", read_only=True) as connection:
        limits = Thresholds(**thresholds)
        return await examined(connection, policy_file.load(settings.policy), settings, limits, looks)


@asynccontextmanager
async def view(database: Database) -> AsyncIterator[View]:
    """What a look is given."""
    settings = database.settings
    async with connected(settings, name="test", read_only=True) as connection:
        row = await fetch_one(connection, statement("check/access", "whose"))
        yield View(
            connection=connection, policy=policy_file.load(settings.policy), settings=settings, thresholds=Thresholds(),
            as_of=row["as_of"], role=row["role"], database=row["database"], monitors=row["monitors"], budget=Budget(10),
        )  # fmt: skip


def codes(examination: Examination, *, but: str | None = None) -> list[str]:
    """The codes of what was found, the worst first; nothing may have been left out."""
    assert examination.unseen == ()
    return [one.code for one in examination.findings if one.code not in (but, *OLD)]


def only(examination: Examination, code: str) -> Finding:
    """The only finding of that code."""
    (found,) = [one for one in examination.findings if one.code == code]
    return found


async def apply(database: Database, cure: str | None) -> None:
    """The statements one by one, as psql sends them."""
    assert cure is not None
    for sql in cure.split(";\n"):
        await database.execute(sql)
