"""Hours: a step keeps to its window, by the database's clock: it does not begin outside it, and ends when it closes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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


@asynccontextmanager
async def until_closed(connection: Connection, window: Window | None) -> AsyncIterator[None]:
    """Let no statement of the block go on when the window closes.

    Raises:
        GaveWay: one was ended by that.
    """
    left = None if window is None else window.left(await clock(connection))
    limit = allowed(connection)
    if left is None or left >= limit:
        yield
        return
    await limit_statements(connection, left, local=False)
    began = time.monotonic()
    try:
        yield
    except pg.QueryCanceledError as error:
        if time.monotonic() - began < 0.9 * left:
            raise
        raise GaveWay(
            f"its window {window} closed before it was done, after {spelled(left)}; nothing is lost, and a run at the "
            "beginning of the window has more time for it", "budget",
        ) from error  # fmt: skip
