"""unreferenced: catalog rows that nothing refers to. A batch groups the references, deletes, corrects counts."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import partial

from asyncpg import Connection

from maintenance.catalog import Column, Leaf, Relation, find
from maintenance.errors import PolicyError
from maintenance.models import Batch, Cursor, Query
from maintenance.names import Fragment, Table, listed, quoted
from maintenance.policy import Policy
from maintenance.rules import Reference, Unreferenced
from maintenance.sql import statement
from maintenance.steps import Settled, Step
from maintenance.tasks import heap
from maintenance.tasks.ruled import ruled
from maintenance.tasks.survey import Draft, Survey, Task, accepted, located

NAME = "unreferenced"
Found = list[tuple[Reference, Relation | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What refers to a catalog, and what of it follows."""

    column: Column
    equals: Fragment
    count_column: Column | None
    uses: Fragment
    """A query of (value, uses): how many distinct rows refer to each value."""
    witnesses: tuple[Fragment, ...]
    """Whether each referencing table still has something to say; none where the policy does not care."""

    def sql(self, name: str, table: Table, **more: Fragment) -> str:
        """A statement of unreferenced.sql for the catalog, or one of its partitions."""
        slots = {"table": table.sql, "column": self.column.sql, "equals": self.equals, "uses": self.uses}
        slots |= {"changed": Fragment(""), "first": Fragment("$1"), "last": Fragment("$2"), **more}
        if self.count_column is not None:
            slots["count_column"] = self.count_column.sql
            slots["changed"] = Fragment(statement(NAME, "changed", **slots))
        slots["judged"] = Fragment(statement(NAME, "judged", **slots))
        witnessed = listed([*self.witnesses] or [Fragment("true")], " and ")
        rest = {"only": Fragment("only"), "sample": Fragment(""), "what": Fragment("")}
        return statement(NAME, name, **{"witnessed": witnessed, **slots, **rest, **more})


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreferencedStep(Step):
    """Delete unreferenced rows block range by block range; `limit` is in blocks.

    The smallest batch is not small: each one reads all the references, however few rows it judges.
    """

    limits = (256, 1024, 8192)

    task: str = NAME
    strategy: str = "grouped"
    whole: Table
    """The catalog, where `table` is one of its partitions."""
    usage: Usage
    silences: tuple[tuple[str, str | None], ...]
    """Each referencing table by name, with the question whether it has rows, or None where it is absent; empty where
    the policy allows that they are silent."""
    remedy: str

    @property
    def root(self) -> Table:
        """The catalog as the rule names it."""
        return self.whole

    @property
    def only_deletes(self) -> bool:
        """Counts are corrected also where nothing goes."""
        return self.usage.count_column is None

    @property
    def deletes(self) -> bool:
        """Yes."""
        return True

    def counting(self, sample: Fragment, *, whole: bool) -> Query | None:
        """By the rule's own words."""
        only = Fragment("" if whole and self.whole != self.table else "only")
        return self.usage.sql("count", self.whole if whole else self.table, only=only, sample=sample), ()

    def doomed(self, columns: list[str]) -> Query | None:
        """By the rule's own words."""
        what = listed([Fragment(f"entry.{quoted(column)}") for column in columns])
        return self.usage.sql("find", self.table, what=what), ()

    async def guard(self, connection: Connection) -> str | None:
        """Stop if there is something to judge and a referencing table has nothing to say."""
        if not self.silences or not await connection.fetchval(self.usage.sql("any_value", self.whole)):
            return None
        for name, question in self.silences:
            if question is None:
                return f"the referencing table {name} is absent, {self.remedy}"
            if not await connection.fetchval(question):
                return f"the referencing table {name} is empty, {self.remedy}"
        if not await connection.fetchval(self.usage.sql("any_use", self.table)):
            return f"none of the referencing columns has a value, or none exists, {self.remedy}"
        return None

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """Lock what nothing refers to and what has a wrong count; then judge again, waiting for nothing, and write."""

        async def work(first: heap.Tid, last: heap.Tid, patience: Fragment) -> heap.Share:
            claim = self.usage.sql("claim_stretch", self.table, patience=patience)
            found = await connection.fetch(claim, first, last)
            rows = heap.addresses(found)
            removed = updated = held = 0
            if any(row["unused"] for row in found):
                delete = self.usage.sql("delete_claimed", self.table)
                removed = await self.deleter.delete(connection, delete, Fragment("entry"), rows)
            if self.usage.count_column is not None and removed < len(rows):
                status = await connection.execute(self.usage.sql("count_claimed", self.table), rows)
                updated = int(status.split()[-1])
            if patience is heap.PASS_OVER:
                held = await connection.fetchval(self.usage.sql("count_stretch", self.table), first, last)
            return heap.Share(rows=removed, updated=updated, held=held)

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
    """One a rule."""
    return [Draft(task=NAME, table=rule.table, plan=ruled(rule, partial(_plan, rule))) for rule in policy.unreferenced]


async def _plan(rule: Unreferenced, survey: Survey) -> list[Step]:
    relation = await located(survey, NAME, rule.table)
    if isinstance(relation, Settled):
        return [relation]
    found = [(reference, await find(survey.connection, reference.table)) for reference in rule.references]
    usage = usage_of(rule, relation, found)
    what = f"{relation.table}.{rule.column} cannot be compared with its references; give them one type"
    await accepted(survey, usage.sql("find", relation.table, only=Fragment("")), what)
    if rule.count_column:
        what = f"{relation.table}.{rule.count_column} cannot hold a count; name a column of a numeric type"
        await accepted(survey, usage.sql("count_claimed", relation.table), what)
    return [await _step(rule, survey, leaf, relation.table, usage, found) for leaf in relation.leaves]


def usage_of(rule: Unreferenced, relation: Relation, found: Found) -> Usage:
    """What refers to the catalog, as far as it is there.

    Raises:
        PolicyError: a reference is misspelt.
    """
    uses: list[Fragment] = []
    witnesses: list[Fragment] = []
    sources: list[Column] = []
    for reference, table in found:
        if table is None or reference.column not in table.columns:
            _refuse_typing_error(rule, reference, table)
            continue
        source = table.columns[reference.column]
        sources.append(source)
        slots = {"reference": table.table.sql, "column": source.sql}
        uses.append(Fragment(statement(NAME, "array_uses" if source.element else "scalar_uses", **slots)))
        witnesses.append(Fragment(statement(NAME, "witness", reference=table.table.sql)))
    column = relation.column(rule.column)
    union = listed(uses, "\n    union all\n    ")
    query = statement(NAME, "uses", union=union) if uses else statement(
        NAME, "no_uses", column=column.sql, table=relation.table.sql
    )  # fmt: skip
    return Usage(
        column=column,
        equals=column.equals(*sources),
        count_column=relation.column(rule.count_column) if rule.count_column else None,
        uses=Fragment(query),
        witnesses=()
        if rule.allow_empty_parent
        else (*dict.fromkeys(witnesses), Fragment("exists (select from referenced)")),
    )


def _refuse_typing_error(rule: Unreferenced, reference: Reference, table: Relation | None) -> None:
    """A column that another version of the application has may be absent; one that is merely misspelt may not."""
    if table is None:
        return
    named = {other.column for other in rule.references if other.table == reference.table}
    near = difflib.get_close_matches(reference.column, [name for name in table.columns if name not in named], 1, 0.8)
    if near:
        raise PolicyError(
            f"Table {table.table} has no column {reference.column!r}, so what it refers to would be deleted from "
            f"{rule.table}; did you mean {near[0]!r}? If not, take the reference out."
        )


async def _step(rule: Unreferenced, survey: Survey, leaf: Leaf, whole: Table, usage: Usage, found: Found) -> Step:
    table = leaf.table
    rows, exact = await survey.count(usage.sql("count", table))
    updated = None
    if rows is None and survey.counting is not None:
        rows = await survey.estimate(usage.sql("find", table, only=Fragment("")))
    elif rule.count_column and exact:
        updated, exact = await survey.count(usage.sql("count_wrong", table))
    read = [ref for ref, relation in found if relation and ref.column in relation.columns]
    unread = [str(ref) for ref in rule.references if ref not in read]
    references = ", ".join(str(ref) for ref in read) + (f" (absent here: {', '.join(unread)})" if unread else "")
    wrong = f" in {updated:,} rows" if updated else ""
    corrected = f"; {rule.count_column} is corrected{wrong}" if rule.count_column else ""
    sources = {str(reference.table): relation.table if relation else None for reference, relation in found}
    return UnreferencedStep(
        table=table,
        oid=leaf.oid,
        subject=rule.column,
        rule=rule.column,
        rows=rows,
        updated=updated,
        exact=exact,
        depends=tuple(source for source in sources.values() if source),
        summary=f"{rule.column} is in none of {references}{corrected}",
        whole=whole,
        reach=rule.reach,
        usage=usage,
        silences=silences(rule, found),
        remedy=remedy(whole),
    )


def silences(rule: Unreferenced, found: Found) -> tuple[tuple[str, str | None], ...]:
    """Each referencing table with the question whether it has rows, as `UnreferencedStep` has them."""
    if rule.allow_empty_parent:
        return ()
    sources = {str(reference.table): relation.table if relation else None for reference, relation in found}
    return tuple(
        (name, statement("survey", "any_row", table=source.sql) if source else None) for name, source in sources.items()
    )


def remedy(whole: Table) -> str:
    """What every message of the guard ends with."""
    return (
        f"so rows of {whole} would wrongly count as unreferenced and nothing was deleted; if that is meant, set "
        "allow_empty_parent = true on this rule"
    )


TASK = Task(name=NAME, drafts=drafts)
