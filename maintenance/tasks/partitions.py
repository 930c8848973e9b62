"""Retention by whole partitions: those that end before the cutoff are detached and dropped, not emptied row by row."""

from __future__ import annotations

from dataclasses import dataclass, replace

from asyncpg import Connection, Record

from maintenance.catalog import Relation
from maintenance.errors import Blocked
from maintenance.models import Batch, Cursor
from maintenance.names import Table
from maintenance.sql import statement
from maintenance.tasks.expired import Expired, RetentionStep

_FILE = "partitions"
_COUNTED = 32 << 20
"""Bytes of a partition up to which its rows are counted before it is dropped, which takes hundredths of a second."""
HINDRANCES = {
    "dependency": "something else in the database depends on it",
    "owner": "this role does not own it",
    "publication": "a publication replicates its deletes",
    "reference": "foreign keys refer to the table",
    "trigger": "a trigger fires on its deletes",
    "view": "a view depends on it",
}
"""Why a partition is not dropped: somebody would notice the difference to deleted rows, or we may not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A partition of a table that is partitioned by ranges of the rule's column."""

    oid: int
    table: Table
    tables: frozenset[int]
    """The partition, and where it is partitioned again, what it consists of."""
    due: bool
    """It ends before the cutoff, and is neither the last one nor the default one."""
    later: bool
    """It begins after the cutoff, so that it has no expired row."""
    default: bool
    concurrently: bool
    """It can be detached without a lock that stops readers and writers of the whole table."""
    rows: int
    """By the server's counters."""
    bytes: int
    """Of its heaps."""
    hindrance: str | None
    pending: bool
    """Its detaching has begun; until that is finished the server detaches no other one."""


async def parts(connection: Connection, relation: Relation, expired: Expired) -> tuple[Part, ...]:
    """The partitions in the order of their bounds; none where the table is not partitioned by this column alone."""
    return await _parts(connection, relation.oid, expired) if relation.partitioned else ()


async def _parts(connection: Connection, oid: int, expired: Expired) -> tuple[Part, ...]:
    query = statement(_FILE, "parts", type=expired.moment.type)
    rows = await connection.fetch(query, oid, expired.moment.column.name, expired.bound)
    return tuple(
        Part(
            oid=row["oid"], table=Table(schema=row["schema"], name=row["name"]), tables=frozenset(row["tables"]),
            due=bool(row["due"]) and not row["is_last"], later=bool(row["later"]), default=row["is_default"],
            concurrently=not row["has_default"], rows=row["rows"] or 0, bytes=row["bytes"] or 0,
            hindrance=row["hindrance"], pending=row["pending"],
        )
        for row in rows
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionRetention(RetentionStep):
    """Drop the partitions whose every row is expired, oldest first, one a batch.

    A partition is detached first, concurrently where PostgreSQL can (not beside a default partition), so that the table
    is never locked against its readers. That alone is no transaction, so the batch before it writes down which
    partition it will be: a run that dies in between leaves a table that the next one knows and drops.
    """

    transactional = False

    strategy: str = "partition"
    leaves_boundary: bool
    """Whether rows of the partition that the cutoff falls into stay until all of them are due."""

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """Name a partition, or take out the one that was named.

        Raises:
            Blocked: a detached partition has rows that are not due.
        """
        place = cursor or {}
        dropped = int(place.get("dropped") or 0)
        if place.get("oid") and not place.get("detached") and await self._detached(connection, place):
            return _batch(None, {**place, "detached": 1}, done=False)
        if place.get("oid"):
            rows = await self._taken_out(connection, place)
            told: Cursor = {**_told(place), "dropped": dropped + (rows is not None)}
            return replace(_batch(rows, told, done=False), sure=False)
        going = [part for part in await _parts(connection, self.oid, self.expired) if _goes(part)]
        part = min(going, key=lambda part: not part.pending, default=None)
        if part is None:
            return _batch(None, {**_told(place), "dropped": dropped}, done=True)
        counters = part.rows if part.bytes > _COUNTED else None
        told = {**_told(place), **({"guessed": 1} if counters is not None else {})}
        if part.concurrently:
            named: Cursor = {"oid": part.oid, "schema": part.table.schema, "name": part.table.name, "rows": counters}
            return replace(_batch(None, {**told, **named, "dropped": dropped}, done=False), coming=part.rows)
        rows = await self._drop(connection, part.table, counters, attached=True)
        batch = _batch(rows, {**told, "dropped": dropped + 1}, done=False)
        return batch if counters is None else replace(batch, sure=False, coming=rows)

    async def _detached(self, connection: Connection, place: Cursor) -> bool:
        """Detach the named partition; False where it is not ours to detach any more.

        Raises:
            Blocked: somebody else has detached it since.
        """
        state = await self._state(connection, place)
        if state is None or state["parent"] not in (None, self.oid):
            return False
        table = _table(place)
        if state["parent"] is None:
            raise Blocked(
                f"{table}, a partition of {self.table} that was to be dropped, has been detached, maybe by somebody "
                f"who wants to keep it, so it was not dropped; DROP, rename or ATTACH it."
            )
        parts = await _parts(connection, self.oid, self.expired)
        # While one is pending the server detaches no other, so that one goes first.
        if place["oid"] not in {part.oid for part in parts if _goes(part)} or any(
            part.pending and part.oid != place["oid"] and _goes(part) for part in parts
        ):
            return False
        await connection.execute(self._sql("finalize" if state["pending"] else "detach", table))
        return True

    async def _taken_out(self, connection: Connection, place: Cursor) -> int | None:
        """Drop the partition that an earlier batch has detached; its rows, or None where it is not ours to drop."""
        state = await self._state(connection, place)
        if state is None or state["parent"] is not None or not place.get("detached"):
            return None
        counters = place["rows"]
        return await self._drop(connection, _table(place), None if counters is None else int(counters))

    async def _state(self, connection: Connection, place: Cursor) -> Record | None:
        """What has become of the named partition; None where it is gone or another one by name."""
        state = await connection.fetchrow(statement(_FILE, "state"), place["oid"])
        table = _table(place)
        return state if state is not None and (state["schema"], state["name"]) == (table.schema, table.name) else None

    async def _drop(self, connection: Connection, table: Table, counters: int | None, *, attached: bool = False) -> int:
        """In the batch's transaction: let nobody in, ask the rule once more, count where nothing else tells, drop."""
        async with connection.transaction():
            if attached:
                await connection.execute(self._sql("lock_whole", table))
            await connection.execute(self._sql("lock", table))
            await connection.execute(self._sql("by_constraints", table))
            if await connection.fetchval(self._sql("something_stays", table), self.expired.bound):
                raise Blocked(
                    f"{table}, a partition of {self.table}, has rows that are not due, so it was not dropped; "
                    f"ATTACH it again where it belongs."
                )
            rows = await connection.fetchval(self._sql("count", table)) if counters is None else counters
            await connection.execute(self._sql("drop", table))
            return int(rows)
        raise AssertionError("unreachable: the block returns or raises")

    def in_transaction(self, cursor: Cursor | None) -> bool:
        """All but the detaching: the rows of a dropped partition that the ledger has not heard of would never count."""
        return not (cursor and cursor.get("oid") and not cursor.get("detached"))

    def _sql(self, name: str, partition: Table) -> str:
        moment = self.expired.moment
        return statement(
            _FILE, name, table=self.table.sql, partition=partition.sql, column=moment.column.sql, type=moment.type
        )

    async def lag(self, connection: Connection, *, done: bool) -> float | None:
        """As for rows; a partition that is left for its rows that are not due yet has some that are."""
        return await RetentionStep.lag(self, connection, done=done and not self.leaves_boundary)

    def resume(self, cursor: Cursor) -> Cursor | None:
        """With the partition that the earlier run had named."""
        return {**cursor, "dropped": 0} if cursor.get("oid") else None


def _goes(part: Part) -> bool:
    return part.due and part.hindrance is None


def _table(cursor: Cursor) -> Table:
    return Table(schema=str(cursor["schema"]), name=str(cursor["name"]))


def _told(cursor: Cursor) -> Cursor:
    """What the note has to say in the end."""
    return {"guessed": 1} if cursor.get("guessed") else {}


def _batch(rows: int | None, cursor: Cursor, *, done: bool) -> Batch:
    dropped = int(cursor.get("dropped") or 0)
    note = f"{dropped} partition{'s' if dropped > 1 else ''} dropped" if dropped else None
    if note and cursor.get("guessed"):
        note += "; their rows by the server's counters"
    return Batch(rows=rows or 0, cursor=cursor, done=done, note=note)
