"""orphans: rows whose parent is gone. One pass over the child's heap, each block range an anti-join with the parent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

from asyncpg import Connection

from maintenance.catalog import Leaf, Relation, find
from maintenance.models import Batch, Cursor, Settled, Step
from maintenance.names import Fragment, TableName, quoted
from maintenance.policy import Orphans, Policy
from maintenance.sql import statement
from maintenance.tasks import heap
from maintenance.tasks.moment import Moment
from maintenance.tasks.survey import Draft, Survey, Task, accepted, cutoff, guarded, located

NAME = "orphans"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphaned:
    """Which rows of which heap have no parent."""

    column: Fragment
    parentless: Fragment
    aged: Fragment
    bound: datetime | date | None

    def sql(self, name: str, leaf: Leaf) -> str:
        """A statement of orphans.sql for these rows of one leaf."""
        return statement(
            "orphans", name, table=leaf.table.sql, column=self.column, parentless=self.parentless, aged=self.aged
        )  # fmt: skip

    @property
    def values(self) -> tuple[datetime | date, ...]:
        """What the statements need as $1, if anything."""
        return () if self.bound is None else (self.bound,)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphansStep(Step):
    """Delete orphaned rows block range by block range; `limit` is in blocks."""

    limits = (8, 128, 2048)

    task: str = NAME
    strategy: str = "heap"
    leaf: Leaf
    orphaned: Orphaned

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """Delete what has no parent now and has not been touched since it was found."""

        async def work(first: heap.Tid, last: heap.Tid) -> tuple[int, int]:
            slot = len(self.orphaned.values)
            delete = statement(
                "orphans", "delete_stretch", table=self.leaf.table.sql, column=self.orphaned.column,
                parentless=self.orphaned.parentless, aged=self.orphaned.aged,
                first=Fragment(f"${slot + 1}"), last=Fragment(f"${slot + 2}"),
            )  # fmt: skip
            return int((await connection.execute(delete, *self.orphaned.values, first, last)).split()[-1]), 0

        return await heap.stretch(connection, self.leaf.oid, cursor, limit, work)

    def resume(self, cursor: Cursor) -> Cursor | None:
        """At the block where the earlier run stopped."""
        return heap.resume(cursor)


def drafts(policy: Policy) -> list[Draft]:
    """One a table of a rule."""
    return [
        Draft(task=NAME, table=table, plan=partial(_plan, rule, table))
        for rule in policy.orphans
        for table in rule.tables
    ]


async def _plan(rule: Orphans, name: TableName, survey: Survey) -> list[Step]:
    relation = await located(survey, NAME, name)
    if isinstance(relation, Settled):
        return [relation]
    parent = await find(survey.connection, rule.parent)
    orphaned = await _orphaned(rule, survey, relation, parent)
    steps = [await _step(rule, survey, leaf, orphaned) for leaf in relation.leaves]
    danger = None if rule.allow_empty_parent else await _danger(rule, survey, relation, parent)
    return [guarded(step, danger) for step in steps] if danger else steps


async def _orphaned(rule: Orphans, survey: Survey, relation: Relation, parent: Relation | None) -> Orphaned:
    column = relation.column(rule.column).sql
    aged, bound = Fragment("true"), None
    if rule.grace is not None and rule.age_column is not None:
        moment = Moment.of(relation, rule.age_column)
        bound = moment.bound(await cutoff(survey, rule.grace, f"{relation.table}: grace"))
        aged = Fragment(f"child.{moment.column.sql} < $1::{moment.type}")
    parentless = Fragment("true")
    if parent is not None:
        key = parent.column(rule.parent_column).sql
        match = statement("orphans", "parentless", parent=parent.table.sql, key=key, column=column)
        # The parent is looked at again in every batch: emptied during the run, it stops being a witness.
        seen = (
            Fragment("")
            if rule.allow_empty_parent
            else Fragment(statement("orphans", "witness", parent=parent.table.sql))
        )
        parentless = Fragment(f"{match} {seen}")
    found = Orphaned(column=column, parentless=parentless, aged=aged, bound=bound)
    whole = Leaf(oid=relation.oid, table=relation.table)
    await accepted(
        survey,
        found.sql("count", whole),
        f"{relation.table}.{rule.column} cannot be compared with {rule.parent}.{rule.parent_column}; use one type",
    )
    return found


async def _step(rule: Orphans, survey: Survey, leaf: Leaf, orphaned: Orphaned) -> Step:
    rows, exact = await survey.count(orphaned.sql("count", leaf), *orphaned.values)
    if rows is None and survey.counting is not None:
        rows = await survey.estimate(orphaned.sql("find", leaf), *orphaned.values)
    aged = f" and {rule.age_column} is older than {rule.grace}" if rule.grace else ""
    return OrphansStep(
        table=leaf.table,
        rule=f"{rule.column} -> {rule.parent}.{rule.parent_column}",
        rows=rows,
        exact=exact,
        summary=f"{rule.column} is in no {rule.parent}.{rule.parent_column}{aged}",
        leaf=leaf,
        orphaned=orphaned,
    )


async def _danger(rule: Orphans, survey: Survey, relation: Relation, parent: Relation | None) -> str | None:
    if parent is not None and await survey.connection.fetchval(statement("survey", "any_row", table=parent.table.sql)):
        return None
    column = quoted(rule.column)
    if not await survey.connection.fetchval(statement("orphans", "any_child", table=relation.table.sql, column=column)):
        return None
    fact = f"the parent table {rule.parent} is {'absent' if parent is None else 'empty'}"
    return (
        f"{fact}, so every row of {relation.table} would count as an orphan and nothing was deleted; "
        "if that is meant, set allow_empty_parent = true on this rule"
    )


TASK = Task(name=NAME, drafts=drafts)
