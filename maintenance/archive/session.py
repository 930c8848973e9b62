"""A step's session with its archive: opened before the first batch, tidied up after the last."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asyncpg import Connection

from maintenance.archive.archiver import Archiver, fitted
from maintenance.archive.shelf import expire, settle
from maintenance.archive.store import opened
from maintenance.errors import ArchiveError
from maintenance.settings import Settings
from maintenance.steps import Step

_LOG = logging.getLogger("maintenance")


@asynccontextmanager
async def archiving(
    connection: Connection, settings: Settings, run_id: int, step: Step, step_id: int
) -> AsyncIterator[Archiver]:
    """The archiver of a step that has an archive; what an earlier run left unsaid there is said first."""
    where = "" if step.archive is None else step.archive.where
    async with opened(where, settings) as store:
        try:
            await settle(connection, store)
        except ArchiveError as error:
            _LOG.warning("Archives of an earlier run could not be marked as committed, a later one does it: %s", error)
        yield await fitted(connection, store, settings.required_target().host, run_id, step, step_id)


async def tidied(connection: Connection, archiver: Archiver, step: Step, *, done: bool) -> str | None:
    """Write down what was marked and, after a step that is `done`, remove what is too old; returns what to tell."""
    await archiver.told(connection)
    if not done:
        return None
    try:
        removed = await expire(connection, archiver.store, step)
    except ArchiveError as error:
        return f"old archives could not be removed, the next run tries again: {error}"
    return f"{removed:,} object{'s' if removed > 1 else ''} past archive_keep removed" if removed else None
