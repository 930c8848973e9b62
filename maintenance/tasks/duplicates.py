"""duplicates: of the rows with one key only the newest stays. One ordered pass, then batches recheck and delete."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from asyncpg import Connection, Record

from maintenance.catalog import Leaf, Relation
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
    columns: tuple[Fragment, ...]
    newest: tuple[Fragment, ...]

    def sql(self, name: str, leaf: Leaf, **more: Fragment) -> str:
        """A statement of duplicates.sql for the losing rows of one leaf."""
        only = Fragment("only ") if self.among == leaf.table else Fragment("")
        return statement(
            "duplicates", name, table=leaf.table.sql, among=Fragment(only + self.among.sql),
            leaf=Fragment(f"{leaf.oid:d}"), cursor=held(leaf), key=listed(list(self.columns)),
            present=listed([Fragment(f"{column} is not null") for column in self.columns], " and "),
            order=listed([Fragment(f"{column} desc nulls last") for column in self.newest]),
            same=listed([Fragment(f"winner.{column} = loser.{column}") for column in self.columns], " and "),
            better=better(self.newest), **more,
        )  # fmt: skip


def held(leaf: Leaf) -> Fragment:
    """Name of the session's cursor over the losing rows of a leaf."""
    return Fragment(f"maintenance_duplicates_{leaf.oid:d}")


def better(newest: tuple[Fragment, ...]) -> Fragment:
    """Whether the winner is greater than the loser by these columns, NULL being least; then by address."""
    if not newest:
        return Fragment("(winner.tableoid, winner.ctid) > (loser.tableoid, loser.ctid)")
    column = newest[0]
    return Fragment(
        f"(coalesce(winner.{column} > loser.{column}, winner.{column} is not null and loser.{column} is null)"
        f" or winner.{column} is not distinct from loser.{column} and {better(newest[1:])})"
    )


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
        if cursor is None or not await connection.fetchval(statement("duplicates", "is_held"), held(self.leaf)):
            await connection.execute(self.key.sql("hold", self.leaf, find=Fragment(self.key.sql("find", self.leaf))))
            return Batch(cursor={"position": 0}, done=False, paced=False)
        position = int(cursor["position"] or 0)
        await connection.execute(self.key.sql("move", self.leaf, position=Fragment(f"{position:d}")))
        pairs = await connection.fetch(self.key.sql("fetch", self.leaf, limit=Fragment(f"{limit:d}")))
        done = len(pairs) < limit
        rows = await self._delete(connection, pairs) if pairs else 0
        if done:
            await connection.execute(self.key.sql("release", self.leaf))
        return Batch(rows=rows, cursor={"position": position + len(pairs)}, done=done)

    async def _delete(self, connection: Connection, pairs: list[Record]) -> int:
        losers, homes, winners = (list(column) for column in zip(*pairs, strict=True))
        status = await connection.execute(self.key.sql("delete_pairs", self.leaf), losers, homes, winners)
        return int(status.split()[-1])

    def resume(self, cursor: Cursor) -> Cursor | None:
        """With a new pass: the old one went with its session."""
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
    columns = tuple(relation.column(column).sql for column in rule.key)
    newest = tuple(relation.column(column).sql for column in rule.newest)
    steps: list[Step] = []
    for leaf in relation.leaves:
        key = Key(among=leaf.table if _within_leaf(rule, relation) else relation.table, columns=columns, newest=newest)
        what = (
            f"{relation.table}: rows cannot be grouped by {', '.join(rule.key)} and ordered by {', '.join(rule.newest)}"
        )
        await accepted(survey, key.sql("find", leaf), what)
        rows, exact = await survey.count(key.sql("count", leaf))
        if rows is None and survey.counting is not None:
            rows = await survey.estimate(key.sql("find", leaf))
        summary = f"more than one row for a {', '.join(rule.key)}; the newest by {', '.join(rule.newest)} stays"
        steps.append(
            DuplicatesStep(
                table=leaf.table, rule=", ".join(rule.key), rows=rows, exact=exact, summary=summary, leaf=leaf, key=key
            )
        )
    return steps


def _within_leaf(rule: Duplicates, relation: Relation) -> bool:
    return relation.partition_columns is not None and relation.partition_columns <= set(rule.key)


TASK = Task(name=NAME, drafts=drafts)
