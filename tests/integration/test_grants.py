"""The least-privilege role: with the printed grants it does everything, without any of them something fails, and it
can do nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from maintenance import policy_file
from maintenance.demo.server import Server
from maintenance.errors import DatabaseError, LedgerError
from maintenance.grants import Grants
from maintenance.models import RunStatus
from maintenance.runs import Run
from maintenance.target import Target
from tests.databases import Database, fresh
from tests.odd_schema import CLEANUP, NAME, ROWS, RULED, TASKS, asked, least, maintains, make, member
from tests.sessions import counted


@pytest.fixture
async def odd(database: Database) -> Database:
    await make(database)
    return database


async def contents(database: Database) -> dict[str, Any]:
    """All rows of all tables, but for the ledger's."""
    tables = await database.values(
        """select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind = 'r' and n.nspname <> all ('{pg_catalog, information_schema, maintenance}')"""
    )
    digest = "md5(string_agg(t::text, '|' order by t::text))"
    return {table: await database.values(f"select {digest} from {table} t") for table in tables}


def outcome(run: Run) -> tuple[RunStatus, list[tuple[object, ...]]]:
    steps = [(s.task, s.table, s.strategy, s.status, s.rows, s.updated) for s in run.steps]
    return run.status, sorted(steps)


async def test_the_role_does_what_a_superuser_does_and_can_do_nothing_else(
    fleet: Database, server: Server, fleet_template: str, tmp_path: Path
) -> None:
    await fleet.execute("create table payroll (id int); revoke create on schema public from public")
    policy = fleet.policy_file.read_text("utf-8").replace('tables = ["*"]', 'tables = ["*", "!payroll"]')
    fleet.write_policy(policy, guarded=True)
    script = (await fleet.cli("sql", "grants", "--role", NAME)).stdout.split("-- Before PostgreSQL 17")[0]
    async with fresh(server, "grants_twin", tmp_path, fleet_template) as twin, member(fleet, NAME, script) as plain:
        for names in [TASKS[:1], TASKS[1:]] if maintains(fleet) else [CLEANUP]:
            ran = await fleet.run(*names, target=plain)
            assert outcome(ran) == outcome(await twin.run(*names))
            assert ran.status is RunStatus.SUCCEEDED
        left = await contents(fleet)
        assert left.pop("payroll") == [None]
        assert left == await contents(twin)
        await can_do_nothing_else(fleet, plain)
        assert await contents(fleet) == {**left, "payroll": [None]}


FORBIDDEN = """
select * from payroll; delete from payroll; truncate payroll; copy payroll to stdout;
select * from devices; select name from devices; select ctid from devices; select devices from devices;
delete from devices; update devices set name = 'x'; update devices set id = id; truncate devices cascade;
insert into devices (id) values ('x'); select from devices for update; drop table devices cascade;
alter table devices add x int; create index on devices (id);
truncate events; insert into events default values; update events set created_at = now(); drop table events;
select message from events; select details from events where module_id is null; select from events for update;
select data from applications; update applications set updated_at = now(); update applications set data = null;
truncate applications; select data from profiles; select policy_data from policy_catalog;
update policy_catalog set policy_hash = 'x'; create table x (); create table maintenance.x (); create schema x;
truncate maintenance.run cascade; drop table maintenance.step; drop schema maintenance cascade;
create trigger x before delete on events for each row execute function suppress_redundant_updates_trigger();
create role x; set role postgres; set session authorization postgres; set session_replication_role = replica;
alter role current_user createdb; create extension hstore; select pg_read_file('PG_VERSION');
select rolpassword from pg_authid; copy devices (id) to program 'true'; alter system set work_mem = '1GB';
"""


async def can_do_nothing_else(fleet: Database, plain: Target) -> None:
    connection = await asyncpg.connect(
        host=plain.host, port=plain.port, user=plain.user, password=plain.password, database=plain.database
    )
    try:
        allowed = []
        for sql in FORBIDDEN.replace("\n", " ").strip("; ").split("; "):
            try:
                await connection.execute(sql)
                allowed.append(sql)
            except asyncpg.InsufficientPrivilegeError:
                continue
        assert allowed == []
    finally:
        await connection.close()
    reached = await fleet.connection.fetch(
        """select c.relname as table, p as privilege
        from pg_class c join pg_namespace n on n.oid = c.relnamespace,
             unnest('{SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER}'::text[]) p
        where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname = 'public'
          and (has_table_privilege($1, c.oid, p)
               or (p <> all ('{DELETE, TRUNCATE, TRIGGER}') and has_any_column_privilege($1, c.oid, p)))""",
        plain.user,
    )
    held: dict[str, set[str]] = {}
    for row in reached:
        held.setdefault(row["privilege"], set()).add(row["table"])
    ruled = {table.name for table in policy_file.load(fleet.policy_file).tables()} - {"peripherals"}
    retained = {"events", "idempotency_keys", "ingest_failures", "api_key_audit"}
    assert held == {"SELECT": ruled | {"devices"}, "DELETE": ruled, "UPDATE": ruled - retained}


def pieces(given: Grants) -> Iterator[tuple[str, str]]:
    """Each grant as it is printed, and those with columns column by column; with what it is about."""
    for grant in given.grants:
        columns = re.fullmatch(r"grant (\w+) \((.+)\) on (.+);", str(grant))
        if columns is None:
            yield grant.about, str(grant)
        else:
            yield from ((grant.about, f"grant {columns[1]} ({c}) on {columns[3]};") for c in columns[2].split(", "))


async def test_without_any_one_of_the_grants_something_fails(odd: Database) -> None:
    given = await asked(odd)
    doable = TASKS if maintains(odd) else CLEANUP
    async with member(odd, NAME, least(given)) as plain:
        assert (await odd.run(*doable, target=plain)).status is RunStatus.SUCCEEDED
        needless = []
        for about, sql in pieces(given):
            await odd.execute(f"{sql.replace('grant', 'revoke', 1).replace(' to ', ' from ')} {ROWS}")
            await counted(odd)
            names = ("statistics",) if "grant maintain" in sql else CLEANUP
            tables = [about] if about in RULED and names == CLEANUP else []
            try:
                if (await odd.run(*names, tables=tables, target=plain)).status is RunStatus.SUCCEEDED:
                    needless.append(sql)
            except (DatabaseError, LedgerError):
                pass
            await odd.execute(sql)
        assert needless == []
        await odd.execute(ROWS)
        assert (await odd.run(*doable, target=plain)).status is RunStatus.SUCCEEDED
