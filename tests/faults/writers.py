"""An application that keeps writing to the rows that are being judged, and remembers what it has committed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import asyncpg
from asyncpg import Connection

from tests.databases import Database
from tests.sessions import application

_NEW = 1_000_000
"""Ids of rows that the application adds are greater."""
_SESSIONS = 4
_PAUSE = 0.001
_SLOW, _OPEN = 0.3, 0.01
"""Of the transactions that stay open for a while, the share and the seconds."""
_START = datetime(2024, 1, 1)  # noqa: DTZ001 - the column has no zone


@dataclass(slots=True, kw_only=True)
class Writers:
    """What was committed, by what it means for the rows."""

    chance: random.Random
    refreshed: set[int] = field(default_factory=set)
    """Visits that were given a moment of today."""
    visits: set[int] = field(default_factory=set)
    twins: dict[int, tuple[int, datetime]] = field(default_factory=dict)
    """New duplicates: number of their key, and moment."""
    touched: dict[int, datetime] = field(default_factory=dict)
    """Twins that were given a newer moment."""
    children: set[int] = field(default_factory=set)
    """Those of devices that came back, written in the transaction that brought them back, or after it."""
    new_children: set[int] = field(default_factory=set)
    registered: set[int] = field(default_factory=set)
    """Parents that were gone and are back."""
    written: int = 0

    @property
    def added(self) -> int:
        """Rows that were not there before."""
        return len(self.visits) + len(self.twins) + len(self.new_children) + len(self.registered)

    async def refresh(self, connection: Connection, _: int) -> None:
        """As an upsert of a row that expires."""
        id_ = self.chance.randrange(1, 3001)
        if await connection.fetchval("update visits set at = now() where id = $1 returning id", id_):
            self.refreshed.add(id_)

    async def visit(self, connection: Connection, new: int) -> None:
        """A new row of today."""
        await connection.execute("insert into visits values ($1, now())", new)
        self.visits.add(new)

    async def twin(self, connection: Connection, new: int) -> None:
        """A new duplicate, older or newer than those that are there."""
        key, at = self.chance.randrange(6000), _START + timedelta(days=self.chance.randrange(12))
        await connection.execute("insert into twins values ($1, md5($2::int::text)::uuid, $3)", new, key, at)
        self.twins[new] = key, at

    async def touch(self, connection: Connection, _: int) -> None:
        """A duplicate becomes the newest of its key, or so it may."""
        id_ = self.chance.randrange(1, 9001)
        sql = "update twins set at = at + interval '5 days' where id = $1 returning at"
        at = await connection.fetchval(sql, id_)
        if at is not None:
            self.touched[id_] = max(at, self.touched.get(id_, at))

    async def register(self, connection: Connection, new: int) -> None:
        """A device registers anew while its orphans are deleted, writes to them, and adds one that is old enough."""
        device = self.chance.randrange(501, 700)
        parent = "insert into parents values ($1::int, $1::int::text) on conflict do nothing"
        await connection.execute(parent, device)
        back = await connection.fetch(
            "update children set note = 'b' where parent = $1::int::text returning id", device
        )
        child = "insert into children values ($1, $2::int::text, now() - interval '3 days')"
        await connection.execute(child, new, device)
        self.registered.add(device)
        self.new_children.add(new)
        self.children |= {new, *(row["id"] for row in back)}

    async def write(self, database: Database, until: asyncio.Event) -> None:
        """Write with hardly a rest; who loses a deadlock has committed nothing."""
        acts: list[Callable[[Connection, int], Awaitable[None]]] = [
            self.refresh, self.visit, self.twin, self.touch, self.register,
        ]  # fmt: skip
        async with application(database) as connection:
            while not until.is_set():
                self.written += 1
                act, new = self.chance.choice(acts), _NEW + self.written
                try:
                    # One transaction for all statements of an act; it is remembered once its last one was taken.
                    async with connection.transaction():
                        await act(connection, new)
                        if self.chance.random() < _SLOW:
                            # So that a batch comes to wait for it, and judges what it finds then.
                            await asyncio.sleep(_OPEN)
                except asyncpg.DeadlockDetectedError:
                    continue
                await asyncio.sleep(_PAUSE)


@asynccontextmanager
async def writing(database: Database, chance: random.Random) -> AsyncIterator[Writers]:
    """An application of several sessions at work inside the block."""
    writers, over = Writers(chance=chance), asyncio.Event()
    tasks = [asyncio.create_task(writers.write(database, over)) for _ in range(_SESSIONS)]
    try:
        yield writers
    finally:
        over.set()
        await asyncio.gather(*tasks)
