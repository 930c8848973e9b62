"""Constraints: those whose absence is why there are orphans and duplicates, and the statements that add them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import asyncpg
from asyncpg import Record

from maintenance.catalog import Relation, find, foreign_key, unique_index
from maintenance.check.kinds import finding
from maintenance.check.view import Look, View
from maintenance.errors import PolicyError
from maintenance.findings import Finding
from maintenance.ledger import Ledger
from maintenance.names import LONGEST_NAME, Fragment, listed, quoted
from maintenance.rules import Duplicates, Orphans
from maintenance.tasks import duplicates, orphans, rivals
from maintenance.tasks.survey import Draft

_TEXTS = frozenset({"text", "character varying"})
_NUMBERS = frozenset({"smallint", "integer", "bigint"})
_WHOLE_SINCE = 18
"""Major from which a partitioned table takes a foreign key NOT VALID.
https://www.postgresql.org/docs/18/release-18.html"""


async def _find(view: View) -> list[Finding]:
    found = view.found
    for duplicate in view.policy.duplicates:
        for name in duplicate.tables:
            relation = await _located(view, name, duplicate.key)
            if relation is not None:
                found += await _unique(view, duplicate, relation)
    for orphan in view.policy.orphans:
        parent = await _located(view, orphan.parent, (orphan.parent_column,))
        for name in orphan.tables:
            relation = await _located(view, name, (orphan.column,))
            if relation is not None and parent is not None:
                found += await _parented(view, orphan, relation, parent)
    return found


async def _located(view: View, name: object, columns: Iterable[str]) -> Relation | None:
    """The table, where it and its columns are there; the look at the schema says so where they are not."""
    try:
        relation = await find(view.connection, name)  # type: ignore[arg-type]
    except PolicyError:
        return None
    return relation if relation is not None and set(columns) <= set(relation.columns) else None


async def _unique(view: View, rule: Duplicates, relation: Relation) -> list[Finding]:
    lacking = [leaf for leaf in relation.leaves if await unique_index(view.connection, leaf, rule.key) is None]
    # A constraint must have the partitions' columns in it: where the key has not, the rule is the only way.
    if not lacking or (relation.partitioned and not duplicates.within_leaf(rule, relation)):
        return []
    broken = await _broken(view, rivals.NAME, relation, [
        draft for draft in duplicates.drafts(view.policy.model_copy(update={"duplicates": (rule,)}))
        if draft.table is not None and draft.table.name == relation.table.name
    ])  # fmt: skip
    columns = listed([quoted(column) for column in rule.key])
    fact = f"nothing keeps {', '.join(rule.key)} unique{broken.told('break the rule')}"
    if relation.partitioned:
        remedy = (
            "a unique constraint on the whole: an index ON ONLY it, one made CONCURRENTLY on each partition, "
            "and ATTACH PARTITION for each"
        )
        return [finding("unique.missing", str(relation.table), fact, remedy=remedy)]
    name = await _free(view, relation, f"{relation.table.name}_{'_'.join(rule.key)}_key")
    cure = (
        f"{_first(broken, rivals.NAME, relation)}create unique index concurrently {name} on {relation.table.sql} "
        f"({columns});\n"
        f"alter table {relation.table.sql} add constraint {name} unique using index {name};"
    )
    return [finding("unique.missing", str(relation.table), fact, cure=cure)]


async def _parented(view: View, rule: Orphans, relation: Relation, parent: Relation) -> list[Finding]:
    names = (rule.column, parent.oid, rule.parent_column)
    proofs = [
        await foreign_key(view.connection, leaf, rule.column, parent, rule.parent_column) for leaf in relation.leaves
    ]
    if not relation.leaves or None not in proofs:
        return []
    if (await view.rows("constraints", "enforced", relation.oid, *names))[0]["exists"]:
        return []
    # A key asks for a parent at once, and of all rows: also of those that the rule still leaves alone.
    strict = rule.model_copy(update={"grace": None, "age_column": None, "allow_empty_parent": True})
    broken = await _broken(view, orphans.NAME, relation, [
        draft for draft in orphans.drafts(view.policy.model_copy(update={"orphans": (strict,)}))
        if draft.table is not None and draft.table.name == relation.table.name
    ])  # fmt: skip
    table = relation.table.sql
    rows = await view.rows("constraints", "unvalidated", relation.oid, *names)
    if rows:
        return [_unvalidated(rule, relation, rows[0], broken)]
    to = f"{parent.table}.{rule.parent_column}"
    fact = f"no foreign key from {rule.column} to {to}{broken.told('have no parent')}"
    why_not = await _hindrance(view, rule, relation, parent)
    if why_not is not None:
        return [finding("foreign_key.missing", str(relation.table), fact, remedy=why_not)]
    name = await _free(view, relation, f"{relation.table.name}_{rule.column}_fkey")
    cure = await _led(view, relation, rule.column) + (
        f"alter table {table} add constraint {name} foreign key ({quoted(rule.column)})\n"
        f"    references {parent.table.sql} ({quoted(rule.parent_column)}) on delete cascade not valid;\n"
        f"{_first(broken, orphans.NAME, relation, rule.grace)}alter table {table} validate constraint {name};"
    )
    return [finding("foreign_key.missing", str(relation.table), fact, cure=cure)]


async def _led(view: View, relation: Relation, column: str) -> str:
    """The index without which each deleted parent would be a scan; nothing where there is one, or one is proposed."""
    coming = any(
        rule.key[0] == column and any(table.name == relation.table.name for table in rule.tables)
        for rule in view.policy.duplicates
    )
    if (
        coming
        or relation.partitioned
        or (await view.rows("constraints", "led", relation.leaves[0].oid, column))[0]["exists"]
    ):
        return ""
    name = await _free(view, relation, f"{relation.table.name}_{column}_idx")
    return f"create index concurrently {name} on {relation.table.sql} ({quoted(column)});\n"


def _unvalidated(rule: Orphans, relation: Relation, row: Record, broken: _Broken) -> Finding:
    subject, name = str(relation.table), row["name"]
    told = broken.told("have no parent")
    if not row["enforced"]:
        remedy = "ALTER CONSTRAINT ... ENFORCED while nobody writes: it reads the whole table under a lock"
        fact = f"the foreign key {name} is NOT ENFORCED{told}"
        return finding("foreign_key.unvalidated", subject, fact, remedy=remedy)
    validate = f"alter table {relation.table.sql} validate constraint {quoted(name)};"
    fact = f"the foreign key {name} is not validated{told}"
    first = _first(broken, orphans.NAME, relation, rule.grace)
    return finding("foreign_key.unvalidated", subject, fact, cure=f"{first}{validate}")


async def _hindrance(view: View, rule: Orphans, relation: Relation, parent: Relation) -> str | None:
    """What has to be done before a foreign key can be added, or why none should be; else None."""
    if rule.archive is not None:
        return (
            "leave it to the rule, whose rows go to an archive first: a key that deletes with the parent "
            "(ON DELETE CASCADE) goes around that, and one that does not keeps the parent from being deleted"
        )
    types = {relation.column(rule.column).type, parent.column(rule.parent_column).type}
    if len(types) > 1 and not types <= _TEXTS and not types <= _NUMBERS:
        return f"first one type for both columns ({' and '.join(sorted(types))}), then a foreign key"
    if not (await view.rows("constraints", "referable", parent.oid, rule.parent_column))[0]["exists"]:
        return f"first a unique constraint on {parent.table} ({rule.parent_column}), then a foreign key"
    if relation.partitioned and view.major < _WHOLE_SINCE:
        return "a foreign key on each partition, NOT VALID and then validated, and then on the whole"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Broken:
    """How many rows are in a constraint's way."""

    rows: int | None
    """Now; None where that could not be counted in time."""
    earlier: str
    """What was deleted in the last 30 days, in words."""

    def told(self, how: str) -> str:
        """As the end of a fact."""
        return (f"; {self.rows:,} rows {how} now" if self.rows else "") + self.earlier


async def _broken(view: View, task: str, relation: Relation, drafts: list[Draft]) -> _Broken:
    seconds = view.thresholds.count if view.budget.left > view.thresholds.look / 2 else 0.0
    rows: int | None = None
    if seconds:
        try:
            steps = [step for draft in drafts for step in await draft.plan(view.survey(seconds))]
            exact = [step.rows for step in steps if step.exact and step.rows is not None]
            rows = sum(exact) if len(exact) == len(steps) else None
        except (PolicyError, asyncpg.InsufficientPrivilegeError):
            if view.connection.is_closed():
                raise
    if not await Ledger(view.connection).installed(writable=False):
        return _Broken(rows=rows, earlier="")
    tables = [str(relation.table), *(str(leaf.table) for leaf in relation.leaves)]
    removed = (await view.rows("constraints", "removed", task, tables))[0]
    earlier = (
        f"; in the last 30 days {removed['rows']:,} were deleted, in {removed['runs']:,} of the runs"
        if removed["rows"]
        else ""
    )
    return _Broken(rows=rows, earlier=earlier)


def _first(broken: _Broken, task: str, relation: Relation, grace: str | None = None) -> str:
    """What must be done before the next statement can succeed, as a comment in the script."""
    if broken.rows == 0:
        return ""
    run = f"python -m maintenance run {task} --tables {_shell(relation)}"
    counted = " (not counted here, as that took too long)" if broken.rows is None else ""
    late = f"; what is younger than the rule's grace of {' '.join(grace.split())} it leaves" if grace else ""
    return f"-- Fails until the rows are gone that break the rule{counted}: {run}{late}\n"


def _shell(relation: Relation) -> str:
    name = " ".join(str(relation.table).split())
    return name if name.replace("_", "").replace(".", "").isalnum() else f"'{name}'"


async def _free(view: View, relation: Relation, wish: str) -> Fragment:
    """The name as wished, cut to what a name may have, or with a number behind it where it is taken."""
    name = wish
    if len(wish.encode()) > LONGEST_NAME:
        sign = f"_{zlib.crc32(wish.encode()):08x}"
        name = wish.encode()[: LONGEST_NAME - len(sign)].decode(errors="ignore") + sign
    number = 1
    short = name.encode()[: LONGEST_NAME - 3].decode(errors="ignore")
    taken = {row["name"] for row in await view.rows("constraints", "names", relation.oid, short)}
    while name in taken:
        number += 1
        name = f"{short}_{number}"
    return quoted(name)


CONSTRAINTS = Look(name="constraints", what="the constraints behind duplicates and orphans", find=_find)
