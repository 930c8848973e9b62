"""unreferenced: rows of a catalog that nothing refers to. A batch groups the references, deletes, corrects counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from asyncpg import Connection

from maintenance.catalog import Leaf, Relation, find
from maintenance.database import fetch_one
from maintenance.models import Batch, Cursor, Settled, Step
from maintenance.names import Fragment, listed
from maintenance.policy import Policy, Reference, Unreferenced
from maintenance.sql import statement
from maintenance.tasks import heap
from maintenance.tasks.survey import Draft, Survey, Task, accepted, guarded, located

NAME = "unreferenced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What refers to a catalog, and what of it follows."""

    column: Fragment
    count_column: Fragment | None
    uses: Fragment
    """A query of (value, uses): how many distinct rows refer to each value."""
    witnessed: Fragment
    """Whether the referencing tables still have something to say."""

    def sql(self, name: str, leaf: Leaf) -> str:
        """A statement of unreferenced.sql for the catalog, or one of its partitions."""
        changed = counted = Fragment("")
        if self.count_column is not None:
            slots = {"count_column": self.count_column, "table": leaf.table.sql}
            changed = Fragment(statement(NAME, "changed", **slots))
            counted = Fragment(statement(NAME, "counted", **slots))
        return statement(
            NAME, name, table=leaf.table.sql, column=self.column, uses=self.uses, witnessed=self.witnessed,
            changed=changed, counted=counted, updated=Fragment("(select count(*) from counted)" if counted else "0"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreferencedStep(Step):
    """Delete unreferenced rows block range by block range; `limit` is in blocks.

    The smallest batch is not small: each one reads all the references, however few rows it judges.
    """

    limits = (256, 1024, 8192)

    task: str = NAME
    strategy: str = "grouped"
    leaf: Leaf
    usage: Usage

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """Delete what nothing refers to now; write only the counts that changed."""

        async def work(first: heap.Tid, last: heap.Tid) -> tuple[int, int]:
            row = await fetch_one(connection, self.usage.sql("sweep_stretch", self.leaf), first, last)
            return row["removed"], row["updated"]

        return await heap.stretch(connection, self.leaf.oid, cursor, limit, work)

    def resume(self, cursor: Cursor) -> Cursor | None:
        """At the block where the earlier run stopped."""
        return heap.resume(cursor)


def drafts(policy: Policy) -> list[Draft]:
    """One a rule."""
    return [Draft(task=NAME, table=rule.table, plan=partial(_plan, rule)) for rule in policy.unreferenced]


async def _plan(rule: Unreferenced, survey: Survey) -> list[Step]:
    relation = await located(survey, NAME, rule.table)
    if isinstance(relation, Settled):
        return [relation]
    found = [(reference, await find(survey.connection, reference.table)) for reference in rule.references]
    usage = _usage(rule, relation, found)
    whole = Leaf(oid=relation.oid, table=relation.table)
    what = f"{relation.table}.{rule.column} cannot be compared with its references; give them one type"
    await accepted(survey, usage.sql("find", whole), what)
    await accepted(survey, usage.sql("sweep_stretch", relation.leaves[0] if relation.leaves else whole), what)
    steps = [await _step(rule, survey, leaf, usage) for leaf in relation.leaves]
    danger = None if rule.allow_empty_parent else await _danger(rule, survey, relation, found, usage)
    return [guarded(step, danger) for step in steps] if danger else steps


def _usage(rule: Unreferenced, relation: Relation, found: list[tuple[Reference, Relation | None]]) -> Usage:
    uses: list[Fragment] = []
    witnesses: list[Fragment] = []
    for reference, table in found:
        if table is None or reference.column not in table.columns:
            continue
        source = table.columns[reference.column]
        slots = {"reference": table.table.sql, "column": source.sql}
        uses.append(Fragment(statement(NAME, "array_uses" if source.element else "scalar_uses", **slots)))
        witnesses.append(Fragment(statement(NAME, "witness", reference=table.table.sql)))
    column = relation.column(rule.column).sql
    union = listed(uses, "\n    union\n    ") if uses else None
    return Usage(
        column=column,
        count_column=relation.column(rule.count_column).sql if rule.count_column else None,
        uses=Fragment(
            statement(NAME, "uses", union=union)
            if union
            else statement(NAME, "no_uses", column=column, table=relation.table.sql)
        ),
        witnessed=Fragment("true")
        if rule.allow_empty_parent
        else listed([*dict.fromkeys(witnesses), Fragment("exists (select from referenced)")], " and "),
    )


async def _step(rule: Unreferenced, survey: Survey, leaf: Leaf, usage: Usage) -> Step:
    rows, exact = await survey.count(usage.sql("count", leaf))
    if rows is None and survey.counting is not None:
        rows = await survey.estimate(usage.sql("find", leaf))
    references = ", ".join(f"{reference.table}.{reference.column}" for reference in rule.references)
    corrected = f"; {rule.count_column} is corrected" if rule.count_column else ""
    return UnreferencedStep(
        table=leaf.table,
        rule=rule.column,
        rows=rows,
        exact=exact,
        summary=f"{rule.column} is in none of {references}{corrected}",
        leaf=leaf,
        usage=usage,
    )


async def _danger(
    rule: Unreferenced, survey: Survey, relation: Relation, found: list[tuple[Reference, Relation | None]], usage: Usage
) -> str | None:
    whole = Leaf(oid=relation.oid, table=relation.table)
    if not await survey.connection.fetchval(usage.sql("any_value", whole)):
        return None
    fact = None
    for reference, table in found:
        if table is None:
            fact = f"the referencing table {reference.table} is absent"
        elif not await survey.connection.fetchval(statement("survey", "any_row", table=table.table.sql)):
            fact = f"the referencing table {reference.table} is empty"
    if fact is None and not await survey.connection.fetchval(usage.sql("any_use", whole)):
        fact = "none of the referencing columns has a value, or none exists"
    if fact is None:
        return None
    return (
        f"{fact}, so rows of {relation.table} would wrongly count as unreferenced and nothing was deleted; "
        f"if that is meant, set allow_empty_parent = true on this rule ({rule.table})"
    )


TASK = Task(name=NAME, drafts=drafts)
