"""Every kind of rule on tables with odd names, and a role that is given what the rules need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from maintenance import grants
from maintenance.grants import Grants, rendered
from maintenance.names import quoted
from maintenance.target import Target
from tests.databases import Database
from tests.sessions import counted

NAME = 'My "App"@it\'s example.com'
TASKS = ("daily-cleanup", "weekly-vacuum")
CLEANUP = ("retention", "duplicates", "orphans", "unreferenced")
POLICY = """
[[retention]]
table = 'Odd One.log'
column = "at"
keep = "30 days"
where = "kind = 'a'"

[[retention]]
table = 'Odd One.cart'
column = "at"
keep = "30 days"
where = "not exists (select from \\"Odd One\\".hold where hold.cart = id)"

[[retention]]
table = 'Odd One.Visit'
column = "at"
keep = "30 days"

[[duplicates]]
tables = ['Odd One.Visit']
key = ["guest"]
newest = ["at"]

[[orphans]]
tables = ['Odd One.note']
column = "guest"
parent = 'Odd One.Guest'
parent_column = "id"
grace = "1 day"
age_column = "at"

[[unreferenced]]
table = 'Odd One.tag'
column = "name"
references = [{ table = 'Odd One.page', column = "tags" }, { table = 'Odd One.page', column = "labels" }]
count_column = "uses"

[[retention]]
table = "not_here"
column = "at"
keep = "30 days"

[vacuum]
tables = ["*", "!payroll"]
analyze_rows = 0
analyze_fraction = 0
"""
RULED = {f"Odd One.{table}" for table in ("log", "cart", "Visit", "east", "west", "note", "tag")}
SCHEMA = """
create schema "Odd One"; set search_path = "Odd One";
create table log (secret text, kind text, at timestamptz);
create table cart (id int, at timestamptz, secret text);
create table hold (cart int);
create table "Visit" (guest int, at timestamptz, place text) partition by list (place);
create table east partition of "Visit" for values in ('east');
create table west partition of "Visit" default;
create table "Guest" (id int, name text);
create table note (guest int, at timestamptz, secret text);
create table tag (name text, uses int, secret text);
create table page (id int, tags text[], secret text);
create table payroll (id int);
reset search_path;
"""
ROWS = """
set search_path = "Odd One";
truncate log, cart, hold, "Visit", "Guest", note, tag, page;
insert into log values ('', 'a', '2001-01-01'), ('', 'b', '2001-01-01'), ('', 'a', now());
insert into cart values (1, '2001-01-01'), (2, '2001-01-01'), (3, now());
insert into hold values (1);
insert into "Visit" select guest, now() - days * interval '1 day', place
    from (values (1, 0), (1, 1), (2, 0), (null, 0), (1, 99)) as v (guest, days),
         (values ('east'), ('west')) as p (place);
insert into "Guest" values (1);
insert into note values (1, now()), (2, now()), (2, '2001-01-01');
insert into tag values ('used', 7), ('unused', 0);
insert into page values (1, '{used}');
reset search_path;
"""


async def make(database: Database) -> None:
    """The tables with their rows and the policy, in a database that gives nothing to everybody."""
    await database.execute(SCHEMA + ROWS)
    await database.execute(f"revoke all on database {database.name} from public")
    await counted(database)
    database.write_policy(POLICY)


def maintains(database: Database) -> bool:
    """Whether its server has the privilege MAINTAIN."""
    return database.connection.get_server_version().major >= grants.MAINTAIN_SINCE


async def asked(database: Database, role: str = NAME) -> Grants:
    """What the role needs for the policy of the database."""
    return await grants.grants_for(role, database.settings)


def least(given: Grants) -> str:
    """The script without the owners, whose members may do anything."""
    return rendered(replace(given, memberships=()))


@asynccontextmanager
async def member(database: Database, name: str, script: str) -> AsyncIterator[Target]:
    """A new role of that name to which a script has been applied; gone after the block."""
    await database.execute(f"create role {quoted(name)} login password 'x'")
    try:
        await database.execute(script)
        yield replace(database.settings.required_target(), user=name, password="x")
    finally:
        await database.execute(f"drop owned by {quoted(name)} cascade; drop role {quoted(name)}")
