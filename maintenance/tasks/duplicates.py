"""duplicates: of the rows with one key only the newest stays. One ordered pass, then batches recheck and delete."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from asyncpg import Connection, Record

from maintenance.catalog import Column, Leaf, Relation
from maintenance.models import Batch, Cursor, Settled, Step
from maintenance.names import Fragment, Table, TableName, listed
from maintenance.policy import Duplicates, Policy
from maintenance.sql import statement
from maintenance.tasks.survey import Draft, Survey, Task, accepted, located

NAME = "duplicates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What makes rows of a table duplicates of each other, and which of them stays."""

    among: Table
    """Where a row's better may lie: the leaf itself, or all partitions where a key can occur in several."""
    columns: tuple[Column, ...]
    newest: tuple[Column, ...]

    def sql(self, name: str, leaf: Leaf, **more: Fragment) -> str:
        """A statement of duplicates.sql for the losing rows of one leaf."""
        only = Fragment("only ") if self.among == leaf.table else Fragment("")
        return statement(
            "duplicates", name, table=leaf.table.sql, among=Fragment(only + self.among.sql),
            leaf=Fragment(f"{leaf.oid:d}"), cursor=held(leaf), key=listed([column.sql for column in self.columns]),
            present=listed([Fragment(f"{column.sql} is not null") for column in self.columns], " and "),
            order=listed([Fragment(f"{column.sql} desc nulls last") for column in self.newest]),
            same=Fragment(f"{self._key('winner')} operator(pg_catalog.=) {self._key('loser')}"),
            better=Fragment(f"{self._rank('winner')} operator(pg_catalog.>) {self._rank('loser')}"), **more,
        )  # fmt: skip

    def _key(self, row: str) -> str:
        """The key as one value: values of type record are compared as their types order, whatever the search path."""
        return f"row({', '.join(f'{row}.{column.sql}' for column in self.columns)})::record"

    def _rank(self, row: str) -> str:
        """What a row is judged by, as one value; a flag in front of each column makes NULL less than everything."""
        parts = [f"{row}.{column.sql} is not null, {row}.{column.sql}" for column in self.newest]
        return f"row({', '.join([*parts, f'{row}.tableoid', f'{row}.ctid'])})::record"


def held(leaf: Leaf) -> Fragment:
    """Name of the session's cursor over the losing rows of a leaf."""
    return Fragment(f"maintenance_duplicates_{leaf.oid:d}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesStep(Step):
    """Delete all rows of a key but the newest; `limit` is in rows.

    The pass is a cursor that the session holds across transactions: the server keeps the addresses, spilled to its
    temporary files, so neither side's memory grows with the table.
    """

    limits = (100, 2_000, 50_000)

    task: str = NAME
    strategy: str = "ordered"
    leaf: Leaf
    key: Key

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """The first batch of a session makes the pass; those after it recheck each pair before they delete."""
        is_held = await connection.fetchval(statement(NAME, "is_held"), held(self.leaf))
        if cursor is None or not is_held:
            if is_held:
                await connection.execute(self.key.sql("release", self.leaf))
            await connection.execute(self.key.sql("hold", self.leaf, find=Fragment(self.key.sql("find", self.leaf))))
            # The pass itself, here and not at the commit, where no time-out would end it.
            await connection.execute(self.key.sql("move_all", self.leaf))
            return Batch(cursor={"position": 0, "again": (cursor or {}).get("again")}, done=False, paced=False)
        position = int(cursor["position"] or 0)
        await connection.execute(self.key.sql("move", self.leaf, position=Fragment(f"{position:d}")))
        pairs = await connection.fetch(self.key.sql("fetch", self.leaf, limit=Fragment(f"{limit:d}")))
        done = len(pairs) < limit
        rows = await self._delete(connection, pairs) if pairs else 0
        missed = int(cursor.get("missed") or 0) + len(pairs) - rows
        following: Cursor = {**cursor, "position": position + len(pairs), "missed": missed}
        note = None
        if done:
            await connection.execute(self.key.sql("release", self.leaf))
            if missed and not cursor.get("again"):
                # The application wrote to some of them since the pass; what they are now, only another one tells.
                return Batch(rows=rows, cursor={"position": 0, "again": 1}, done=False)
            note = f"{missed:,} rows were written to meanwhile and are left to the next run" if missed else None
        return Batch(rows=rows, cursor=following, done=done, note=note)

    async def _delete(self, connection: Connection, pairs: list[Record]) -> int:
        losers, homes, winners = (list(column) for column in zip(*pairs, strict=True))
        # Locked before they are judged: a winner that is deleted while we wait for a loser's lock is no winner.
        await connection.execute(self.key.sql("claim_losers", self.leaf), losers)
        await connection.execute(self.key.sql("claim_winners", self.leaf), homes, winners)
        status = await connection.execute(self.key.sql("delete_pairs", self.leaf), losers, homes, winners)
        return int(status.split()[-1])

    def divides(self, cursor: Cursor | None) -> bool:
        """The pass itself is one piece."""
        return cursor is not None and bool(cursor["position"])

    def resume(self, cursor: Cursor) -> Cursor | None:
        """With a new pass: the old one went with its session."""
        return None

    def go_on(self, cursor: Cursor) -> Cursor | None:
        """With a new pass."""
        return None


def drafts(policy: Policy) -> list[Draft]:
    """One a table of a rule."""
    return [
        Draft(task=NAME, table=table, plan=partial(_plan, rule, table))
        for rule in policy.duplicates
        for table in rule.tables
    ]


async def _plan(rule: Duplicates, name: TableName, survey: Survey) -> list[Step]:
    relation = await located(survey, NAME, name)
    if isinstance(relation, Settled):
        return [relation]
    columns = tuple(relation.column(column) for column in rule.key)
    newest = tuple(relation.column(column) for column in rule.newest)
    steps: list[Step] = []
    for leaf in relation.leaves:
        key = Key(among=leaf.table if within_leaf(rule, relation) else relation.table, columns=columns, newest=newest)
        what = (
            f"{relation.table}: rows cannot be grouped by {', '.join(rule.key)} and ordered by {', '.join(rule.newest)}"
        )
        await accepted(survey, key.sql("find", leaf), what)
        rows, exact = await survey.count(key.sql("count", leaf))
        if rows is None and survey.counting is not None:
            rows = await survey.estimate(key.sql("find", leaf))
        subject = ", ".join(sorted(rule.key))
        steps.append(
            DuplicatesStep(
                table=leaf.table,
                oid=leaf.oid,
                subject=subject,
                rule=f"{subject} by {', '.join(rule.newest)}",
                rows=rows,
                exact=exact,
                summary=f"more than one row for a {', '.join(rule.key)}; the newest by {', '.join(rule.newest)} stays",
                leaf=leaf,
                key=key,
            )
        )
    return steps


def within_leaf(rule: Duplicates, relation: Relation) -> bool:
    """Whether the rows of one key always lie in one leaf."""
    return relation.partition_columns is not None and relation.partition_columns <= set(rule.key)


TASK = Task(name=NAME, drafts=drafts)
