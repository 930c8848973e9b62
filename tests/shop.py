"""A small shop: two tables, two of four rows expired in each, and a good policy that would delete them."""

from __future__ import annotations

from tests.databases import Database

SCHEMA = """
create table item (id int primary key, name text, note json, created_at timestamptz);
create table part (id int, item_id int, key uuid, created_at timestamptz);
create view item_view as select * from item;
create materialized view item_summary as select * from item;
create foreign data wrapper nowhere;
create server nowhere foreign data wrapper nowhere;
create foreign table item_abroad (id int, item_id int, created_at timestamptz) server nowhere;
"""
ROWS = """
drop schema if exists maintenance cascade;
truncate item, part;
insert into item select n, 'n', '{}', now() - n * interval '20 days' from generate_series(0, 3) n;
insert into part select n, n, null, now() - n * interval '20 days' from generate_series(0, 3) n;
"""
RULE = """
[[retention]]
table = "item"
column = "created_at"
keep = "30 days"
"""
PART = RULE.replace("item", "part")


async def untouched(shop: Database) -> bool:
    """No rows gone, no ledger made."""
    left = await shop.values("select (select count(*) from item) + (select count(*) from part)")
    return left == [8] and await shop.values("select to_regnamespace('maintenance')::text") == [None]
