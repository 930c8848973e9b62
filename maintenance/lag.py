"""Lag: a run holds back between two batches while replicas, the WAL or those who wait for it are over their limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import asyncpg
from asyncpg import Connection
from asyncpg import exceptions as pg

from maintenance import switch
from maintenance.budget import Budget
from maintenance.database import fetch_one
from maintenance.errors import PolicyError
from maintenance.models import StepStatus, StopReason, Verdict
from maintenance.policy import Lag
from maintenance.sql import statement

_NAP = 0.5
_SHORTEST_NAP = 0.01
_BURST = 1.0
"""Seconds of its limit's WAL that one batch may write; of more, the next batch is made smaller."""
_LONGEST = 60.0
"""Seconds to hold back at most for WAL that is already written: after a long VACUUM, or somebody's load meanwhile."""
_REMEDIES = {
    "replay": "look at what keeps the replica from replaying, or raise the limit",
    "wal": "look at what else writes so much, run when less is written, or raise the limit",
}
_SIGHT = {
    "replay": "GRANT pg_read_all_stats to it, as `python -m maintenance sql grants` prints",
    "wal": "GRANT EXECUTE ON FUNCTION pg_catalog.pg_current_wal_insert_lsn() to it",
    "waiting": "GRANT EXECUTE ON FUNCTION pg_catalog.pg_lock_status(), pg_catalog.pg_blocking_pids(integer) to it",
}
"""What lets a role see; only the first is not given to everybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a policy, as the server understands them."""

    replay: float | None = None
    """Seconds that a replica may be behind; None where it may be as far behind as it likes."""
    wal: int | None = None
    """Bytes of WAL that the server may write in a second; None where that has no limit."""
    waiting: int = 0
    """Sessions that wait for us from which on we hold back; 0 where nobody looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What a look has led to."""

    seconds: float = 0.0
    """For which the run held back."""
    smaller: bool = False
    """Whether the next batch should be smaller."""
    verdict: Verdict | None = None
    """The end of the step, where the limit was passed to the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    behind: float = 0.0
    waiting: int = 0


async def judged(connection: Connection, policy: Lag) -> Limits:
    """The limits of a policy, once the server has taken them for an interval and a size above zero. Reads only.

    Raises:
        PolicyError: it did not.
    """
    replay = wal = None
    if policy.replay is not None:
        replay = await _asked(connection, "replay", policy.replay, "an interval such as '10 seconds'")
    if policy.wal is not None:
        wal = await _asked(connection, "wal", policy.wal, "a size such as '16MB'")
    return Limits(replay=replay, wal=None if wal is None else int(wal), waiting=policy.waiting)


async def _asked(connection: Connection, key: str, text: str, proper: str) -> float:
    what = f"lag.{key} = {text!r}"
    try:
        value = await connection.fetchval(statement("lag", key), text)
    except (asyncpg.DataError, asyncpg.InternalServerError, OverflowError) as error:
        raise PolicyError(f"{what} cannot be used by PostgreSQL ({error}); write {proper}.") from error
    if value is None or value <= 0:
        raise PolicyError(f"{what} is not above zero, or beyond all measure; write {proper}.")
    return float(value)


class Flow:
    """The WAL that the server writes, against a limit: how long to hold back until the two are even."""

    def __init__(self, limit: float) -> None:
        """`limit` is in bytes a second."""
        self._limit = limit
        self._last: tuple[float, float] | None = None
        self._since = (0.0, 0.0)
        self.ahead = 0.0
        """Seconds for which nothing would have to be written, to be at the limit on the average."""

    def add(self, written: float, now: float, most: float = _LONGEST) -> None:
        """Learn that the server has written so many bytes in its life, at an instant of our own clock, in seconds.

        A time with little WAL is no credit. What others write while we hold back counts, but `ahead` does not grow
        above `most`: their bursts are not ours to make up for, once they are over.
        """
        last_written, last = self._last or (written, now)
        if self.ahead <= 0:
            self._since = (last_written, last)
        self._last = (written, now)
        ahead = self.ahead + (written - last_written) / self._limit - (now - last)
        self.ahead = min(max(0.0, ahead), most)

    @property
    def rate(self) -> float:
        """Bytes a second, since they were last within the limit."""
        if self._last is None or self._last[1] <= self._since[1]:
            return 0.0
        return (self._last[0] - self._since[0]) / (self._last[1] - self._since[1])


class Brake:
    """Looks once a batch at what is limited, and holds the run back; where nothing is limited it costs nothing."""

    def __init__(self, connection: Connection, limits: Limits, budget: Budget, unseen: str | None = None) -> None:
        """Limits that this role cannot see must be off already; `fitted` sees to that."""
        self._connection = connection
        self._limits = limits
        self._budget = budget
        self._flow = None if limits.wal is None else Flow(limits.wal)
        self._reading = _Reading()
        self.unseen = unseen
        """What the policy limits and this role cannot see, in words."""

    def on(self, connection: Connection) -> Brake:
        """The same limits, looked at by another connection of the run."""
        return Brake(connection, self._limits, self._budget)

    async def look(self, *, inside: bool = False, most: float = _LONGEST) -> None:
        """Measure; `inside` the transaction of a batch, right before its commit, also who waits for us."""
        flags = (self._flow is not None, self._limits.replay is not None, inside and self._limits.waiting > 0)
        if not any(flags):
            self._reading = _Reading()
            return
        row = await fetch_one(self._connection, statement("lag", "look"), *flags)
        self._reading = _Reading(behind=row["behind"] or 0.0, waiting=row["waiting"] or 0)
        if self._flow is not None:
            self._flow.add(float(row["written"]), time.monotonic(), most)

    async def before_step(self, tell: Callable[[str], None]) -> Hold:
        """Look, and hold back until the step may begin. What waits for us cannot be seen here: we hold nothing."""
        await self.look()
        return await self.after_batch(0.0, tell)

    async def after_batch(self, seconds: float, tell: Callable[[str], None]) -> Hold:
        """Hold back, outside of any transaction, until all that was seen last is within its limit again.

        `seconds` is what the batch took; `tell` is told, once, why the run holds back. Gives way to the pause switch,
        and ends with the budget.
        """
        began = time.monotonic()
        crowded = 0 < self._limits.waiting <= self._reading.waiting
        most = 0.0 if self._flow is None else self._flow.ahead
        if crowded:
            tell(f"sessions waited for the last batch: {self._reading.waiting}; [lag] waiting = {self._limits.waiting}")
            # They have what they waited for since the commit; let them use it for a while.
            await asyncio.sleep(min(_NAP, seconds, self._budget.left))
        verdict = None
        over, told = self._over(), False
        while over is not None and verdict is None and self._budget.left > 0:
            if not told:
                tell(await self._why(over))
                told = True
            await asyncio.sleep(min(self._nap(over), self._budget.left))
            await self.look(most=most)
            over = self._over()
            verdict = await self._ended(over)
        held = time.monotonic() - began if crowded or told else 0.0
        return Hold(seconds=held, smaller=crowded or most > _BURST, verdict=verdict)

    async def _ended(self, over: str | None) -> Verdict | None:
        """Why the run does not go on, though a limit is still passed; None where it does, or goes on to hold back."""
        if over is None:
            return None
        if self._budget.left > 0:
            return await switch.halt(self._connection)
        return Verdict(
            status=StepStatus.INTERRUPTED,
            stop_reason=StopReason.LAG,
            message=f"{await self._why(over)}; the run held back until its budget was used up, or a signal ended it, "
            f"and the next run goes on from here; {_REMEDIES[over]}",
        )

    def _over(self) -> str | None:
        """The key of the limit that is passed, or None."""
        if self._limits.replay is not None and self._reading.behind > self._limits.replay:
            return "replay"
        return "wal" if self._flow is not None and self._flow.ahead > 0 else None

    def _nap(self, over: str) -> float:
        if over == "wal" and self._flow is not None:
            return min(_NAP, max(_SHORTEST_NAP, self._flow.ahead))
        return _NAP

    async def _why(self, over: str) -> str:
        if over == "wal":
            rate = self._flow.rate if self._flow is not None else 0.0
            return f"the server wrote {_size(rate)} of WAL a second, over [lag] wal = {_size(self._limits.wal or 0)}"
        row = await self._connection.fetchrow(statement("lag", "furthest"))
        replica, behind = (row["replica"], row["behind"]) if row else ("that is gone by now", None)
        return (
            f"replica {replica} is {self._reading.behind if behind is None else behind:.1f} s behind, "
            f"over [lag] replay = {self._limits.replay:g} s"
        )


async def fitted(connection: Connection, limits: Limits, budget: Budget) -> Brake:
    """The brake of a slice, with the limits that this role can see; the others are off, and `unseen` says so."""
    off = Limits()
    unseen: list[str] = []
    for key, remedy in _SIGHT.items():
        one = replace(off, **{key: getattr(limits, key)})
        if one != off and not await _visible(connection, one, budget):
            limits = replace(limits, **{key: getattr(off, key)})
            unseen.append(
                f"[lag] {key} is off, since this role cannot see what it limits: {remedy}, or take it out of the policy"
            )
    return Brake(connection, limits, budget, "; ".join(unseen) or None)


async def _visible(connection: Connection, limits: Limits, budget: Budget) -> bool:
    try:
        if limits.replay is not None and not await connection.fetchval(statement("lag", "visible")):
            return False
        await Brake(connection, limits, budget).look(inside=True)
    except pg.InsufficientPrivilegeError:
        return False
    return True


def _size(amount: float) -> str:
    return f"{amount / 2**20:.1f} MB" if amount >= 2**20 else f"{amount / 2**10:.1f} kB"
