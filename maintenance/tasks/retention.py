"""retention: rows older than the policy keeps them, by an index on the column or one pass over the heap."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

from asyncpg import Connection

from maintenance.catalog import Leaf, Relation, has_leading_index
from maintenance.database import fetch_one
from maintenance.errors import PolicyError
from maintenance.models import Batch, Cursor, Settled, Step
from maintenance.names import Fragment, Table, quoted
from maintenance.policy import Policy, Retention
from maintenance.sql import statement
from maintenance.tasks import heap
from maintenance.tasks.moment import Moment
from maintenance.tasks.survey import Draft, Survey, Task, condition, cutoff, located

NAME = "retention"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Which rows of which heap are expired."""

    table: Table
    alias: Fragment
    moment: Moment
    bound: datetime | date
    where: Fragment
    only: Fragment

    def sql(self, name: str) -> str:
        """A statement of retention.sql for these rows; the bound is its $1."""
        return statement(
            NAME, name, table=self.table.sql, alias=self.alias, column=self.moment.column.sql,
            type=self.moment.type, where=self.where, only=self.only,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionStep(Step):
    """What both strategies share: the rows, and the guard against an empty table."""

    task: str = NAME
    expired: Expired
    whole: Expired
    """The rows of the whole table, where `expired` are those of one partition."""
    empties: str | None
    """What to say if nothing would stay; None where the policy allows it."""
    claims: bool
    """Lock the rows before they are judged, as their condition looks at other rows too."""

    async def guard(self, connection: Connection) -> str | None:
        """Stop if no row of the whole table would stay; asked after the rules before this one have had their share."""
        if self.empties is None or await connection.fetchval(self.whole.sql("something_stays"), self.whole.bound):
            return None
        return self.empties

    async def lag(self, connection: Connection, *, done: bool) -> float | None:
        """How long the policy has wanted the oldest row gone; 0 after a pass that left none."""
        if done:
            return 0.0
        overdue: float | None = await connection.fetchval(self.expired.sql("overdue"), self.expired.bound)
        return 0.0 if overdue is None else overdue


@dataclass(frozen=True, slots=True, kw_only=True)
class HeapRetention(RetentionStep):
    """Delete expired rows block range by block range; `limit` is in blocks."""

    limits = (8, 128, 1024)

    strategy: str = "heap"

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """Judge and delete in one statement, so that a row refreshed in between stays."""

        async def work(first: heap.Tid, last: heap.Tid) -> tuple[int, int]:
            bound = self.expired.bound
            if not self.claims:
                return heap.deleted(await connection.execute(self.expired.sql("delete_stretch"), bound, first, last)), 0
            claimed = await connection.fetch(self.expired.sql("claim_stretch"), bound, first, last)
            rows = heap.addresses(claimed)
            return heap.deleted(await connection.execute(self.expired.sql("delete_claimed"), bound, rows)), 0

        return await heap.stretch(connection, self.oid, cursor, limit, work)

    def resume(self, cursor: Cursor) -> Cursor | None:
        """At the block where the earlier run stopped."""
        return heap.resume(cursor)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysetRetention(RetentionStep):
    """Delete expired rows in the order of an index, oldest first; `limit` is in rows looked at."""

    limits = (100, 2_000, 100_000)

    strategy: str = "keyset"

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """The lower bound travels along: a batch that began at the start would walk all dead index entries again."""
        place = cursor or {"after": None}
        after = place["after"]
        page = max(limit, int(place.get("page") or 0))
        values = (self.expired.bound, after, page, place.get("until"))
        row = await fetch_one(connection, self.expired.sql("delete_page"), *values)
        full = row["found"] >= page
        if not full and place.get("taken_up"):
            return Batch(rows=row["gone"], cursor={"after": None, "until": place["taken_up"]}, done=False)
        following: Cursor = {key: value for key, value in place.items() if key != "page"}
        following["after"] = row["last"] or after
        if full and row["last"] == after and (page > limit or not row["gone"]):
            # More rows share this moment than fit on a page, and few of them may go: only a larger page gets past.
            following["page"] = page if row["gone"] else page * 2
        return Batch(rows=row["gone"], cursor=following, done=not full, paced=page == limit)

    def resume(self, cursor: Cursor) -> Cursor | None:
        """After the last moment of the earlier run; then once from the start, for what is due there since."""
        return {"after": cursor["after"], "taken_up": cursor["after"]} if cursor["after"] else None


def drafts(policy: Policy) -> list[Draft]:
    """One a rule."""
    return [Draft(task=NAME, table=rule.table, plan=partial(_plan, rule)) for rule in policy.retention]


async def _plan(rule: Retention, survey: Survey) -> list[Step]:
    relation = await located(survey, NAME, rule.table)
    if isinstance(relation, Settled):
        return [relation]
    moment = Moment.of(relation, rule.column)
    if re.fullmatch(r"\s*[\d.]+\s*", rule.keep):
        raise PolicyError(f"{relation.table}: keep = {rule.keep!r} has no unit; write one such as '30 days'.")
    bound = moment.bound(await cutoff(survey, rule.keep, f"{relation.table}: keep"))
    whole = Expired(
        table=relation.table, alias=quoted(relation.table.name), moment=moment, bound=bound,
        where=await condition(survey, relation, rule.where),
        only=Fragment("" if relation.partitioned else "only"),
    )  # fmt: skip
    return [await _step(rule, survey, relation, whole, leaf) for leaf in relation.leaves]


async def _step(rule: Retention, survey: Survey, relation: Relation, whole: Expired, leaf: Leaf) -> Step:
    expired = Expired(
        table=leaf.table, alias=whole.alias, moment=whole.moment, bound=whole.bound, where=whole.where,
        only=Fragment("only"),
    )  # fmt: skip
    rows, exact = await survey.count(expired.sql("count"), expired.bound)
    if rows is None:
        rows = await survey.estimate(expired.sql("find"), expired.bound)
    extra = f" and {rule.where}" if rule.where else ""
    claims = looks_elsewhere(rule.where)
    indexed = not claims and await has_leading_index(survey.connection, leaf, expired.moment.column)
    way = f"by the index on {rule.column}" if indexed else f"in one pass, as no index leads with {rule.column}"
    if claims:
        way = "in one pass, as the condition looks at other rows"
    kind = KeysetRetention if indexed else HeapRetention
    return kind(
        table=leaf.table,
        oid=leaf.oid,
        subject=f"{rule.column}{extra}",
        rule=f"{rule.column} keep {rule.keep}{extra}",
        rows=rows,
        exact=exact,
        summary=f"{rule.column} before {_shown(expired.bound)}{extra}; {way}",
        expired=expired,
        whole=whole,
        claims=claims,
        empties=None if rule.allow_empty else _would_empty(rule, relation),
    )


def looks_elsewhere(where: str | None) -> bool:
    """Whether a condition may look at other rows than the one it judges."""
    return re.search(r"\b(select|table|values|with)\b", where or "", re.IGNORECASE) is not None


def _shown(bound: datetime | date) -> str:
    if isinstance(bound, datetime):
        return bound.replace(tzinfo=None).isoformat(sep=" ", timespec="seconds") + " UTC"
    return bound.isoformat()


def _would_empty(rule: Retention, relation: Relation) -> str:
    return (
        f"every row of {relation.table} is older than {rule.keep}, so the table would be left empty and nothing was "
        "deleted; if that is meant, set allow_empty = true on this rule"
    )


TASK = Task(name=NAME, drafts=drafts)
