"""The meter: what the server and the clock show of a stretch of work, right after a checkpoint."""

from __future__ import annotations

import time
from types import TracebackType

from benchmarks.state import Clone


class Meter:
    """`async with meter:` around the work itself, from before its connection is opened until it is closed."""

    def __init__(self, clone: Clone) -> None:
        self._clone = clone
        self._started = 0.0
        self._written = 0
        self.began = 0.0
        """As the machine's clock has it, for what another process saw meanwhile."""
        self.ended = 0.0
        self.seconds = 0.0
        """Of the block; what a contender that was cut off would have needed is more."""
        self.wal = 0
        """Bytes."""
        self.database: float | None = None
        """Seconds that the server planned and executed; None where pg_stat_statements is absent."""
        self.statement: float | None = None
        """Seconds of the longest statement."""

    async def __aenter__(self) -> Meter:
        site = self._clone.site
        await site.checkpoint()
        await site.forget(self._clone.database)
        self._written = await site.wal()
        self.began, self._started = time.time(), time.perf_counter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds, self.ended = time.perf_counter() - self._started, time.time()
        site = self._clone.site
        self.wal = await site.wal() - self._written
        worked = await site.worked(self._clone.database)
        if worked is not None:
            self.database, self.statement = worked
