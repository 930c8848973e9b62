"""Deposits: one object on its way into a store, and the look that sees whether it got there as it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from maintenance.archive.press import Press, Sum, summed, unpressed
from maintenance.archive.store import CHUNK, Store, Writing
from maintenance.errors import ArchiveError

PATIENCE = 30.0
"""Seconds that a store may take over a chunk, and again over all that is left when the rows are through. The server
ends a transaction that is idle for 60, and what we delete is locked all the time."""


class Deposit:
    """Takes the text of rows as it comes, and keeps of it no more than a chunk."""

    def __init__(self, store: Store, path: str, patience: float) -> None:
        self.press = Press()
        self._store = store
        self._path = path
        self._patience = patience
        self._waiting = bytearray()
        self._writing: Writing | None = None
        self._failure: ArchiveError | None = None

    async def take(self, text: bytes) -> None:
        """Take more. After a failure of the store it is dropped, so that the server gets through its statement."""
        if self._failure is not None:
            return
        self._waiting += self.press.pressed(text)
        try:
            while len(self._waiting) >= CHUNK:
                async with asyncio.timeout(self._patience):
                    await self._flushed()
        except TimeoutError:
            self._failure = self._late()
        except ArchiveError as error:
            self._failure = error

    async def sealed(self) -> Sum:
        """Make it durable, read it back, and return what both ends agree on.

        Raises:
            ArchiveError: the store fails, takes too long, or has something else than it was given.
        """
        if self._failure is not None:
            raise self._failure
        self._waiting += self.press.rest()
        sent = self.press.tally.sum
        try:
            async with asyncio.timeout(self._patience):
                await self._flushed()
                if self._writing is not None:
                    await self._writing.seal()
                found = await summed(unpressed(self._store.read(self._path)))
        except TimeoutError:
            raise self._late() from None
        if found != sent:
            raise ArchiveError(f"{self._path} was read back with {found.rows:,} rows or another checksum")
        return found

    async def in_time(self, call: Awaitable[None]) -> None:
        """Wait for what belongs to it, not longer than for itself.

        Raises:
            ArchiveError: it took too long.
        """
        try:
            async with asyncio.timeout(self._patience):
                await call
        except TimeoutError:
            raise self._late() from None

    async def abandon(self) -> None:
        """Leave nothing, if the store lets us."""
        try:
            if self._writing is not None:
                async with asyncio.timeout(1.0):
                    await self._writing.abandon()
        except (ArchiveError, TimeoutError):
            # It has its place in nobody's way, and no manifest.
            return

    async def _flushed(self) -> None:
        if self._writing is None:
            self._writing = await self._store.create(self._path)
        chunk = bytes(self._waiting[:CHUNK])
        del self._waiting[:CHUNK]
        await self._writing.write(chunk)

    def _late(self) -> ArchiveError:
        return ArchiveError(f"it did not get through with {self._path} within {self._patience:g} s")
