"""Each deleting task on random small tables against an oracle in plain Python; a second run finds nothing to do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maintenance.models import StopReason
from tests.databases import Database
from tests.oracle import Entry, Use, catalog_left, older, orphaned, rivals
from tests.random_tables import (
    AGES,
    HOURS,
    LIMITS,
    MOMENTS,
    PAIRS,
    RANDOM,
    VALUES,
    assert_quiet,
    few,
    made,
    moment,
    swept,
)

_WHERES: dict[str | None, Callable[[str | None], bool | None]] = {
    None: lambda kind: True,
    "kind = 'a'": lambda kind: None if kind is None else kind == "a",
    "kind <> 'a' or null": lambda kind: True if kind not in (None, "a") else None,
    "kind is null": lambda kind: kind is None,
    "coalesce(kind, 'a') = 'a' or false": lambda kind: kind in (None, "a"),
}


@RANDOM
@given(
    type_=st.sampled_from(MOMENTS), indexed=st.booleans(), keep=st.sampled_from(list(AGES)),
    where=st.sampled_from(list(_WHERES)), allow=st.booleans(), partitioned=st.booleans(), many=st.booleans(),
    rows=st.lists(st.tuples(HOURS, st.sampled_from([None, "a", "b"])), max_size=20), limits=LIMITS,
)  # fmt: skip
async def test_retention_leaves_what_the_oracle_leaves(
    database: Database, type_: str, indexed: bool, keep: str, where: str | None, allow: bool, partitioned: bool,
    many: bool, rows: list[tuple[int | None, str | None]], limits: list[int] | None,
) -> None:  # fmt: skip
    cutoff = datetime.now(UTC) - AGES[keep]
    copies = 1 if limits or not many else 150 if indexed else 30
    held = [(n, moment(type_, hours, cutoff), kind) for n, (hours, kind) in enumerate(rows)]
    columns = {"row": "integer", "at": type_, "kind": "text"}
    await made(database, "t", columns, held * copies, partitioned=partitioned)
    if indexed:
        await database.execute("create index on t (at, kind)")
    extra = f"where = {json.dumps(where)}\n" if where else ""
    database.write_policy(
        f'[[retention]]\ntable = "t"\ncolumn = "at"\nkeep = "{keep}"\nallow_empty = {str(allow).lower()}\n{extra}'
    )
    outcome = await swept(database, "retention", limits)
    gone = {n for n, at, kind in held if older(at, outcome.as_of, AGES[keep]) and _WHERES[where](kind) is True}
    guarded = bool(held) and len(gone) == len(held) and not allow
    expected = {n: copies for n, *_ in held if guarded or n not in gone}
    assert Counter(await database.values("select row from t")) == expected
    assert outcome.stop_reasons == {StopReason.GUARD if guarded else StopReason.DONE}
    assert outcome.rows == (0 if guarded else len(gone) * copies)
    await assert_quiet(database, "retention", "t")


@RANDOM
@given(
    data=st.data(), types=st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=2),
    newest=st.lists(st.sampled_from(["integer", "timestamptz", "date", "uuid"]), min_size=1, max_size=2),
    size=st.integers(0, 25), partitioned=st.booleans(), many=st.booleans(), indexed=st.booleans(), limits=LIMITS,
)  # fmt: skip
async def test_duplicates_leave_one_of_the_newest_as_the_oracle_does(
    database: Database, data: st.DataObject, types: list[str], newest: list[str], size: int, partitioned: bool,
    many: bool, indexed: bool, limits: list[int] | None,
) -> None:  # fmt: skip
    row = st.tuples(*[few(data, type_) for type_ in (*types, *newest)])
    drawn = data.draw(st.lists(row, min_size=size, max_size=size), "rows") * (150 if many and not limits else 1)
    keys = {f"key{n}": type_ for n, type_ in enumerate(types)}
    orders = {f"newest{n}": type_ for n, type_ in enumerate(newest)}
    held = [(n, *values) for n, values in enumerate(drawn)]
    await made(database, "t", {"row": "integer", **keys, **orders}, held, partitioned=partitioned)
    if indexed:
        await database.execute(f"create index on t ({', '.join(keys)})")
    database.write_policy(f'[[duplicates]]\ntables = ["t"]\nkey = {list(keys)}\nnewest = {list(orders)}\n')
    outcome = await swept(database, "duplicates", limits)
    alone, groups = rivals((n, values[: len(types)], values[len(types) :]) for n, *values in held)
    left = set(await database.values("select row from t"))
    assert alone <= left
    assert [len(group & left) for group in groups] == [1] * len(groups)
    assert len(left) == len(alone) + len(groups)
    assert outcome.rows == len(held) - len(left)
    assert outcome.stop_reasons == {StopReason.DONE}
    await assert_quiet(database, "duplicates", "t")


@RANDOM
@given(
    data=st.data(), types=st.sampled_from(PAIRS), age_type=st.sampled_from(MOMENTS),
    grace=st.none() | st.sampled_from(list(AGES)), parent_exists=st.sampled_from([True, True, True, False]),
    allow=st.booleans(), partitioned=st.booleans(), indexed=st.booleans(), many=st.booleans(), limits=LIMITS,
)  # fmt: skip
async def test_orphans_go_as_the_oracle_says(
    database: Database, data: st.DataObject, types: tuple[str, str], age_type: str, grace: str | None,
    parent_exists: bool, allow: bool, partitioned: bool, indexed: bool, many: bool, limits: list[int] | None,
) -> None:  # fmt: skip
    as_given = datetime.now(UTC) - AGES[grace or "1 day"]
    copies = 30 if many and not limits else 1
    pool = few(data, types[0])
    children = data.draw(st.lists(st.tuples(pool, HOURS), max_size=20), "children")
    held = [(n, value, moment(age_type, hours, as_given)) for n, (value, hours) in enumerate(children)]
    parents = data.draw(st.lists(pool, max_size=3), "parents") if parent_exists else []
    columns = {"row": "integer", "ref": types[0], "at": age_type}
    await made(database, "child", columns, held * copies, partitioned=partitioned)
    await database.execute("drop table if exists parent")
    if parent_exists:
        await made(database, "parent", {"id": types[1]}, [(value,) for value in parents])
        await database.execute("create index on parent (id)" if indexed else "analyze parent")
    database.write_policy(
        '[[orphans]]\ntables = ["child"]\ncolumn = "ref"\nparent = "parent"\nparent_column = "id"\n'
        f"allow_empty_parent = {str(allow).lower()}\n" + (f'grace = "{grace}"\nage_column = "at"\n' if grace else "")
    )
    outcome = await swept(database, "orphans", limits)
    speechless = all(value is None for value in parents)
    guarded = speechless and not allow and any(value is not None for _, value, _ in held)
    gone = {
        n for n, value, at in held
        if orphaned(value, parents) and (grace is None or older(at, outcome.as_of, AGES[grace])) and not guarded
    }  # fmt: skip
    assert Counter(await database.values("select row from child")) == {n: copies for n, *_ in held if n not in gone}
    assert outcome.stop_reasons == {StopReason.GUARD if guarded else StopReason.DONE}
    assert outcome.rows == len(gone) * copies
    await assert_quiet(database, "orphans", "child")


_NAMED = (
    ("one.it",), ("one.many",), ("one.many",), ("one.it", "one.many"), ("one.it", "one.many", "two.it"),
    ("one.many", "two.it"), ("two.it", "two.gone"), ("two.gone",), ("one.many", "nowhere.it"),
)  # fmt: skip


@RANDOM
@given(
    data=st.data(), types=st.sampled_from(PAIRS), named=st.sampled_from(_NAMED),
    counted=st.sampled_from([True, True, False]),
    allow=st.booleans(), partitioned=st.booleans(), limits=LIMITS,
)  # fmt: skip
async def test_unreferenced_rows_go_and_counts_are_right_as_the_oracle_says(
    database: Database, data: st.DataObject, types: tuple[str, str], named: tuple[str, ...], counted: bool, allow: bool,
    partitioned: bool, limits: list[int] | None,
) -> None:  # fmt: skip
    value, source = types
    pool = few(data, value)
    many: st.SearchStrategy[list[Any] | None] = st.lists(pool, min_size=2, max_size=5) | st.sampled_from([None, []])
    catalog = data.draw(st.lists(st.tuples(pool, st.none() | st.integers(0, 3)), min_size=1, max_size=20), "catalog")
    one = data.draw(st.lists(st.tuples(pool, many), max_size=6), "one")
    two = data.draw(st.lists(pool, max_size=4), "two")
    entries = [Entry(n, *entry) for n, entry in enumerate(catalog)]
    columns = {"row": "integer", "hash": value, "n": "integer"}
    await made(database, "catalog", columns, list(map(tuple, entries)), partitioned=partitioned)
    await made(database, "one", {"it": source, "many": f"{source}[]"}, one)
    await made(database, "two", {"it": source}, [(it,) for it in two])
    references = ", ".join('{{table = "{}", column = "{}"}}'.format(*name.split(".")) for name in named)
    database.write_policy(
        f'[[unreferenced]]\ntable = "catalog"\ncolumn = "hash"\nreferences = [{references}]\n'
        f"allow_empty_parent = {str(allow).lower()}\n" + ('count_column = "n"\n' if counted else "")
    )
    versions = "select row, hash, n, xmin::text as version from catalog order by row"
    before = {r["row"]: r["version"] for r in await database.connection.fetch(versions)}
    outcome = await swept(database, "unreferenced", limits)
    after = await database.connection.fetch(versions)

    uses = [Use("one", n, _values(named, it, array)) for n, (it, array) in enumerate(one)]
    uses += [Use("two", n, frozenset([it] if "two.it" in named else []) - {None}) for n, it in enumerate(two)]
    sources = {"one": one, "two": two, "nowhere": []}
    silent = not all(sources[name.split(".")[0]] for name in named) or not any(use.values for use in uses)
    guarded = silent and not allow and any(entry.value is not None for entry in entries)
    expected = entries if guarded else catalog_left(entries, uses, counted=counted)
    rewritten = [entry.row for entry in expected if entry != entries[entry.row]]
    assert [(r["row"], r["hash"], r["n"]) for r in after] == expected
    assert [r["row"] for r in after if r["version"] != before[r["row"]]] == rewritten
    assert outcome.stop_reasons == {StopReason.GUARD if guarded else StopReason.DONE}
    assert (outcome.rows, outcome.updated) == (len(entries) - len(expected), len(rewritten))
    await assert_quiet(database, "unreferenced", "catalog")


def _values(named: tuple[str, ...], it: Any, array: list[Any] | None) -> frozenset[Any]:
    values = [it] if "one.it" in named else []
    return frozenset([*values, *(array or [] if "one.many" in named else [])]) - {None}


async def test_a_row_that_names_an_entry_twice_in_the_only_reference_counts_once(database: Database) -> None:
    await database.execute(
        "create table catalog (hash text, n int); insert into catalog values ('a', 0);"
        "create table one (many text[]); insert into one values (array['a', 'a']), (array['a'])"
    )
    await database.run(
        "unreferenced",
        policy='[[unreferenced]]\ntable = "catalog"\ncolumn = "hash"\ncount_column = "n"\n'
        'references = [{ table = "one", column = "many" }]',
    )
    assert await database.values("select n from catalog") == [2]


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("type_", ["timestamptz", "timestamp"])
async def test_a_row_exactly_as_old_as_the_rule_allows_stays_and_one_older_by_a_microsecond_goes(
    database: Database, type_: str, indexed: bool
) -> None:
    await database.execute(f"create table t (at {type_}, name text)")
    if indexed:
        await database.execute("create index on t (at)")
    policy = '[[retention]]\ntable = "t"\ncolumn = "at"\nkeep = "1 day"'
    plan = await database.plan("retention", policy=policy)
    cutoff = (
        plan.as_of - timedelta(days=1) if type_ == "timestamptz" else plan.as_of.replace(tzinfo=None) - timedelta(1)
    )
    rows = [(cutoff - timedelta(microseconds=1), "older"), (cutoff, "exact"), (cutoff, "exact too"), (None, "undated")]
    await database.connection.copy_records_to_table("t", records=rows)
    (step,) = plan.steps
    batch = await step.batch(database.connection, None, 100)
    assert (batch.rows, batch.done) == (1, True)
    assert await database.values("select name from t order by name") == ["exact", "exact too", "undated"]
