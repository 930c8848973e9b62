"""retention: rows older than the policy keeps them, by an index on the column or one pass over the heap."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

from asyncpg import Connection

from maintenance.catalog import Leaf, Relation, has_leading_index
from maintenance.database import fetch_one
from maintenance.errors import Blocked
from maintenance.models import Batch, Cursor, Settled, Step
from maintenance.names import Fragment, quoted
from maintenance.policy import Policy, Retention
from maintenance.sql import statement
from maintenance.tasks import heap
from maintenance.tasks.moment import Moment
from maintenance.tasks.survey import Draft, Survey, Task, condition, cutoff, guarded, located

NAME = "retention"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Which rows of which heap are expired."""

    leaf: Leaf
    alias: Fragment
    moment: Moment
    bound: datetime | date
    where: Fragment

    def sql(self, name: str) -> str:
        """A statement of retention.sql for these rows; the bound is its $1."""
        return statement(
            "retention", name, table=self.leaf.table.sql, alias=self.alias, column=self.moment.column.sql,
            type=self.moment.type, where=self.where,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HeapRetention(Step):
    """Delete expired rows block range by block range; `limit` is in blocks."""

    limits = (8, 128, 1024)

    task: str = NAME
    strategy: str = "heap"
    expired: Expired

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """Judge and delete in one statement, so that a row refreshed in between stays."""
        delete = self.expired.sql("delete_stretch")

        async def work(first: heap.Tid, last: heap.Tid) -> tuple[int, int]:
            return int((await connection.execute(delete, self.expired.bound, first, last)).split()[-1]), 0

        return await heap.stretch(connection, self.expired.leaf.oid, cursor, limit, work)

    def resume(self, cursor: Cursor) -> Cursor | None:
        """At the block where the earlier run stopped."""
        return heap.resume(cursor)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysetRetention(Step):
    """Delete expired rows in the order of an index, oldest first; `limit` is in rows."""

    limits = (100, 2_000, 100_000)

    task: str = NAME
    strategy: str = "keyset"
    expired: Expired

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """The lower bound travels along: a batch that began at the start would walk all dead index entries again."""
        place = cursor or {"after": None}
        after = place["after"]
        row = await fetch_one(connection, self.expired.sql("delete_page"), self.expired.bound, after, limit)
        full = row["found"] >= limit
        if full and not row["gone"] and row["last"] == after:
            raise Blocked(
                f"{self.table}: {row['found']} expired rows were found but none could be deleted, as if a trigger or "
                "rule kept them; nothing moves until that is changed."
            )
        if not full and place.get("taken_up"):
            return Batch(rows=row["gone"], cursor={"after": None}, done=False)
        return Batch(rows=row["gone"], cursor={**place, "after": row["last"] or after}, done=not full)

    def resume(self, cursor: Cursor) -> Cursor | None:
        """After the last moment of the earlier run; then once from the start, for late arrivals with an old date."""
        return {"after": cursor["after"], "taken_up": 1} if cursor["after"] else None


def drafts(policy: Policy) -> list[Draft]:
    """One a rule."""
    return [Draft(task=NAME, table=rule.table, plan=partial(_plan, rule)) for rule in policy.retention]


async def _plan(rule: Retention, survey: Survey) -> list[Step]:
    relation = await located(survey, NAME, rule.table)
    if isinstance(relation, Settled):
        return [relation]
    moment = Moment.of(relation, rule.column)
    bound = moment.bound(await cutoff(survey, rule.keep, f"{relation.table}: keep"))
    where = await condition(survey, relation, rule.where)
    alias = quoted(relation.table.name)
    whole = Expired(
        leaf=Leaf(oid=relation.oid, table=relation.table), alias=alias, moment=moment, bound=bound, where=where
    )
    steps = [
        await _step(rule, survey, Expired(leaf=leaf, alias=alias, moment=moment, bound=bound, where=where))
        for leaf in relation.leaves
    ]
    if rule.allow_empty or await _something_stays(survey, whole):
        return steps
    return [guarded(step, _would_empty(rule, relation)) for step in steps]


async def _step(rule: Retention, survey: Survey, expired: Expired) -> Step:
    rows, exact = await survey.count(expired.sql("count"), expired.bound)
    if rows is None:
        rows = await survey.estimate(expired.sql("find"), expired.bound)
    indexed = await has_leading_index(survey.connection, expired.leaf, expired.moment.column)
    extra = f" and {rule.where}" if rule.where else ""
    way = f"by the index on {rule.column}" if indexed else f"in one pass, as no index leads with {rule.column}"
    return (KeysetRetention if indexed else HeapRetention)(
        table=expired.leaf.table,
        rule=f"{rule.column}{extra}",
        rows=rows,
        exact=exact,
        summary=f"{rule.column} before {_shown(expired.bound)}{extra}; {way}",
        expired=expired,
    )


def _shown(bound: datetime | date) -> str:
    if isinstance(bound, datetime):
        return bound.replace(tzinfo=None).isoformat(sep=" ", timespec="seconds") + " UTC"
    return bound.isoformat()


async def _something_stays(survey: Survey, whole: Expired) -> bool:
    return bool(await survey.connection.fetchval(whole.sql("something_stays"), whole.bound))


def _would_empty(rule: Retention, relation: Relation) -> str:
    return (
        f"every row of {relation.table} is older than {rule.keep}, so the table would be left empty and nothing was "
        "deleted; if that is meant, set allow_empty = true on this rule"
    )


TASK = Task(name=NAME, drafts=drafts)
