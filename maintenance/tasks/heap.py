"""One pass over a table's heap by block ranges: no index, no sort, and it goes on at the block where it stopped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from asyncpg import Connection, Record

from maintenance.catalog import blocks
from maintenance.models import Batch, Cursor
from maintenance.names import Fragment

Tid = tuple[int, int]
WAIT = Fragment("")
PASS_OVER = Fragment("skip locked")
"""What a statement that locks rows does about those that others hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What became of the rows of a stretch."""

    rows: int = 0
    updated: int = 0
    held: int = 0
    """Rows that stay since others hold them."""


async def stretch(
    connection: Connection,
    oid: int,
    cursor: Cursor | None,
    limit: int,
    work: Callable[[Tid, Tid, Fragment], Awaitable[Share]],
) -> Batch:
    """Do `work` on the next `limit` blocks; it gets the range as row addresses, and what to do about held rows.

    A pass that an earlier run began goes to the end, and then over the blocks in front of where it was taken up: every
    block is judged at the instant of the run that calls itself done.
    """
    place = cursor or {"block": 0}
    first = int(place.get("block") or 0)
    end = int(place["end"] or 0) if "end" in place else await blocks(connection, oid)
    last = min(first + limit, end)
    share = await work((first, 0), (last, 0), patience(place)) if last > first else Share()
    held = int(place.get("held") or 0) + share.held
    following: Cursor = {**without_hurry(place), "block": last, "end": end, **({"held": held} if held else {})}
    done = last >= end
    if done and place.get("taken_up"):
        following = {**following, "block": 0, "end": place["taken_up"], "taken_up": None}
        done = False
    progress = 1.0 if done else last / end if end else None
    return Batch(rows=share.rows, updated=share.updated, held=held, cursor=following, done=done, progress=progress)


def resume(cursor: Cursor) -> Cursor | None:
    """The cursor of an earlier run, to be taken up by this one, whose instant is another."""
    return {"block": cursor["block"], "taken_up": cursor["block"]} if cursor.get("block") else None


def go_on(cursor: Cursor) -> Cursor | None:
    """The cursor of an earlier slice; a pass that came to its end, and left rows that others held, begins again."""
    return None if cursor.get("held") and cursor.get("block") == cursor.get("end") else cursor


def past_locks(cursor: Cursor | None) -> Cursor:
    """The cursor by which the next batch passes over rows that others hold."""
    return {**(cursor or {}), "over": 1}


def patience(cursor: Cursor) -> Fragment:
    """What a batch with this cursor does about rows that others hold."""
    return PASS_OVER if cursor.get("over") else WAIT


def without_hurry(cursor: Cursor) -> Cursor:
    """The cursor by which the batch after it waits for locks again."""
    return {key: value for key, value in cursor.items() if key != "over"}


def addresses(rows: Iterable[Record]) -> list[Tid]:
    """The row addresses that a statement found, as the next one takes them."""
    return [row["ctid"] for row in rows]
