"""Days of the demo fleet, one after the other: real runs of the engine, and a ledger as so many days leave it.

A day: devices check in, a few duplicates and orphans appear, the timers' runs are done, and then every instant in the
tables and in the ledger is moved back by a day. That is one ALTER TABLE for each table, which rewrites it: its files
begin each day without bloat, while the server goes on counting its dead rows until a VACUUM. On two days something goes
wrong. `python -m tests.days --out report.html` makes the report of it.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

from asyncpg import Connection

from maintenance.database import connected
from maintenance.demo.fleet import build
from maintenance.demo.server import embedded_server
from maintenance.demo.show import POLICY
from maintenance.engine import performed
from maintenance.gathering import situation
from maintenance.report.page import html
from maintenance.runs import Request
from maintenance.settings import Settings, load
from maintenance.target import Target

DAYS = 20
NAME = "reportmate"
SHORT_OF_TIME = 6
"""The day on which the budget does not suffice."""
LOCKED = 13
"""The day on which somebody holds a table."""
SCHEDULES = (("daily-cleanup", "0 0 2 * * *"), ("weekly-vacuum", "0 0 3 * * 0"))
_CHANGES = """
insert into events (device_id, event_type, message, details, timestamp, created_at)
select d.id, 'info', 'Check-in complete', jsonb_build_object('collection', md5(d.id || n), 'modules', n), at, at
from devices d cross join generate_series(0, 23) n cross join lateral (select now() - n * interval '1 hour') as i (at);
-- Every device's state is written anew, and now and then twice.
update applications set updated_at = now(), data = data || '{"seen": true}';
update events set timestamp = now() where module_id is not null;
insert into idempotency_keys select md5(id || n || now()), id, now() from devices, generate_series(1, 6) n;
insert into usage_history (device_id, date, app_name, updated_at)
select id, current_date, 'App of the day', now() from devices where random() < 0.4;
insert into applications (device_id, data, updated_at)
select device_id, data, now() - interval '3 hours' from applications where random() < 0.02;
insert into hardware (device_id, data, updated_at)
select 'GONE' || n, '{}', now() - interval '2 days' from generate_series(1, 3 + (random() * 5)::int) n;
insert into policy_catalog (policy_hash, policy_name)
select md5(random()::text), 'Policy ' || n from generate_series(1, 20 + (random() * 60)::int) n;
"""
_MOVES = """
select c.oid::regclass::text as name, string_agg(format('alter column %I type %s using %I - %s', a.attname,
           format_type(a.atttypid, null), a.attname,
           case a.atttypid when 'date'::regtype then ($1::text::interval >= '1 day')::int::text
                           else quote_literal($1::text) || '::interval' end
       ), ', ') as moves
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relkind = 'r' and n.nspname in ('public', 'maintenance')
  and a.atttypid in ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
group by c.oid
"""


async def lived(settings: Settings, connection: Connection, days: int = DAYS) -> None:
    """Let so many days pass, and six hours more; `connection` is the owner's."""
    await connection.execute("select setseed(0.5)")
    for day in range(1, days + 1):
        async with connection.transaction():
            await connection.execute(_CHANGES)
        await _maintained(settings, connection, day)
        await _moved(connection, "1 day" if day < days else "6 hours")


async def _maintained(settings: Settings, connection: Connection, day: int) -> None:
    daily = Request(names=("daily-cleanup",), scheduler="timer")
    if day == LOCKED:
        async with connection.transaction():
            await connection.execute("lock table idempotency_keys in share mode")
            await performed(daily, settings)
    else:
        await performed(daily, replace(settings, budget=0.15) if day == SHORT_OF_TIME else settings)
    if day % 7 == 3:
        await performed(Request(names=("weekly-vacuum",), scheduler="timer"), settings)


async def _moved(connection: Connection, by: str) -> None:
    """Everything has happened so much earlier."""
    for name, moves in await connection.fetch(_MOVES, by):
        await connection.execute(f"alter table {name} {moves}")


async def _created(settings: Settings) -> None:
    async with connected(settings, name="days") as connection:
        await connection.execute(f"create database {NAME}")


async def _shown(settings: Settings, out: Path, days: int, devices: int) -> None:
    async with connected(settings, name="days") as connection:
        await connection.execute("set statement_timeout = 0")
        await build(connection, devices=devices, events=devices * 24 * 30)
        await lived(settings, connection, days)
    out.write_text(html(await situation(settings)), encoding="utf-8")


def pictured(page: Path, picture: Path) -> None:
    """Save what a reader sees first of a page, by the Chromium that is installed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1280, "height": 1700}, color_scheme="light")
        shown.goto(page.resolve().as_uri())
        shown.screenshot(path=picture)
        browser.close()


def main() -> None:
    """Make a server, let the days pass, write the page."""
    parser = argparse.ArgumentParser(description="Makes the report of the demo fleet after some days.")
    parser.add_argument("--out", type=Path, default=Path("report.html"))
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--picture", type=Path, help="a PNG of it too")
    options = parser.parse_args()
    with embedded_server(bin_directory=load().postgres_bin) as server:
        target = Target(
            host=server.host, port=server.port, user=server.user, password=server.password, database="postgres",
            sslmode="disable",
        )  # fmt: skip
        asyncio.run(_created(Settings(target=target)))
        settings = Settings(target=replace(target, database=NAME), policy=POLICY, schedules=SCHEDULES)
        asyncio.run(_shown(settings, options.out, options.days, options.devices))
    if options.picture:
        pictured(options.out, options.picture)


if __name__ == "__main__":
    main()
