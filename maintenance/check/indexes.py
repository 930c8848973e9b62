"""Indexes: invalid, redundant and unused ones, those that defeat HOT updates, and foreign keys without one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from asyncpg import Record

from maintenance.amounts import size
from maintenance.catalog import find
from maintenance.check.index import Index
from maintenance.check.kinds import finding
from maintenance.check.view import Look, View
from maintenance.errors import PolicyError
from maintenance.findings import Finding
from maintenance.names import Table, TableName, listed, quoted

_LOOK = "indexes"
_ATTACH = (
    "CREATE INDEX CONCURRENTLY on each of the others, REINDEX INDEX CONCURRENTLY for a part that is not valid itself, "
    "and ALTER INDEX ... ATTACH PARTITION for each: with the last one it is valid"
)
_EACH = (
    "an index that leads with the key's columns on each partition; CREATE INDEX on the whole then takes them over, "
    "and new partitions get theirs"
)
_STAMPS = frozenset(
    {"updated_at", "modified_at", "last_seen", "last_seen_at", "updated", "modified", "changed_at", "last_modified"}
)
"""Usual names of columns that each update changes, beside those by which the policy tells the newest row."""


async def _find(view: View) -> list[Finding]:
    indexes = [Index.of(row) for row in await view.rows(_LOOK, "all") if not row["part"]]
    building = await _building(view)
    found = [_invalid(index) for index in indexes if not index.valid and index.oid not in building]
    ruled = await _ruled(view)
    # What serves a rule or a key is needed, whatever it costs: without it another look would ask for it.
    free = [one for one in indexes if not (one.serves_key or one.leads_with(ruled.get(one.table_oid, ())))]
    hot = await _hot(view, free)
    # What is to be dropped makes no other index needless, and what makes one needless is not to be dropped.
    redundant = {index.oid: other for index, other in _redundant([one for one in indexes if one.oid not in hot])}
    found += [_needless(index, redundant[index.oid]) for index in indexes if index.oid in redundant]
    kept = {*redundant, *(other.oid for other in redundant.values()), *hot}
    found += await _unused(view, [index for index in free if index.oid not in kept])
    return [*found, *hot.values(), *await _unindexed(view, set(ruled))]


async def _building(view: View) -> set[int]:
    """Indexes that somebody is making now, as far as that can be seen."""
    rows = await view.rows(_LOOK, "building")
    if not view.monitors and not all(row["seen"] for row in rows):
        view.needs_statistics(_LOOK, "whether an index that is not valid is being made now")
        return {row["oid"] for row in rows}
    return {row["oid"] for row in rows if row["seen"]}


def _invalid(index: Index) -> Finding:
    if index.partitioned:
        # To drop it would drop what its partitions have, which is valid and in use.
        fact = f"the index {index.name} is not valid: {index.attached} of {index.partitions} partitions have their part"
        return finding("index.invalid", str(index.table), fact, remedy=_ATTACH)
    fact = f"the index {index.name} is not valid: it was broken off while it was made"
    return finding("index.invalid", str(index.table), fact, cure=index.drop, risky=index.needed)


def _redundant(indexes: Iterable[Index]) -> Iterator[tuple[Index, Index]]:
    """Each needless index, with the one that makes it so."""
    for _, group in groupby(indexes, key=lambda index: index.table_oid):
        together = list(group)
        for index in together:
            other = next((other for other in together if index.covered_by(other)), None)
            if other is not None:
                yield index, other


def _needless(index: Index, other: Index) -> Finding:
    same = "has the same columns as" if index.key == other.key else "is the beginning of"
    fact = f"the index {index.name}{_large(index)} {same} {other.name}"
    return finding("index.redundant", str(index.table), fact, cure=index.drop, risky=index.partitioned)


async def _unused(view: View, indexes: Iterable[Index]) -> list[Finding]:
    counted = (await view.rows(_LOOK, "counted_since"))[0]
    since = counted["seconds"] or 0.0
    if not counted["counts"] or since < view.thresholds.unused_after:
        return []
    # When an index was made, the server does not tell.
    how = f"was not read once in the {since / 86400:.0f} days that are counted, or since it was made"
    return [
        finding(
            "index.unused", str(index.table),
            f"the index {index.name}{_large(index)} {how}", cure=index.drop, risky=True,
        )
        for index in indexes
        if index.scans == 0 and index.bytes >= view.thresholds.unused_bytes and index.valid
        and not (index.unique or index.needed or index.clustered or index.partitioned)
    ]  # fmt: skip


async def _hot(view: View, indexes: Iterable[Index]) -> dict[int, Finding]:
    limits = view.thresholds
    cold = {row["oid"]: row for row in await view.rows(_LOOK, "updated", limits.hot_updates, limits.hot_share)}
    stamps = _STAMPS | {column for rule in view.policy.duplicates for column in rule.newest}
    stamps |= {rule.age_column for rule in view.policy.orphans if rule.age_column}
    found: dict[int, Finding] = {}
    for index in indexes:
        row = cold.get(index.table_oid)
        changing = sorted(stamps.intersection(index.columns))
        # A BRIN index does not stand in the way from PostgreSQL 16 on; one that is needed leaves no choice.
        if row is None or not changing or index.needed or index.unique or index.method == "brin":
            continue
        hot = f"{row['hot']:,} of its {row['updates']:,} updates were HOT"
        fact = f"{hot}; the index {index.name} has {', '.join(changing)}"
        found[index.oid] = finding("index.hot", str(index.table), fact, cure=index.drop, risky=True)
    return found


async def _unindexed(view: View, doomed: set[int]) -> list[Finding]:
    return [
        _without(row, ours=row["parent"] in doomed)
        for row in await view.rows(_LOOK, "foreign_keys")
        if row["rows"] >= view.thresholds.referencing
    ]


def _without(row: Record, *, ours: bool) -> Finding:
    table = Table(schema=row["schema"], name=row["table_name"])
    parent = Table(schema=row["parent_schema"], name=row["parent_name"])
    columns = listed([quoted(column) for column in row["columns"]])
    leaves = [Table(schema=schema, name=name) for schema, name in row["lacking"]]
    where = f" on {len(leaves)} of its partitions, which have" if row["partitioned"] else ", and the table"
    fact = f"the foreign key {row['name']} to {parent} has no index{where} about {row['rows']:,} rows"
    code = "foreign_key.unindexed" if ours else "foreign_key.slow"
    # On the whole it cannot be made CONCURRENTLY.
    cure = "\n".join(f"create index concurrently on {leaf.sql} ({columns});" for leaf in leaves)
    return finding(code, str(table), fact, cure=cure, remedy=_EACH if row["partitioned"] else None)


async def _ruled(view: View) -> dict[int, set[str]]:
    """The tables that the policy deletes from, with their partitions, and the columns by which its rules find rows."""
    columns: dict[TableName, set[str]] = {name: set() for name in view.policy.tables()}
    for rule in view.policy.retention:
        columns[rule.table].add(rule.column)
    for duplicate in view.policy.duplicates:
        for name in duplicate.tables:
            columns[name] |= set(duplicate.key)
    for orphan in view.policy.orphans:
        for name in orphan.tables:
            columns[name].add(orphan.column)
    ruled: dict[int, set[str]] = {}
    for name, led in columns.items():
        try:
            relation = await find(view.connection, name)
        except PolicyError:
            continue
        if relation is not None:
            for oid in (relation.oid, *(leaf.oid for leaf in relation.leaves)):
                ruled.setdefault(oid, set()).update(led)
    return ruled


def _large(index: Index) -> str:
    return f" ({size(index.bytes)})" if index.bytes else ""


INDEXES = Look(name=_LOOK, what="indexes", find=_find)
