"""Retained: whether an index serves each rule of retention, and whether its table wants partitions."""

from __future__ import annotations

from collections.abc import Iterator

from asyncpg import Record

from maintenance.amounts import size
from maintenance.catalog import Leaf, Relation, find, leading_indexes
from maintenance.check.kinds import finding
from maintenance.check.view import Look, View
from maintenance.errors import PolicyError
from maintenance.findings import Finding
from maintenance.names import quoted
from maintenance.policy import Retention
from maintenance.tasks import retention

_BY_INDEX = "keyset"


async def _find(view: View) -> list[Finding]:
    found: list[Finding] = []
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
    """Where the plan reads a large table from its first block to its last, as no index leads it to what is old."""
    column = relation.column(rule.column)
    strategies = await _strategies(view, rule)
    found: list[Finding] = []
    for leaf, pages in large.items():
        indexes = await leading_indexes(view.connection, leaf, column)
        # With a whole index it is the share of what is due that decides, and that is different tomorrow.
        if strategies.get(leaf.oid) in (None, _BY_INDEX) or any(not index.partial for index in indexes):
            continue
        nearly = await view.rows("retained", "nearly", leaf.oid, rule.column)
        amount = f"each run reads the {size(pages)} of its heap"
        cure = f"create index concurrently on {leaf.table.sql} ({column.sql});"
        if nearly:
            fact = f"{amount}, as {_unfit(nearly[0], rule)}"
            found.append(finding("index.unfit", str(leaf.table), fact, cure=cure))
        else:
            fact = f"{amount}, as no index leads with {rule.column}"
            found.append(finding("index.missing", str(leaf.table), fact, cure=cure))
    return found


async def _strategies(view: View, rule: Retention) -> dict[int, str]:
    drafts = retention.drafts(view.policy.model_copy(update={"retention": (rule,)}))
    steps = [step for draft in drafts for step in await draft.plan(view.survey())]
    return {step.oid: step.strategy for step in steps}


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
