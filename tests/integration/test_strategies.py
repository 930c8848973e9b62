"""The strategy of a retention rule: chosen when planned, by indexes and statistics, and shown with its reason."""

from __future__ import annotations

import pytest

from maintenance.steps import Step
from tests.databases import Database, planned_step

_POLICY = '[[retention]]\ntable = "events"\ncolumn = "at"\nkeep = "30 days"\n'
_EVENTS = """
create table events (id int, kind text, at timestamptz) with (autovacuum_enabled = false);
insert into events
select n, case when n % 10 = 0 then 'state' end, now() - interval '60 days' * ({place}) + interval '1 second'
from generate_series(1, 20000) n;
create index on events (at);
analyze events;
"""
_IN_ORDER = "1 - n / 20001.0"
_AT_RANDOM = "hashint4(n)::float8 / 4294967296 + 0.5"


async def planned(database: Database, keep: str, where: str = "") -> Step:
    policy = _POLICY.replace("30 days", keep) + (f'where = "{where}"\n' if where else "")
    return planned_step(await database.plan("retention", policy=policy), "retention")


@pytest.mark.parametrize(
    ("place", "keep", "strategy", "why"),
    [
        (_IN_ORDER, "59 days", "keyset", "by the index on at"),
        (_IN_ORDER, "30 days", "keyset", "by the index on at"),
        (_IN_ORDER, "6 days", "heap", "in one pass, as about 90% of the rows are due"),
        (_AT_RANDOM, "59 days 23 hours", "keyset", "by the index on at"),
        (_AT_RANDOM, "30 days", "heap", "the rows do not lie in the order of at"),
    ],
)
async def test_an_index_is_read_where_it_leads_to_less_of_the_heap_than_one_pass(
    database: Database, place: str, keep: str, strategy: str, why: str
) -> None:
    await database.execute(_EVENTS.format(place=place))
    step = await planned(database, keep)
    assert (step.strategy, why in step.summary) == (strategy, True), step.summary
    due = await database.values(f"select count(*) from events where at < now() - interval '{keep}'")
    run = await database.run("retention")
    assert [(done.status, done.strategy, done.rows) for done in run.steps] == [("succeeded", strategy, *due)]


@pytest.mark.parametrize(
    ("predicate", "where", "strategy"),
    [
        ("kind is null", "kind is null", "keyset"),
        ("kind is null", "kind is null and id > 0", "keyset"),
        ("kind is not null", "kind = 'state'", "keyset"),
        ("kind is null", "kind is null or id = 1", "heap"),
        ("kind is null", "", "heap"),
        ("kind = 'state'", "kind is null", "heap"),
    ],
)
async def test_a_partial_index_serves_the_rules_whose_rows_it_has(
    database: Database, predicate: str, where: str, strategy: str
) -> None:
    await database.execute(_EVENTS.format(place=_IN_ORDER))
    await database.execute(f"drop index events_at_idx; create index part on events (at) where {predicate}")
    step = await planned(database, "50 days", where)
    assert (step.strategy, "by the partial index part" in step.summary) == (strategy, strategy == "keyset")
    rule = f"at < now() - interval '50 days' and ({where or 'true'})"
    due = await database.values(f"select count(*) from events where {rule}")
    assert [done.rows for done in (await database.run("retention")).steps] == due
    assert await database.values(f"select count(*) from events where {rule}") == [0]
