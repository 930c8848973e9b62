"""retention: rows older than the policy keeps them, by whole partitions, by an index, or in one pass over the heap."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial

from maintenance.catalog import Leaf, Relation, leading_indexes, shape
from maintenance.errors import PolicyError
from maintenance.names import Fragment, quoted
from maintenance.policy import Policy
from maintenance.rules import Retention
from maintenance.sql import statement
from maintenance.steps import Settled, Step
from maintenance.tasks.expired import NAME, Expired
from maintenance.tasks.floors import floors, kept
from maintenance.tasks.moment import Moment
from maintenance.tasks.partitions import HINDRANCES, Part, PartitionRetention, parts
from maintenance.tasks.rows import FROM, HeapRetention, KeysetRetention
from maintenance.tasks.ruled import ruled
from maintenance.tasks.survey import Draft, Survey, Task, condition, cutoff, located, nodes

_MOST = 0.75
"""Of a heap's blocks: who would visit more of them by an index is faster in one pass; see docs/performance.md."""
_RANDOM = 2.0
"""What a visit costs where the index jumps about the heap, in visits of one block after the other: 1 in memory, more
where storage is slow."""
_LARGE = 1 << 30
"""Bytes of a heap from which the plan says what reading all of it in each run means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How the rows of a leaf are found, and why so."""

    kind: type[HeapRetention] | type[KeysetRetention]
    why: str
    lockable: bool
    partial: bool = False


def drafts(policy: Policy) -> list[Draft]:
    """One a rule."""
    return [Draft(task=NAME, table=rule.table, plan=ruled(rule, partial(_plan, rule))) for rule in policy.retention]


async def _plan(rule: Retention, survey: Survey) -> list[Step]:
    relation = await located(survey, NAME, rule.table)
    if isinstance(relation, Settled):
        return [relation]
    whole = await expired_of(rule, relation, survey)
    ranges = await parts(survey.connection, relation, whole)
    plain = rule.where is None and rule.keep_per_key is None
    may_drop = bool(ranges) and rule.partitions == "drop" and plain
    whole_parts = may_drop and rule.archive is None
    steps: list[Step] = [_dropping(rule, relation, whole, ranges)] if whole_parts else []
    spared = _spared(rule, ranges, whole_parts=whole_parts)
    reasons = {oid: HINDRANCES[part.hindrance] for part in ranges if part.due and part.hindrance for oid in part.tables}
    for leaf in relation.leaves:
        if leaf.oid not in spared:
            step = await _step(rule, survey, relation, whole, leaf)
            why = f", row by row as {reasons[leaf.oid]}" if whole_parts and leaf.oid in reasons else ""
            if may_drop and rule.archive is not None:
                why = ", row by row as the rule has an archive"
            steps.append(replace(step, summary=step.summary + why))
    return steps


async def expired_of(rule: Retention, relation: Relation, survey: Survey) -> Expired:
    """The rows of a table that the rule is about, by the cutoff of this run.

    Raises:
        PolicyError: the rule does not fit the table.
    """
    moment = Moment.of(relation, rule.column)
    if re.fullmatch(r"\s*[\d.]+\s*", rule.keep):
        raise PolicyError(f"{relation.table}: keep = {rule.keep!r} has no unit; write one such as '30 days'.")
    whole = Expired(
        table=relation.table, alias=quoted(relation.table.name), moment=moment,
        bound=moment.bound(await cutoff(survey, rule.keep, f"{relation.table}: keep")),
        where=await condition(survey, relation, rule.where),
        only=Fragment("" if relation.partitioned else "only"),
    )  # fmt: skip
    return await kept(rule, relation, whole, survey.connection)


def _spared(rule: Retention, ranges: tuple[Part, ...], *, whole_parts: bool) -> set[int]:
    """The tables whose rows nobody has to look at: they are dropped, or all too new, or left to a later run."""

    def is_spared(part: Part) -> bool:
        if part.later or not whole_parts:
            return part.later
        if part.due:
            return part.hindrance is None
        return rule.boundary == "leave" and not part.default

    return {oid for part in ranges if is_spared(part) for oid in part.tables}


def _dropping(rule: Retention, relation: Relation, whole: Expired, ranges: tuple[Part, ...]) -> PartitionRetention:
    """The step that drops whole partitions; also where none is due, as an earlier run may have died over one."""
    going = [part for part in ranges if part.due and part.hindrance is None]
    names = ", ".join(part.table.name for part in going)
    gone = {oid for part in going for oid in part.tables}
    what = f"dropped as a whole: {names}" if going else "no partition lies wholly before it"
    return PartitionRetention(
        table=relation.table, oid=relation.oid, subject=f"{rule.column} by partitions",
        rule=f"{rule.column} keep {rule.keep} by partitions", rows=sum(part.rows for part in going), exact=not going,
        summary=f"{rule.column} before {shown(whole.bound)}; {what}", need=1.0, expired=whole, whole=whole,
        covers=frozenset(leaf.table for leaf in relation.leaves if leaf.oid in gone),
        reach=rule.reach,
        empties=None if rule.allow_empty else would_empty(rule, relation), leaves_boundary=rule.boundary == "leave",
    )  # fmt: skip


async def _step(rule: Retention, survey: Survey, relation: Relation, whole: Expired, leaf: Leaf) -> Step:
    expired = replace(whole, table=leaf.table, only=Fragment("only"))
    rows, exact = await survey.count(expired.sql("count"), expired.bound)
    if rows is None:
        rows = await survey.estimate(expired.sql("find"), expired.bound)
    extra = besides(rule)
    way = await _way(rule, survey, leaf, expired)
    return way.kind(
        table=leaf.table,
        oid=leaf.oid,
        subject=f"{rule.column}{extra}",
        rule=f"{rule.column} keep {rule.keep}{extra}",
        rows=rows,
        exact=exact,
        summary=f"{rule.column} before {shown(expired.bound)}{extra}; {way.why}",
        expired=replace(expired, indexed=expired.where) if way.partial else expired,
        whole=whole,
        reach=rule.reach,
        claims=await judges_others(survey, rule),
        lockable=way.lockable,
        empties=None if rule.allow_empty else would_empty(rule, relation),
    )


def besides(rule: Retention) -> str:
    """What the rule asks for besides an age, in words."""
    return (f" and {rule.where}" if rule.where else "") + floors(rule)


async def _way(rule: Retention, survey: Survey, leaf: Leaf, expired: Expired) -> _Way:
    """By the index where that visits less of the heap than one pass over it, as far as statistics know."""
    column = expired.moment.column
    form = await shape(survey.connection, leaf, column)
    if await judges_others(survey, rule):
        why = "in one pass, as the condition looks at other rows"
        return _Way(kind=HeapRetention, why=why, lockable=form.lockable)
    indexes = await leading_indexes(survey.connection, leaf, column)
    whole = any(not index.partial for index in indexes)
    fitting = None if whole else await _fitting(survey, expired, {index.name for index in indexes})
    if not whole and fitting is None:
        size = form.blocks * 8192
        cost = f": each run reads its {size / (1 << 30):.0f} GB" if size >= _LARGE else ""
        why = f"in one pass, as no index leads with {rule.column}{cost}"
        return _Way(kind=HeapRetention, why=why, lockable=form.lockable)
    if form.correlation is not None:
        due = await survey.estimate(expired.sql("find_due"), expired.bound)
        share = due / max(await survey.estimate(expired.sql("find_any")), due, 1)
        ordered = form.correlation**2
        visits = ordered * form.blocks * share + (1 - ordered) * due * _RANDOM
        if visits > _MOST * form.blocks:
            due_share = f"about {share:.0%} of the rows are due"
            scattered = f" and the rows do not lie in the order of {rule.column}" if ordered < _MOST else ""
            return _Way(kind=HeapRetention, why=f"in one pass, as {due_share}{scattered}", lockable=form.lockable)
    name = f"the partial index {fitting}" if fitting else f"the index on {rule.column}"
    return _Way(kind=KeysetRetention, why=f"by {name}", lockable=form.lockable, partial=fitting is not None)


async def served(rule: Retention, survey: Survey, relation: Relation, leaf: Leaf) -> bool:
    """Whether an index leads to all rows of the rule in a leaf, even where one pass over it should be faster today.

    Raises:
        PolicyError: the rule does not fit the table.
    """
    whole = await expired_of(rule, relation, survey)
    indexes = await leading_indexes(survey.connection, leaf, whole.moment.column)
    if any(not index.partial for index in indexes):
        return True
    expired = replace(whole, table=leaf.table, only=Fragment("only"))
    return await _fitting(survey, expired, {index.name for index in indexes}) is not None


async def _fitting(survey: Survey, expired: Expired, partial: set[str]) -> str | None:
    """The partial index that has all rows of the rule, by the word of the planner, which would read it in its order."""
    if not partial:
        return None
    within = replace(expired, indexed=expired.where)
    async with survey.connection.transaction():
        await survey.connection.execute(within.sql("by_index"))
        query = within.sql("boundary", **{"from": FROM})
        read = await nodes(survey.connection, query, expired.bound, None, None, 1)
    if any("Sort" in str(node["Node Type"]) for node in read):
        return None
    return next((str(node["Index Name"]) for node in read if node.get("Index Name") in partial), None)


async def judges_others(survey: Survey, rule: Retention) -> bool:
    """Whether the rule looks at other rows than the one that it judges, so that rows are locked first."""
    return rule.keep_per_key is not None or await looks_elsewhere(survey, rule.where)


async def looks_elsewhere(survey: Survey, where: str | None) -> bool:
    """Whether a condition may look at other rows than the one it judges, itself or by a function of the database's."""
    if re.search(r"\b(select|table|values|with)\b", where or "", re.IGNORECASE):
        return True
    called = re.findall(r'("(?:[^"]|"")+"|[^\W\d][\w$]*)\s*\(', where or "")
    names = [name[1:-1].replace('""', '"') if name[0] == '"' else name.lower() for name in called]
    return bool(names and await survey.connection.fetchval(statement(NAME, "any_own_function"), names))


def shown(bound: datetime | date) -> str:
    """The cutoff as people read it."""
    if isinstance(bound, datetime):
        return bound.replace(tzinfo=None).isoformat(sep=" ", timespec="seconds") + " UTC"
    return bound.isoformat()


def would_empty(rule: Retention, relation: Relation) -> str:
    """What the guard says where no row would stay."""
    return (
        f"every row of {relation.table} is older than {rule.keep}, so the table would be left empty and nothing was "
        "deleted; if that is meant, set allow_empty = true on this rule"
    )


TASK = Task(name=NAME, drafts=drafts)
