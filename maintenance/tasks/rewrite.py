"""A rewrite of one table by VACUUM FULL, which takes its lock, its time and no more, and what that gave back."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import asyncpg
from asyncpg import Connection, Record
from asyncpg import exceptions as pg

from maintenance.amounts import size
from maintenance.budget import spelled
from maintenance.database import fetch_one
from maintenance.errors import GaveWay
from maintenance.models import Batch, Cursor
from maintenance.refusals import first_line
from maintenance.sql import statement
from maintenance.steps import Step
from maintenance.tasks.hours import Term, shut, until_closed
from maintenance.tasks.pinned import unpinned
from maintenance.tasks.stamp import stamped
from maintenance.window import Window

PARTS = ("heap", "toast", "indexes")
WORDS = {"heap": "heap", "toast": "TOAST", "indexes": "indexes"}
_FILE = "shrink"
_ATTEMPTS = 3
_PAUSE = 1.0
_DEAD = 0.1
"""Of a table's rows, what may be dead and kept by somebody: a rewrite would carry it along."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrinkStep(Step):
    """One VACUUM FULL, done when the table has another file."""

    transactional = False

    task: str = "shrink"
    strategy: str = "vacuum full"
    window: Window | None
    max_lock: float
    """Seconds after which it is taken back, so that nobody is locked out for longer."""
    live_rows: int

    async def guard(self, connection: Connection) -> str | None:
        """Why it must wait for its window, or None."""
        return await shut(connection, self.window, self.expected)

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """Rewrite the table, and measure what that gave back.

        Raises:
            Blocked: somebody keeps its dead rows, or the server skipped the table.
            GaveWay: the application has the table, or it took too long; it is as it was.
        """
        async with until_closed(connection, self.window) as term:
            await unpinned(term, self.table, self.oid, "VACUUM FULL", least=int(self.live_rows * _DEAD))
            before = await self._rewritten(term)
            told = await self.afterwards(term)
        # Only now, as the VACUUM makes maps of the new file.
        after = await fetch_one(connection, statement(_FILE, "rewritten"), self.oid)
        return Batch(done=True, note=given_back(before, after) + told)

    async def _rewritten(self, term: Term) -> Record:
        """Rewrite it; its parts before that."""
        command, look = statement(_FILE, "rewrite", table=self.table.sql), statement(_FILE, "rewritten")
        for attempt in range(1, _ATTEMPTS + 1):
            within = await term.limit(most=self.max_lock)
            began = time.monotonic()
            try:
                before, _ = await stamped(term.connection, self.table, self.oid, command, look)
            except pg.LockNotAvailableError as error:
                if attempt == _ATTEMPTS:
                    raise GaveWay(
                        f"{first_line(error)}, {_ATTEMPTS} times: the application has {self.table}, so it is as it "
                        "was; let the window be when it is quieter", "lock",
                    ) from error  # fmt: skip
                await asyncio.sleep(_PAUSE)
            except pg.QueryCanceledError as error:
                if within < self.max_lock or time.monotonic() - began < 0.9 * self.max_lock:
                    raise
                raise GaveWay(
                    f"it was not over within max_lock ({spelled(self.max_lock)}) and taken back, so the table is as it "
                    "was; the next run expects it to take longer", "budget", cut=True,
                ) from error  # fmt: skip
            else:
                return before
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def afterwards(self, term: Term) -> str:
        """VACUUM (ANALYZE) the new file, in the time that is left; what to say where that was not done."""
        connection = term.connection
        try:
            await term.limit()
        except GaveWay as error:
            return f"; the VACUUM after it was not begun ({error})"
        try:
            await connection.execute(statement(_FILE, "afterwards", table=self.table.sql))
        except asyncpg.PostgresError as error:
            if connection.is_closed():
                raise
            return f"; the VACUUM after it was not made ({first_line(error)}), autovacuum or the next run does it"
        return ""


def given_back(before: Record, after: Record) -> str:
    """What a rewrite has made of each part, in words."""
    gone = sum(before[name] - after[name] for name in PARTS)
    told = ", ".join(f"{WORDS[name]} {size(before[name])} to {size(after[name])}" for name in PARTS)
    return f"{size(max(gone, 0))} given back: {told}"
