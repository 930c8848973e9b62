"""The shelf: what a store has of a database, what of it counts, and what of it has been kept long enough."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from asyncpg import Connection

from maintenance.archive import record
from maintenance.archive.manifest import MANIFEST, ROWS, Manifest, Origin, State, Unreadable, manifest_of, parse
from maintenance.archive.store import Store
from maintenance.steps import Step

_AT_ONCE = 16
"""Manifests that are read side by side."""
_MOST = 1000
"""Objects that one step removes; the next run goes on."""


class Standing(StrEnum):
    """What an object is worth."""

    COMMITTED = "committed"
    """Its rows are gone from their table, and can be brought back."""
    NOT_COMMITTED = "not committed"
    """Its rows were stored and never deleted."""
    UNKNOWN = "unknown"
    """The manifest does not say, and there is no ledger to ask."""
    INCOMPLETE = "incomplete"
    """It has no manifest: a run died before that was written, and so before anything was committed."""
    REMOVED = "removed"
    """Its manifest is left, its rows are not."""
    UNREADABLE = "unreadable"
    """Its manifest cannot be understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An object in a store."""

    store: Store
    object: str
    manifest: Manifest | None
    standing: Standing
    trouble: str | None = None
    """Why its manifest cannot be understood."""


async def entries(connection: Connection, store: Store, origin: Origin, run_id: int | None) -> list[Entry]:
    """All objects of a database, or of one run of it, in the order in which they were stored.

    Raises:
        ArchiveError: the store fails.
    """
    paths = set(await store.paths(str(origin) if run_id is None else origin.run(run_id)))
    read = await _read(store, sorted(path for path in paths if path.endswith(MANIFEST)))
    manifests = [one for one in read if isinstance(one, Manifest)]
    asked = [manifest.object for manifest in manifests if manifest.state is State.STORED]
    known = await record.kept(connection)
    gone = await record.committed(connection, asked) if known and asked else set()

    def standing(manifest: Manifest) -> Standing:
        if manifest.object not in paths:
            return Standing.REMOVED
        if manifest.state is State.COMMITTED or manifest.object in gone:
            return Standing.COMMITTED
        return Standing.NOT_COMMITTED if known else Standing.UNKNOWN

    def odd(object_: str, state: Standing, trouble: str | None = None) -> Entry:
        return Entry(store=store, object=object_, manifest=None, standing=state, trouble=trouble)

    found = [Entry(store=store, object=m.object, manifest=m, standing=standing(m)) for m in manifests]
    alone = sorted(path for path in paths if path.endswith(ROWS) and manifest_of(path) not in paths)
    return [
        *sorted(found, key=_when),
        *(odd(path, Standing.INCOMPLETE) for path in alone),
        *(odd(one.path, Standing.UNREADABLE, str(one)) for one in read if isinstance(one, Unreadable)),
    ]


async def origins(store: Store) -> list[Origin]:
    """All databases that the store has something of."""
    servers = await store.folders("")
    return [Origin.parse(f"{server}/{name}") for server in servers for name in await store.folders(server)]


async def settle(connection: Connection, store: Store) -> None:
    """Let the manifests say what the ledger knows: a run died, or the store failed, between the commit and that.

    Raises:
        ArchiveError: the store fails.
    """
    for object_ in await record.unmarked(connection, store.where):
        path = manifest_of(object_)
        if path in await store.paths(path.rpartition("/")[0]):
            (manifest,) = await _read(store, [path])
            if isinstance(manifest, Unreadable):
                raise manifest
            await store.put(path, replace(manifest, state=State.COMMITTED).text())
        await record.mark(connection, [object_])


async def expire(connection: Connection, store: Store, step: Step) -> int:
    """Remove what the step's rule has stored and need not keep any longer; returns how many objects that were.

    The rows first: what dies in between leaves a manifest that still tells of them.

    Raises:
        ArchiveError: the store fails; the next run tries again.
    """
    if step.archive is None or step.archive.before is None:
        return 0
    old = await record.expired(connection, store.where, step, step.archive.before, _MOST)
    for object_ in old:
        await store.remove(object_)
        await store.remove(manifest_of(object_))
        await record.forget(connection, object_)
    return len(old)


async def _read(store: Store, paths: Sequence[str]) -> list[Manifest | Unreadable]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(path: str) -> Manifest | Unreadable:
        async with turns:
            text = b"".join([chunk async for chunk in store.read(path)])
        try:
            return parse(text, path)
        except Unreadable as error:
            return error

    return list(await asyncio.gather(*(one(path) for path in paths)))


def _when(entry: Entry) -> tuple[str, str]:
    return (entry.manifest.created_at if entry.manifest else "", entry.object)
