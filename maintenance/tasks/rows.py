"""Retention row by row: in one pass over the heap, or in the order of an index."""

from __future__ import annotations

from dataclasses import dataclass

from asyncpg import Connection

from maintenance.models import Batch, Cursor
from maintenance.names import Fragment
from maintenance.tasks import heap
from maintenance.tasks.expired import RowsStep

FROM = Fragment(">=")
_BEYOND = Fragment(">")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeapRetention(RowsStep):
    """Delete expired rows block range by block range; `limit` is in blocks."""

    limits = (8, 256, 16_384)

    strategy: str = "heap"

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """One stretch of the heap."""
        stretch = Fragment(self.expired.sql("heap_stretch"))

        async def work(first: heap.Tid, last: heap.Tid, patience: Fragment) -> heap.Share:
            return await self.take(connection, stretch, (first, last), patience)

        return await heap.stretch(connection, self.oid, cursor, limit, work)

    def go_on(self, cursor: Cursor) -> Cursor | None:
        """At the block where the earlier slice stopped."""
        return heap.go_on(cursor)

    def resume(self, cursor: Cursor) -> Cursor | None:
        """At the block where the earlier run stopped."""
        return heap.resume(cursor)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysetRetention(RowsStep):
    """Delete expired rows in the order of an index, oldest first; `limit` is in index entries.

    The cursor holds `after`, the moment that the next batch begins at, and `beyond` where it begins behind it; `tie`
    while the rows of one moment are more than a batch; `until` and `taken_up` where an earlier run's pass is completed.
    """

    limits = (100, 2_000, 200_000)

    strategy: str = "keyset"

    @property
    def lag_at_a_glance(self) -> bool:
        """By its index."""
        return True

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """The lower bound travels along: a batch that began at the start would walk all dead index entries again."""
        place: Cursor = {"after": None, **(cursor or {})}
        if place.get("tie"):
            return await self._tie(connection, place, limit)
        after, until = place["after"], place.get("until")
        begin = _BEYOND if place.get("beyond") else FROM
        query = self.expired.sql("boundary", **{"from": begin})
        boundary = await connection.fetchval(query, self.expired.bound, after, until, limit)
        if boundary is not None and boundary == after:
            return await self._tie(connection, {**place, "tie": 1}, limit)
        stretch = Fragment(self.expired.sql("keyset_stretch", **{"from": begin}))
        end = until if boundary is None else boundary
        share = await self.take(connection, stretch, (after, end), heap.patience(place))
        return self._following(place, share, boundary, done=boundary is None)

    async def _tie(self, connection: Connection, place: Cursor, limit: int) -> Batch:
        """So many rows of one moment, and no others."""
        after = place["after"]
        if heap.patience(place) is heap.PASS_OVER:
            stretch = Fragment(self.expired.sql("moment_stretch"))
            share = await self.take(connection, stretch, (after, after), heap.PASS_OVER)
            return self._following({**place, "tie": None}, share, after, done=False)
        found = await connection.fetch(self.expired.sql("find_moment"), self.expired.bound, after, limit)
        share = heap.Share(rows=await self.delete_claimed(connection, heap.addresses(found)))
        if len(found) >= limit and share.rows:
            return Batch(rows=share.rows, cursor=place, held=_held(place), done=False)
        if len(found) >= limit:
            # Others took every one of them, or a trigger keeps them: what is left of the moment at once, and on.
            stretch = Fragment(self.expired.sql("moment_stretch"))
            share = await self.take(connection, stretch, (after, after), heap.WAIT)
        return self._following({**place, "tie": None}, share, after, done=False)

    def _following(self, place: Cursor, share: heap.Share, after: int | str | None, *, done: bool) -> Batch:
        held = _held(place) + share.held
        following: Cursor = {
            **{key: place[key] for key in ("until", "taken_up") if place.get(key)},
            "after": place["after"] if after is None else after,
            **({"beyond": 1} if "tie" in place else {}),
            **({"held": held} if held else {}),
            **({"ended": 1} if done else {}),
        }
        if done and place.get("taken_up"):
            following = {"after": None, "until": place["taken_up"], **({"held": held} if held else {})}
            done = False
        return Batch(rows=share.rows, held=held, cursor=following, done=done)

    def go_on(self, cursor: Cursor) -> Cursor | None:
        """After the last moment of the earlier slice; from the start, if another version has written the cursor."""
        known = all(isinstance(cursor.get(key), str | None) for key in ("after", "until", "taken_up"))
        return cursor if known and not (cursor.get("ended") and cursor.get("held")) else None

    def resume(self, cursor: Cursor) -> Cursor | None:
        """After the last moment of the earlier run; then once from the start, for what is due there since."""
        after = cursor.get("after")
        return {"after": after, "taken_up": after} if after else None


def _held(cursor: Cursor) -> int:
    return int(cursor.get("held") or 0)
