"""Pinned: whether a VACUUM of a table would find what it may not remove, as somebody may still look at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from asyncpg import Connection, Record

from maintenance.database import fetch_one
from maintenance.errors import Blocked, GaveWay, MaintenanceError
from maintenance.horizon import Changes, Holder, Kind, changes, deferred, holders, next_xid, sees_all
from maintenance.names import Table
from maintenance.tasks.hours import Term

PATIENCE = 15.0
"""Seconds that somebody may hold the horizon before he is in the way; a standby tells of its own every 10 s.
https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-WAL-RECEIVER-STATUS-INTERVAL"""
_NAP = 0.5
_MOST = 0.5
"""Of what has changed, that a holder may keep from a VACUUM which is begun all the same."""
_GAIN = 0.1
"""Of the age of a table, what a freeze must take away to be worth its while."""
_LEFT = 0.95
"""Of the dead rows, what a VACUUM in vain leaves."""
_LATE = 1.2
"""Seconds after which busy sessions have told the counters what they did.
https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-STATS-VIEWS"""
_NAMED = 3
_UNSEEN = (
    "nobody who holds it back is shown to this role: GRANT pg_read_all_stats to it, or look at pg_stat_activity as an "
    "administrator"
)
_NOBODY = "nobody is left who holds it back; if this comes again, look at pg_stat_activity as an administrator"
_AGES = {"xid_age": "transactions", "multixact_age": "multixacts"}
_SEEN: WeakKeyDictionary[Connection, dict[tuple[Kind, str, int | None], float]] = WeakKeyDictionary()
"""Of each of our connections, since when it sees whom, so that only the first of many tables waits for him."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Those who keep the most of what has changed in a table, the worst first."""

    holders: tuple[Holder, ...]
    changes: Changes
    freezing: bool = False
    """Whether they keep it from being frozen, whatever is dead."""

    def __str__(self) -> str:
        first = self.holders[0]
        if self.freezing:
            old = f"{self.changes.age:,} transactions since the last freeze"
            return f"{old}, and {first} may look back nearly as far, so it would stay as old"
        kept = self.changes.kept(first)
        share = "all of them" if kept >= 1 else f"about {kept:.0%} of them"
        return (
            f"{self.changes.dead:,} dead rows, and {first} may still look at {share}, so little or nothing would go, "
            "and the table grows meanwhile"
        )

    @property
    def remedy(self) -> str:
        """What to do about each of them."""
        others = self.holders[1:_NAMED]
        also = "".join(f"; then {holder} is in the way: {holder.remedy}" for holder in others)
        more = len(self.holders) - _NAMED
        return self.holders[0].remedy + also + (f"; and {more} more" if more > 0 else "")


def pin(found: Sequence[Holder], table: Changes, *, max_age: int | None = None, least: int | None = None) -> Pin | None:
    """Who makes a VACUUM of the table useless; None if nobody, or if that only its result can tell.

    A table that is above `max_age` is there to be frozen, so it is pinned by what keeps it from becoming younger, and
    by nothing else: what is frozen once stays so. Any other is by what keeps most of its dead rows. With `least`, it
    is a rewrite, which may carry so many dead rows along, and is not begun only to see what comes of it.
    """
    freezing = max_age is not None and max(table.age, table.multixact_age) > max_age
    if max_age is not None and table.multixact_age > max_age:
        return None
    if freezing:
        worst = [holder for holder in found if table.freezable(holder) < _GAIN]
    elif table.dead > (least or 0) and (table.dated or least is not None):
        worst = [holder for holder in found if table.kept(holder) > _MOST]
    else:
        return None
    worst.sort(key=lambda holder: -(holder.age or 0))
    return Pin(holders=tuple(worst), changes=table, freezing=freezing) if worst else None


async def unpinned(
    term: Term, table: Table, oid: int, what: str, *, max_age: int | None = None, least: int | None = None
) -> None:
    """Wait for those who are not there for long; returns when a VACUUM is worth while. The rest is as for `pin`.

    Raises:
        Blocked: it is not, and the message says because of whom; `what` was not begun.
        GaveWay: there was no time to wait for somebody who may be gone soon.
    """
    pinned: Pin | None = None

    async def in_the_way() -> tuple[Holder, ...]:
        nonlocal pinned
        now = await changes(term.connection, oid)
        # Autovacuum's own ANALYZE of the table gives way to our VACUUM.
        found = [
            one for one in await holders(term.connection) if one.kind is not Kind.AUTOVACUUM or one.relation != oid
        ]
        pinned = None if now is None else pin(found, now, max_age=max_age, least=least)
        return pinned.holders if pinned else ()

    _, ended = await _gone(term, in_the_way)
    if pinned is not None:
        raise ended(f"{what} of {table} was not begun: it has {pinned}; {pinned.remedy}")


async def vacuumed(
    term: Term,
    table: Table,
    vacuum: Callable[[], Awaitable[tuple[Record, Record]]],
    look: tuple[str, int],
    *,
    max_age: int | None = None,
) -> tuple[int, int]:
    """VACUUM, and once more where that was in vain and nobody is seen any more; dead rows before it, and those it left.

    `look` is the statement that sees what `vacuum` returns of before and after, and the table for it.

    Raises:
        Blocked: it was in vain, as somebody is still there, or nobody can be seen.
        GaveWay: it was in vain, and there is no time to wait, or for the second.
    """
    connection, was = term.connection, 0
    for again in (False, True):
        began, first = time.monotonic(), await next_xid(connection)
        before, after = map(dict, await vacuum())
        took = time.monotonic() - began
        was, left = max(was, before["dead"]), _left(before, after)
        if max_age is None and _in_vain(before, after, max_age):
            await asyncio.sleep(_LATE)
            after["died"] = (await fetch_one(connection, *look))["died"]
            left = _left(before, after)
        vain = _in_vain(before, after, max_age)
        if vain is None:
            return was, left
        vain = f"VACUUM of {table} {vain}"
        await _held(term, first, vain, again=again)
        try:
            await term.limit(needed=took)
        except GaveWay as error:
            why = await _unseen(connection)
            if why is not None:
                raise Blocked(f"{vain}: {why}") from error
            raise GaveWay(f"{vain}, and for another VACUUM {error}", error.reason) from error
    raise AssertionError("unreachable: the second one returns or raises")


async def _held(term: Term, before: int, vain: str, *, again: bool) -> None:
    """Wait for those who look back further than transaction `before`; returns if it is worth while to VACUUM again."""
    connection = term.connection

    async def in_the_way() -> tuple[Holder, ...]:
        return tuple(one for one in await holders(connection) if one.before(before))

    found, ended = await _gone(term, in_the_way)
    if found:
        raise ended(f"{vain}: {found[0]} looks back further; {found[0].remedy}")
    if again:
        raise Blocked(f"{vain}: {await _unseen(connection) or _NOBODY}")


async def _unseen(connection: Connection) -> str | None:
    """What may hold the horizon back though nobody is seen; None if nothing."""
    transactions = await deferred(connection)
    if transactions:
        return f"the server's vacuum_defer_cleanup_age = {transactions:,} keeps what is younger; set it to 0"
    return None if await sees_all(connection) else _UNSEEN


async def _gone(
    term: Term, in_the_way: Callable[[], Awaitable[tuple[Holder, ...]]]
) -> tuple[tuple[Holder, ...], Callable[[str], MaintenanceError]]:
    """Wait until nobody is in the way, or somebody is for long; those who are, and the error to tell of them."""
    patience, until = min(PATIENCE, term.left / 4), None
    while True:
        found = await in_the_way()
        lasts = [_lasts(term.connection, holder) for holder in found]
        until = time.monotonic() + patience if until is None else until
        if not found or any(lasts):
            return found, Blocked
        if time.monotonic() >= until:
            return found, _no_time if patience < PATIENCE else _come_and_go
        await asyncio.sleep(_NAP)


def _no_time(message: str) -> GaveWay:
    return GaveWay(f"{message} (he may be gone soon, but there was no more time to wait for that)", "budget")


def _come_and_go(message: str) -> GaveWay:
    return GaveWay(f"{message} (that is expected to be over soon, and the next run tries again)", "lock")


def _lasts(connection: Connection, holder: Holder) -> bool:
    """Whether it is not worth while to wait for him. The server does not tell of all since when they are there."""
    now = time.monotonic()
    first = _SEEN.setdefault(connection, {}).setdefault((holder.kind, holder.name, holder.xmin), now)
    if holder.kind is Kind.AUTOVACUUM:
        return False
    if holder.kind is Kind.SLOT and not holder.active:
        return True
    return now - first >= PATIENCE or (holder.seconds is not None and holder.seconds >= PATIENCE)


def _in_vain(before: dict[str, int], after: dict[str, int], max_age: int | None) -> str | None:
    """What a VACUUM did not do that it was made for, in words; None where it did."""
    if max_age is None:
        if before["dead"] > 0 and _left(before, after) >= _LEFT * before["dead"]:
            return f"removed none of {before['dead']:,} dead rows to speak of, and the table grows"
        return None
    for name, what in _AGES.items():
        if before[name] > max_age and after[name] > max(max_age, before[name] * (1 - _GAIN)):
            return f"froze next to nothing: {after[name]:,} {what} since the last freeze, above xid_age = {max_age:,}"
    return None


def _left(before: dict[str, int], after: dict[str, int]) -> int:
    """The dead rows that are still there, without those that died meanwhile."""
    return max(0, int(after["dead"]) - max(0, int(after["died"]) - int(before["died"])))
