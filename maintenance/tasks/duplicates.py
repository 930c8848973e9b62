"""duplicates: of the rows with one key only the newest stays. One ordered pass, then batches recheck and delete."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from asyncpg import Connection, Record

from maintenance.catalog import Column, Leaf, Relation, lockable, unique_index
from maintenance.models import Batch, Cursor, Query
from maintenance.names import Fragment, Table, TableName, listed, quoted
from maintenance.policy import Policy
from maintenance.rules import Duplicates
from maintenance.sql import statement
from maintenance.steps import Settled, Step
from maintenance.tasks import heap
from maintenance.tasks.rivals import NAME, Key, held
from maintenance.tasks.ruled import ruled
from maintenance.tasks.survey import Draft, Survey, Task, accepted, located, proven

_CHUNK = 100
"""Rows that the pass hands out at a time."""
MISSED = " rows were written to meanwhile and are left to the next run"
"""What follows the number of rows that are not what they were in the pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """Rows that lose, each with the row that beats it: parallel arrays of addresses, in the server's own words."""

    losers: str
    winners: str
    homes: str | None
    """The tables that the winners are in, where they may be in another one."""
    count: int

    @classmethod
    def joined(cls, chunks: list[Record]) -> _Pairs:
        """The pairs of several chunks."""

        def array(column: str) -> str:
            return "{" + ",".join(chunk[column][1:-1] for chunk in chunks) + "}"

        return cls(
            losers=array("losers"),
            winners=array("winners"),
            homes=array("homes") if chunks and chunks[0]["homes"] else None,
            count=sum(chunk["pairs"] for chunk in chunks),
        )

    @property
    def values(self) -> tuple[str, ...]:
        """What the statement needs."""
        return (self.losers, self.winners) if self.homes is None else (self.losers, self.winners, self.homes)


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesStep(Step):
    """Delete all rows of a key but the newest; `limit` is in rows.

    The pass is a cursor that the session holds across transactions: the server keeps the addresses, spilled to its
    temporary files, so neither side's memory grows with the table.
    """

    limits = (_CHUNK, 20 * _CHUNK, 500 * _CHUNK)

    task: str = NAME
    strategy: str = "ordered"
    leaf: Leaf
    key: Key
    whole: Table
    """The table of the rule, where `leaf` is one of its partitions."""
    lockable: bool
    """Whether this role may lock losing rows, and so pass over those that others hold."""

    @property
    def root(self) -> Table:
        """The table of the rule."""
        return self.whole

    @property
    def tells(self) -> bool:
        """The pass does, where it is over the whole table."""
        return self.whole == self.table

    @property
    def deletes(self) -> bool:
        """Yes."""
        return True

    def counting(self, sample: Fragment, *, whole: bool) -> Query | None:
        """The rows of a key lie everywhere, so that a sample would tell nothing: all of them."""
        if whole and self.whole != self.table:
            return replace(self.key, among=self.whole).sql("count_all", self.leaf), ()
        return self.key.sql("count", self.leaf), ()

    def doomed(self, columns: list[str]) -> Query | None:
        """By the rule's own words."""
        what = listed([Fragment(f"loser.{quoted(column)}") for column in columns])
        find = Fragment(self.key.sql("find", self.leaf))
        return self.key.sql("doomed", self.leaf, find=find, what=what), ()

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """The first batch of a session makes the pass; those after it recheck each pair as they delete."""
        is_held = await connection.fetchval(statement(NAME, "is_held"), held(self.leaf))
        if cursor is None or not cursor.get("passed") or not is_held:
            found = await self._pass(connection, release=is_held)
            following: Cursor = {"position": 0, "passed": 1, "again": (cursor or {}).get("again")}
            return Batch(cursor=following, done=False, paced=False, found=found)
        position, count = int(cursor["position"] or 0), max(limit // _CHUNK, 1)
        await connection.execute(self.key.sql("move", self.leaf, position=Fragment(f"{position:d}")))
        fetched = await connection.fetch(self.key.sql("fetch", self.leaf, limit=Fragment(f"{count:d}")))
        pairs = _Pairs.joined(fetched)
        patience = heap.patience(cursor)
        rows = await self._delete(connection, pairs, patience) if fetched else 0
        missed, passed_over = int(cursor.get("missed") or 0), int(cursor.get("held") or 0)
        if patience is heap.PASS_OVER:
            passed_over += pairs.count - rows
        else:
            missed += pairs.count - rows
        following = {
            **heap.without_hurry(cursor), "position": position + len(fetched), "missed": missed, "held": passed_over,
        }  # fmt: skip
        if len(fetched) == count:
            return Batch(rows=rows, cursor=following, done=False)
        await connection.execute(self.key.sql("release", self.leaf))
        if missed + passed_over and not cursor.get("again"):
            # The application wrote to some of them since the pass; what they are now, only another one tells.
            return Batch(rows=rows, cursor={"position": 0, "again": 1}, done=False)
        note = f"{missed:,}{MISSED}" if missed else None
        return Batch(rows=rows, held=passed_over, cursor=following, done=True, note=note)

    async def _pass(self, connection: Connection, *, release: bool) -> int:
        """Make the pass; returns how many rows lose."""
        if release:
            await connection.execute(self.key.sql("release", self.leaf))
        await connection.execute(self.key.sql("sorted", self.leaf))
        find = Fragment(chunks(self.key, self.leaf))
        await connection.execute(self.key.sql("hold", self.leaf, find=find))
        # The pass itself, here and not at the commit, where no time-out would end it.
        moved = await connection.execute(self.key.sql("move_all", self.leaf))
        whole = int(moved.split()[-1]) - 1
        last = await connection.fetchrow(self.key.sql("last", self.leaf))
        return 0 if last is None else whole * _CHUNK + int(last["pairs"])

    async def _delete(self, connection: Connection, pairs: _Pairs, patience: Fragment) -> int:
        free = Fragment(self.key.sql("all_losers" if patience is heap.WAIT else "free_losers", self.leaf))
        await connection.execute(self.key.sql("joined_by_hash", self.leaf))
        delete = self.key.delete_sql(self.leaf, free=free, patience=patience)
        return await self.deleter.delete(connection, delete, Fragment("loser"), *pairs.values)

    def past_locks(self, cursor: Cursor | None) -> Cursor | None:
        """Over rows that others hold, losers and winners; the pass itself locks none."""
        return heap.past_locks(cursor) if self.lockable else None

    def divides(self, cursor: Cursor | None) -> bool:
        """The pass itself is one piece."""
        return cursor is not None and bool(cursor.get("passed"))

    def resume(self, cursor: Cursor) -> Cursor | None:
        """With a new pass: the old one went with its session."""
        return None

    def go_on(self, cursor: Cursor) -> Cursor | None:
        """With a new pass."""
        return None


def chunks(key: Key, leaf: Leaf) -> str:
    """The query of the pass: who loses, and to whom, in parallel arrays of a hundred."""
    find = Fragment(key.sql("find", leaf))
    homes = Fragment("null" if key.among == leaf.table else statement(NAME, "homes"))
    return key.sql("chunks", leaf, find=find, homes=homes, chunk=Fragment(f"{_CHUNK:d}"))


def drafts(policy: Policy) -> list[Draft]:
    """One a table of a rule."""
    return [
        Draft(task=NAME, table=table, plan=ruled(rule, partial(_plan, rule, table)))
        for rule in policy.duplicates
        for table in rule.tables
    ]


async def _plan(rule: Duplicates, name: TableName, survey: Survey) -> list[Step]:
    relation = await located(survey, NAME, name)
    if isinstance(relation, Settled):
        return [relation]
    columns = tuple(relation.column(column) for column in rule.key)
    newest = tuple(relation.column(column) for column in rule.newest)
    return [await _step(rule, survey, relation, leaf, columns, newest) for leaf in relation.leaves]


async def _step(
    rule: Duplicates, survey: Survey, relation: Relation, leaf: Leaf, columns: tuple[Column, ...],
    newest: tuple[Column, ...],
) -> Step:  # fmt: skip
    among = leaf.table if within_leaf(rule, relation) else relation.table
    subject = ", ".join(sorted(rule.key))
    text = f"{subject} by {', '.join(rule.newest)}"
    index = await unique_index(survey.connection, leaf, rule.key) if among == leaf.table else None
    if index is not None:
        return proven(NAME, leaf, subject, text, f"the unique index {index} leaves no duplicates")
    key = Key(among=among, columns=columns, newest=newest)
    what = f"{relation.table}: rows cannot be grouped by {', '.join(rule.key)} and ordered by {', '.join(rule.newest)}"
    await accepted(survey, key.sql("find", leaf), what)
    rows, exact = await survey.count(key.sql("count", leaf))
    if rows is None and survey.counting is not None:
        rows = await survey.estimate(key.sql("find", leaf))
    return DuplicatesStep(
        table=leaf.table,
        oid=leaf.oid,
        subject=subject,
        rule=text,
        rows=rows,
        exact=exact,
        summary=f"more than one row for a {', '.join(rule.key)}; the newest by {', '.join(rule.newest)} stays",
        leaf=leaf,
        key=key,
        whole=relation.table,
        reach=rule.reach,
        lockable=among == leaf.table or await lockable(survey.connection, leaf),
    )


def within_leaf(rule: Duplicates, relation: Relation) -> bool:
    """Whether the rows of one key always lie in one leaf."""
    return relation.partition_columns is not None and relation.partition_columns <= set(rule.key)


TASK = Task(name=NAME, drafts=drafts)
