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
from maintenance.names import Table, listed, quoted

_LOOK = "indexes"
_STAMPS = frozenset(
    {"updated_at", "modified_at", "last_seen", "last_seen_at", "updated", "modified", "changed_at", "last_modified"}
)
"""Usual names of columns that each update changes, beside those by which the policy tells the newest row."""


async def _find(view: View) -> list[Finding]:
    indexes = [Index.of(row) for row in await view.rows(_LOOK, "all") if not row["part"]]
    building = await _building(view)
    found = [_invalid(index) for index in indexes if not index.valid and index.oid not in building]
    hot = await _hot(view, indexes)
    # What is to be dropped makes no other index needless, and what makes one needless is not to be dropped.
    redundant = {index.oid: other for index, other in _redundant([one for one in indexes if one.oid not in hot])}
    found += [_needless(index, redundant[index.oid]) for index in indexes if index.oid in redundant]
    kept = {*redundant, *(other.oid for other in redundant.values()), *hot}
    found += await _unused(view, [index for index in indexes if index.oid not in kept])
    return [*found, *hot.values(), *await _unindexed(view)]


async def _building(view: View) -> set[int]:
    """Indexes that somebody is making now, as far as that can be seen."""
    rows = await view.rows(_LOOK, "building")
    if not view.monitors and not all(row["seen"] for row in rows):
        view.needs_statistics(_LOOK, "whether an index that is not valid is being made now")
        return {row["oid"] for row in rows}
    return {row["oid"] for row in rows if row["seen"]}


def _invalid(index: Index) -> Finding:
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
    return finding("index.redundant", str(index.table), fact, cure=index.drop)


async def _unused(view: View, indexes: Iterable[Index]) -> list[Finding]:
    since = (await view.rows(_LOOK, "counted_since"))[0]["seconds"] or 0.0
    if since < view.thresholds.unused_after:
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
        and not (index.unique or index.needed or index.clustered or index.serves_key or index.partitioned)
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


async def _unindexed(view: View) -> list[Finding]:
    doomed = await _deleted_from(view)
    found: list[Finding] = []
    for row in await view.rows(_LOOK, "foreign_keys"):
        rows = (await view.rows(_LOOK, "leaf_rows", row["table"]))[0]["rows"] if row["partitioned"] else row["rows"]
        if rows >= view.thresholds.referencing:
            found.append(_without(row, rows, ours=row["parent"] in doomed))
    return found


def _without(row: Record, rows: int, *, ours: bool) -> Finding:
    table = Table(schema=row["schema"], name=row["table_name"])
    parent = Table(schema=row["parent_schema"], name=row["parent_name"])
    columns = listed([quoted(column) for column in row["columns"]])
    fact = f"the foreign key {row['name']} to {parent} has no index, and the table about {rows:,} rows"
    how = "create index on" if row["partitioned"] else "create index concurrently on"
    code = "foreign_key.unindexed" if ours else "foreign_key.slow"
    return finding(code, str(table), fact, cure=f"{how} {table.sql} ({columns});")


async def _deleted_from(view: View) -> set[int]:
    """The tables that the policy deletes from, with their partitions."""
    oids: set[int] = set()
    for name in dict.fromkeys(view.policy.tables()):
        try:
            relation = await find(view.connection, name)
        except PolicyError:
            continue
        if relation is not None:
            oids |= {relation.oid, *(leaf.oid for leaf in relation.leaves)}
    return oids


def _large(index: Index) -> str:
    return f" ({size(index.bytes)})" if index.bytes else ""


INDEXES = Look(name=_LOOK, what="indexes", find=_find)
