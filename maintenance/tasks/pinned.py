"""Pinned: whether a VACUUM of a table would find what it may not remove, as somebody may still look at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from asyncpg import Connection

from maintenance.errors import Blocked
from maintenance.horizon import Changes, Holder, Kind, changes, holders, next_xid, sees_all
from maintenance.names import Table
from maintenance.session import allowed

PATIENCE = 15.0
"""Seconds that somebody may hold the horizon before he is in the way; a standby tells of its own every 10 s.
https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-WAL-RECEIVER-STATUS-INTERVAL"""
_NAP = 0.5
_MOST = 0.5
"""Of what has changed, that a holder may keep from a VACUUM which is begun all the same."""
_GAIN = 0.1
"""Of the age of a table, what a freeze must take away to be worth its while."""
_NAMED = 3
UNSEEN = (
    "nobody who holds it back is shown to this role: GRANT pg_read_all_stats to it, or look at pg_stat_activity as an "
    "administrator"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Those who keep the most of what has changed in a table, the worst first."""

    holders: tuple[Holder, ...]
    changes: Changes

    @property
    def lasting(self) -> bool:
        """Whether it is not worth while to wait for them."""
        return any(_lasts(holder) for holder in self.holders)

    def __str__(self) -> str:
        first = self.holders[0]
        kept = self.changes.kept(first)
        share = "all of them" if kept >= 1 else f"about {kept:.0%} of them"
        return f"{self.changes.dead:,} dead rows, and {first} may still look at {share}"

    @property
    def remedy(self) -> str:
        """What to do about each of them."""
        others = self.holders[1:_NAMED]
        also = "".join(f"; then {holder} is in the way: {holder.remedy}" for holder in others)
        more = len(self.holders) - _NAMED
        return self.holders[0].remedy + also + (f"; and {more} more" if more > 0 else "")


def pin(found: Sequence[Holder], table: Changes, *, aged: bool = False, least: int | None = None) -> Pin | None:
    """Who keeps most of a table's dead rows, or of those to be marked as visible to all, from a VACUUM; None if nobody.

    A table that is `aged` is not pinned while a freeze would make it younger: what is frozen once stays so. With
    `least`, nothing matters but its dead rows, where there are more.
    """
    worst = sorted((holder for holder in found if table.kept(holder) > _MOST), key=lambda holder: -(holder.age or 0))
    matters = table.dead or table.inserted if least is None else table.dead > least
    if not worst or not matters:
        return None
    if aged and table.freezable(worst[0]) >= _GAIN:
        return None
    return Pin(holders=tuple(worst), changes=table)


async def unpinned(
    connection: Connection, table: Table, oid: int, what: str, *, aged: bool = False, least: int | None = None
) -> None:
    """Wait for those who are not there for long; returns when a VACUUM is worth while. The rest is as for `pin`.

    Raises:
        Blocked: it is not, and the message says because of whom; `what` was not begun.
    """
    until = time.monotonic() + _patience(connection)
    while True:
        table_changes = await changes(connection, oid)
        found = await holders(connection)
        pinned = None if table_changes is None else pin(found, table_changes, aged=aged, least=least)
        if pinned is None:
            return
        if pinned.lasting or time.monotonic() >= until:
            raise Blocked(
                f"{what} of {table} was not begun: it has {pinned}, so little or nothing would go, and the table grows "
                f"meanwhile; {pinned.remedy}"
            )
        await asyncio.sleep(_NAP)


async def passed(connection: Connection, before: int) -> Holder | None:
    """Wait for those who look back further than transaction `before`; the one who is still there, None if nobody."""
    until = time.monotonic() + _patience(connection)
    while True:
        now = await next_xid(connection)
        holder = next((one for one in await holders(connection) if (one.age or 0) > now - before), None)
        if holder is None or _lasts(holder) or time.monotonic() >= until:
            return holder
        await asyncio.sleep(_NAP)


async def removed(
    connection: Connection, table: Table, vacuum: Callable[[], Awaitable[tuple[int, int]]]
) -> tuple[int, int]:
    """VACUUM, and once more where nothing went and those who kept it are gone since; dead rows before and after it.

    Raises:
        Blocked: nothing went, as somebody is still there, or nobody can be seen.
    """
    before = await next_xid(connection)
    was, left = await vacuum()
    if not _in_vain(was, left):
        return was, left
    holder = await passed(connection, before)
    if holder is None and await sees_all(connection):
        again, left = await vacuum()
        return max(was, again), left
    who = f"{holder} may still look at them; {holder.remedy}" if holder else UNSEEN
    raise Blocked(f"VACUUM of {table} removed none of {was:,} dead rows to speak of, and the table grows: {who}")


def _patience(connection: Connection) -> float:
    """Seconds to wait, and not for most of the time that is left for the step."""
    return min(PATIENCE, allowed(connection) / 4)


def _in_vain(was: int, left: int) -> bool:
    return was > 0 and left >= 0.95 * was


def _lasts(holder: Holder) -> bool:
    if holder.kind is Kind.SLOT:
        return not holder.active
    return holder.seconds is not None and holder.seconds >= PATIENCE
