"""orphans: rows whose parent is gone. One pass over the child's heap, each block range an anti-join with the parent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

from asyncpg import Connection

from maintenance.catalog import Column, Leaf, Relation, find, foreign_key
from maintenance.models import Batch, Cursor, Query
from maintenance.names import Fragment, Table, TableName, listed, quoted
from maintenance.policy import Policy
from maintenance.rules import Orphans
from maintenance.sql import statement
from maintenance.steps import Settled, Step
from maintenance.tasks import heap
from maintenance.tasks.moment import Moment
from maintenance.tasks.ruled import ruled
from maintenance.tasks.survey import Draft, Survey, Task, accepted, cutoff, located, proven

NAME = "orphans"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphaned:
    """Which rows of which heap have no parent."""

    column: Column
    parent: Table | None
    parentless: Fragment
    witness: Fragment
    """Whether the parent has anything to say."""
    aged: Fragment
    bound: datetime | date | None
    moment: str | None = None
    """The type of the column that ages, where one does."""

    def sql(self, name: str, table: Table, **more: Fragment) -> str:
        """A statement of orphans.sql for these rows of a table; its first values are `values`."""
        slot = len(self.values)
        slots = {
            "table": table.sql, "column": self.column.sql, "parentless": self.parentless, "aged": self.aged,
            "witness": self.witness, "first": Fragment(f"${slot + 1}"), "last": Fragment(f"${slot + 2}"),
            "only": Fragment("only"), "sample": Fragment(""), "what": Fragment(""),
        }  # fmt: skip
        return statement(NAME, name, **{**slots, **more})

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
    orphaned: Orphaned
    whole: Table
    """The table of the rule, where `table` is one of its partitions."""
    parentless: str | None
    """What to say if the parent is no witness; None where the policy allows it."""

    @property
    def root(self) -> Table:
        """The table of the rule."""
        return self.whole

    @property
    def deletes(self) -> bool:
        """Yes."""
        return True

    def counting(self, sample: Fragment, *, whole: bool) -> Query | None:
        """By the rule's own words."""
        only = Fragment("" if whole and self.whole != self.table else "only")
        table = self.whole if whole else self.table
        return self.orphaned.sql("count", table, only=only, sample=sample), self.orphaned.values

    def doomed(self, columns: list[str]) -> Query | None:
        """By the rule's own words."""
        what = listed([Fragment(f"child.{quoted(column)}") for column in columns])
        return self.orphaned.sql("find", self.table, what=what), self.orphaned.values

    async def guard(self, connection: Connection) -> str | None:
        """Stop if there is something to judge and no parent to judge it by."""
        if self.parentless is None or await connection.fetchval(self.orphaned.sql("any_parent", self.table)):
            return None
        at_stake = await connection.fetchval(self.orphaned.sql("any_child", self.whole))
        return self.parentless if at_stake else None

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """Lock what has no parent; then delete what still has none, in a statement that waits for nothing."""

        async def work(first: heap.Tid, last: heap.Tid, patience: Fragment) -> heap.Share:
            values = self.orphaned.values
            claim = self.orphaned.sql("claim_stretch", self.table, patience=patience)
            found = await connection.fetch(claim, *values, first, last)
            gone = 0
            if found:
                delete = self.orphaned.sql("delete_claimed", self.table)
                rows = heap.addresses(found)
                gone = await self.deleter.delete(connection, delete, Fragment("child"), *values, rows)
            if patience is heap.WAIT:
                return heap.Share(rows=gone)
            count = self.orphaned.sql("count_stretch", self.table)
            return heap.Share(rows=gone, held=await connection.fetchval(count, *values, first, last))

        return await heap.stretch(connection, self.oid, cursor, limit, work)

    def past_locks(self, cursor: Cursor | None) -> Cursor | None:
        """Over rows that others hold."""
        return heap.past_locks(cursor)

    def go_on(self, cursor: Cursor) -> Cursor | None:
        """At the block where the earlier slice stopped."""
        return heap.go_on(cursor)

    def resume(self, cursor: Cursor) -> Cursor | None:
        """At the block where the earlier run stopped."""
        return heap.resume(cursor)


def drafts(policy: Policy) -> list[Draft]:
    """One a table of a rule."""
    return [
        Draft(task=NAME, table=table, plan=ruled(rule, partial(_plan, rule, table)))
        for rule in policy.orphans
        for table in rule.tables
    ]


async def _plan(rule: Orphans, name: TableName, survey: Survey) -> list[Step]:
    relation = await located(survey, NAME, name)
    if isinstance(relation, Settled):
        return [relation]
    parent = await find(survey.connection, rule.parent)
    orphaned = await orphaned_of(rule, survey, relation, parent)
    steps: list[Step] = []
    for leaf in relation.leaves:
        key = None
        if parent is not None:
            key = await foreign_key(survey.connection, leaf, rule.column, parent, rule.parent_column)
        if key is None:
            steps.append(await _step(rule, survey, leaf, relation, orphaned))
        else:
            why = f"the foreign key {key} leaves no orphans"
            steps.append(proven(NAME, leaf, subject_of(rule), text_of(rule), why))
    return steps


def subject_of(rule: Orphans) -> str:
    """What the rule is about."""
    return f"{rule.column} -> {rule.parent}.{rule.parent_column}"


def _aged(rule: Orphans) -> str:
    return f" and {rule.age_column} is older than {rule.grace}" if rule.grace else ""


def text_of(rule: Orphans) -> str:
    """The whole rule, in the ledger's words."""
    return f"{subject_of(rule)}{_aged(rule)}"


async def orphaned_of(rule: Orphans, survey: Survey, relation: Relation, parent: Relation | None) -> Orphaned:
    """The rows of a table that the rule is about.

    Raises:
        PolicyError: the columns do not fit each other.
    """
    column = relation.column(rule.column)
    aged, bound, type_ = Fragment("true"), None, None
    if rule.grace is not None and rule.age_column is not None:
        moment = Moment.of(relation, rule.age_column)
        type_ = str(moment.type)
        bound = moment.bound(await cutoff(survey, rule.grace, f"{relation.table}: grace"))
        aged = Fragment(f"child.{moment.column.sql} operator(pg_catalog.<) $1::{moment.type}")
    parentless, witness = Fragment("true"), Fragment("false")
    if parent is not None:
        key = parent.column(rule.parent_column)
        slots = {"parent": parent.table.sql, "key": key.sql}
        match = statement(NAME, "parentless", column=column.sql, equals=column.equals(key), **slots)
        witness = Fragment(statement(NAME, "witness", **slots))
        # Looked at again in every batch: emptied during the run, the parent stops being a witness.
        parentless = Fragment(match if rule.allow_empty_parent else f"{match} and {witness}")
    found = Orphaned(
        column=column, parent=parent.table if parent else None, parentless=parentless, witness=witness, aged=aged,
        bound=bound, moment=type_,
    )  # fmt: skip
    what = f"{relation.table}.{rule.column} cannot be compared with {rule.parent}.{rule.parent_column}; use one type"
    await accepted(survey, found.sql("count", relation.table), what)
    return found


async def _step(rule: Orphans, survey: Survey, leaf: Leaf, relation: Relation, orphaned: Orphaned) -> Step:
    rows, exact = await survey.count(orphaned.sql("count", leaf.table), *orphaned.values)
    if rows is None and survey.counting is not None:
        rows = await survey.estimate(orphaned.sql("find", leaf.table), *orphaned.values)
    return OrphansStep(
        table=leaf.table,
        oid=leaf.oid,
        subject=subject_of(rule),
        rule=text_of(rule),
        rows=rows,
        exact=exact,
        depends=(orphaned.parent,) if orphaned.parent else (),
        summary=f"{rule.column} is in no {rule.parent}.{rule.parent_column}{_aged(rule)}",
        orphaned=orphaned,
        whole=relation.table,
        reach=rule.reach,
        parentless=None if rule.allow_empty_parent else alone(rule, relation, orphaned.parent),
    )


def alone(rule: Orphans, relation: Relation, parent: Table | None) -> str:
    """What the guard says where the parent is no witness."""
    fact = (
        f"{rule.parent} is absent"
        if parent is None
        else f"{rule.parent} is empty or has no value in {rule.parent_column}"
    )
    return (
        f"the parent table {fact}, so every row of {relation.table} would count as an orphan and nothing was deleted; "
        "if that is meant, set allow_empty_parent = true on this rule"
    )


TASK = Task(name=NAME, drafts=drafts)
