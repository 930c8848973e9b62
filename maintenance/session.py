"""A session that does not wait for ever: a server that is silent for longer than it may be is given up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, TypeVar

import asyncpg
from asyncpg import Connection

_Answer = TypeVar("_Answer")


class Session(Connection):
    """A connection whose statements end within the server's own time-out and a little patience, or the connection does.

    The server ends a statement that takes too long, but a network that swallows its answer tells nobody.
    """

    patience: float | None = None
    """Seconds beyond its own limit that the answer to a statement may take; None waits for ever."""
    limit: float = 0.0
    """Seconds after which the server ends a statement."""
    silent: float | None = None
    """Seconds for which the server had not answered when it was given up; None where it was not."""

    async def execute(self, query: str, *args: object, **options: Any) -> str:
        """As the driver's; InterfaceError where the server was silent for too long."""
        return await self._answered(super().execute(query, *args, **options))

    async def fetch(self, query: str, *args: object, **options: Any) -> Any:
        """As the driver's; InterfaceError where the server was silent for too long."""
        return await self._answered(super().fetch(query, *args, **options))

    async def fetchrow(self, query: str, *args: object, **options: Any) -> Any:
        """As the driver's; InterfaceError where the server was silent for too long."""
        return await self._answered(super().fetchrow(query, *args, **options))

    async def fetchval(self, query: str, *args: object, **options: Any) -> Any:
        """As the driver's; InterfaceError where the server was silent for too long."""
        return await self._answered(super().fetchval(query, *args, **options))

    async def prepare(self, query: str, **options: Any) -> Any:
        """As the driver's; InterfaceError where the server was silent for too long."""
        return await self._answered(super().prepare(query, **options))

    async def copy_from_query(self, query: str, *args: object, output: Any, **options: Any) -> str:
        """As the driver's, `output` being a coroutine; what that takes for a chunk is not the server's time."""
        wait = self._wait
        loop = asyncio.get_running_loop()

        async def told(chunk: bytes) -> None:
            limit.reschedule(None)
            await output(chunk)
            limit.reschedule(None if wait is None else loop.time() + wait)

        try:
            async with asyncio.timeout(wait) as limit:
                return await super().copy_from_query(query, *args, output=told, **options)
        except TimeoutError as error:
            raise self._given_up(wait) from error

    async def copy_to_table(self, table_name: str, **options: Any) -> str:
        """As the driver's; InterfaceError where the server was silent for too long."""
        return await self._answered(super().copy_to_table(table_name, **options))

    @property
    def _wait(self) -> float | None:
        return None if self.patience is None else self.limit + self.patience

    def _given_up(self, wait: float | None) -> asyncpg.InterfaceError:
        # Neither a rollback nor a farewell: nobody listens, and the server takes back what was not committed.
        self.silent = wait
        self.terminate()
        return asyncpg.InterfaceError("the server did not answer")

    async def _answered(self, asked: Coroutine[Any, Any, _Answer]) -> _Answer:
        wait = self._wait
        try:
            async with asyncio.timeout(wait):
                return await asked
        except TimeoutError as error:
            raise self._given_up(wait) from error


def expect(connection: Connection, seconds: float) -> None:
    """Let the session know that the server ends each of its statements after that many seconds."""
    if isinstance(connection, Session):
        connection.limit = seconds


def allowed(connection: Connection) -> float:
    """Seconds after which the server ends each of this session's statements, as it was last told."""
    return connection.limit if isinstance(connection, Session) else math.inf
