"""Hours: a step keeps to its window, by the database's clock: it does not begin outside it, and ends when it closes."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from asyncpg import Connection
from asyncpg import exceptions as pg

from maintenance.budget import roughly, spelled
from maintenance.database import clock, limit_statements
from maintenance.errors import GaveWay
from maintenance.session import allowed
from maintenance.window import Window


async def shut(connection: Connection, window: Window | None, expected: float | None) -> str | None:
    """Why a step that is `expected` to take so many seconds must wait for its window; None where it need not."""
    if window is None:
        return None
    now = await clock(connection)
    closed = window.closed(now)
    if closed is not None:
        return f"not begun: {closed}; a run in those hours does it"
    left = window.left(now)
    if expected is not None and expected > left:
        return (
            f"not begun: {roughly(expected)} expected, and its window {window} closes in {spelled(left)}; a run at its "
            "beginning does it, or make the window longer"
        )
    return None


async def opening(connection: Connection, window: Window | None) -> str:
    """What a plan says of a window that is closed; nothing while it is open."""
    closed = None if window is None else window.closed(await clock(connection))
    return "" if closed is None else f"; waits, {closed}"


_LEAST = 0.05
"""Seconds that are not worth beginning anything in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """The time that a step has: what is left of the budget, or of its window where that closes before."""

    connection: Connection
    whole: float
    """Seconds, when it began."""
    end: float
    """By the monotonic clock."""
    window: Window | None
    """The one that closes then; None where it is the budget's end."""

    @property
    def left(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.end - time.monotonic())

    async def limit(self, *, most: float = math.inf, needed: float = 0.0) -> float:
        """Let no statement from now on go beyond it, nor take more than `most` seconds; the seconds that it gives.

        Raises:
            GaveWay: less than `needed` is left, or nothing.
        """
        left = self.left
        if left <= max(needed, _LEAST):
            raise GaveWay(self._over(needed), "budget")
        seconds = min(left, most)
        if math.isfinite(seconds):
            await limit_statements(self.connection, seconds, local=False)
        return seconds

    def closed(self) -> GaveWay:
        """What to raise where the window has ended a statement."""
        return GaveWay(
            f"its window {self.window} closed before it was done, after {spelled(self.whole)}; nothing is lost, and a "
            "run at the beginning of the window has more time for it", "budget", cut=True,
        )  # fmt: skip

    def _over(self, needed: float) -> str:
        what = "the budget" if self.window is None else f"its window {self.window}"
        wants = f", and it is expected to take {roughly(needed)}" if needed else ""
        return f"{spelled(self.left)} is left of {what}{wants}; nothing is lost, and the next run tries again"


@asynccontextmanager
async def until_closed(connection: Connection, window: Window | None) -> AsyncIterator[Term]:
    """Let no statement of the block go on when the window closes; one that begins later is limited by the `Term`.

    Raises:
        GaveWay: one was ended by that.
    """
    whole = allowed(connection)
    left = None if window is None else window.left(await clock(connection))
    closes = left is not None and left < whole
    whole = left if left is not None and closes else whole
    term = Term(
        connection=connection, whole=whole, end=time.monotonic() + whole, window=window if closes else None
    )  # fmt: skip
    if closes:
        await term.limit()
    try:
        yield term
    except pg.QueryCanceledError as error:
        if term.window is None or term.left > 0.1 * whole:
            raise
        raise term.closed() from error
