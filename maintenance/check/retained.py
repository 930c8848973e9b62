"""Retained: whether an index serves each rule of retention, and whether its table wants partitions."""

from __future__ import annotations

from collections.abc import Iterator

from asyncpg import Record

from maintenance.amounts import size
from maintenance.catalog import Leaf, Relation, find
from maintenance.check.kinds import finding
from maintenance.check.view import Look, View
from maintenance.errors import PolicyError
from maintenance.findings import Finding
from maintenance.names import quoted
from maintenance.rules import Retention
from maintenance.tasks import retention


async def _find(view: View) -> list[Finding]:
    found = view.found
    for rule in view.policy.retention:
        try:
            relation = await find(view.connection, rule.table)
        except PolicyError:
            continue
        if relation is not None and rule.column in relation.columns:
            found += await _rule(view, rule, relation)
    return found


async def _rule(view: View, rule: Retention, relation: Relation) -> list[Finding]:
    rows = await view.rows("tables", "pages", [leaf.oid for leaf in relation.leaves])
    pages = {row["oid"]: row["bytes"] for row in rows}
    whole = sum(pages.values())
    plain = rule.where is None and rule.keep_per_key is None and rule.archive is None and rule.partitions == "drop"
    dropped = plain and relation.partition_columns == frozenset({rule.column})
    found = [] if relation.partitioned else list(_partitions(view, rule, relation, whole, plain=plain))
    large = [leaf for leaf in relation.leaves if pages.get(leaf.oid, 0) >= view.thresholds.large]
    if dropped or not large or await retention.judges_others(view.survey(), rule):
        return found
    return [*found, *await _unserved(view, rule, relation, {leaf: pages[leaf.oid] for leaf in large})]


def _partitions(view: View, rule: Retention, relation: Relation, whole: int, *, plain: bool) -> Iterator[Finding]:
    if plain and whole >= view.thresholds.partitions:
        fact = f"its heap has {size(whole)}, its rows live {rule.keep} by {rule.column}, and it is not partitioned"
        yield finding("table.partitions", str(relation.table), fact)


async def _unserved(view: View, rule: Retention, relation: Relation, large: dict[Leaf, int]) -> list[Finding]:
    """Where a large table is read from its first block to its last, as no index leads to what is old."""
    column = relation.column(rule.column)
    found: list[Finding] = []
    for leaf, pages in large.items():
        try:
            if await retention.served(rule, view.survey(), relation, leaf):
                continue
        except PolicyError:
            # The look at the schema says so.
            return []
        nearly = await view.rows("retained", "nearly", leaf.oid, rule.column)
        code = "index.unfit" if nearly else "index.missing"
        why = _unfit(nearly[0], rule) if nearly else f"no index leads with {rule.column}"
        fact = f"each run reads the {size(pages)} of its heap, as {why}"
        cure = f"create index concurrently on {leaf.table.sql} ({column.sql});"
        found.append(finding(code, str(leaf.table), fact, cure=cure))
    return found


def _unfit(row: Record, rule: Retention) -> str:
    name = quoted(row["name"])
    if not row["valid"]:
        return f"the index {name} is not valid"
    if not row["leads"]:
        return f"the index {name} has {rule.column} behind another column"
    if row["partial"]:
        return f"the partial index {name} has not all rows of the rule"
    return f"the index {name} ({row['method']}) cannot be read in the order of {rule.column}"


RETAINED = Look(name="retained", what="whether indexes and partitions serve retention", find=_find)
