"""One pass over a table's heap by block ranges: no index, no sort, and it goes on at the block where it stopped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from asyncpg import Connection, Record

from maintenance.catalog import blocks
from maintenance.models import Batch, Cursor

Tid = tuple[int, int]


async def stretch(
    connection: Connection,
    oid: int,
    cursor: Cursor | None,
    limit: int,
    work: Callable[[Tid, Tid], Awaitable[tuple[int, int]]],
) -> Batch:
    """Do `work` on the next `limit` blocks; it gets the range as row addresses and returns rows deleted and rewritten.

    A pass that an earlier run began goes to the end, and then over the blocks in front of where it was taken up: every
    block is judged at the instant of the run that calls itself done.
    """
    place = cursor or {"block": 0}
    first = int(place.get("block") or 0)
    end = int(place["end"] or 0) if "end" in place else await blocks(connection, oid)
    last = min(first + limit, end)
    rows, updated = await work((first, 0), (last, 0)) if last > first else (0, 0)
    following: Cursor = {**place, "block": last, "end": end}
    done = last >= end
    if done and place.get("taken_up"):
        following = {"block": 0, "end": place["taken_up"], "taken_up": None}
        done = False
    progress = 1.0 if done else last / end if end else None
    return Batch(rows=rows, updated=updated, cursor=following, done=done, progress=progress)


def resume(cursor: Cursor) -> Cursor:
    """The cursor of an earlier run, to be taken up by this one, whose instant is another."""
    return {"block": cursor["block"], "taken_up": cursor["block"]}


def addresses(rows: Iterable[Record]) -> list[Tid]:
    """The row addresses that a statement found, as the next one takes them."""
    return [row["ctid"] for row in rows]


def deleted(status: str) -> int:
    """Rows in the server's answer to a DELETE, such as `DELETE 12`."""
    return int(status.split()[-1])
