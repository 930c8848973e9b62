"""Recovery: what can be asked of archives, a list of what they have, and the rows of a run back in their tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from asyncpg import Connection

from maintenance import policy_file
from maintenance.archive import record
from maintenance.archive.manifest import Origin
from maintenance.archive.restoration import Restored, restore
from maintenance.archive.shelf import Entry, Standing, entries, origins, settle
from maintenance.archive.store import Store, opened, required
from maintenance.catalog import find
from maintenance.database import connected
from maintenance.errors import ArchiveError, PolicyError, UsageError
from maintenance.lease import lease
from maintenance.names import Table, TableName
from maintenance.places import BLOBS, place_of
from maintenance.policy import Policy
from maintenance.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """Where to look for archives, and for which."""

    run: int | None
    archive: str | None
    """In the policy's words; None for all that it names."""
    origin: str | None
    """SERVER/DATABASE; None for the database that we log in to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What archives have of a database."""

    origin: Origin
    entries: tuple[Entry, ...]
    others: tuple[Origin, ...]
    """Other databases that they have something of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What was brought back of a run, and what was left where it is."""

    run: int
    restored: tuple[Restored, ...]
    left: tuple[Entry, ...]
    """Objects whose rows were never deleted, or are no more."""


async def archived(sought: Sought, settings: Settings) -> Listing:
    """What the archives have. Reads only.

    Raises:
        UsageError: no archive is named anywhere, or an argument cannot be used.
        ArchiveError: an archive cannot be read.
        SettingsError, PolicyError, DatabaseError: as for a plan.
    """
    policy = policy_file.load(settings.policy)
    async with (
        connected(settings, name="maintenance archives", read_only=True) as connection,
        _stores(policy, settings, sought) as stores,
    ):
        origin = await _origin(connection, settings, sought)
        return await _listing(connection, stores, origin, sought.run)


async def restored(sought: Sought, settings: Settings, table: str | None, into: str | None) -> Recovery:
    """Bring back the rows of a run, of one table or all; `into` puts them into another table. Safe to repeat.

    Raises:
        UsageError: there is nothing of that run or table, or an argument cannot be used.
        ArchiveError: an archive is damaged, or its rows do not fit.
        LeaseHeld: a run is at work.
        SettingsError, PolicyError, DatabaseError: as for a run.
    """
    policy = policy_file.load(settings.policy)
    only, other = _table(table, "--table"), _table(into, "--into")
    async with (
        connected(settings, name="maintenance restore") as connection,
        lease(connection),
        _stores(policy, settings, sought) as stores,
    ):
        for store in stores if await record.kept(connection) else []:
            with _named(store):
                await settle(connection, store)
        origin = await _origin(connection, settings, sought)
        listing = await _listing(connection, stores, origin, sought.run)
        parts = await _parts(connection, only)
        wanted = [entry for entry in listing.entries if _is_of(entry, only, parts)]
        good = [entry for entry in wanted if entry.standing is Standing.COMMITTED]
        tables = {entry.manifest.whole for entry in good if entry.manifest is not None}
        _refuse(sought, listing, table, wanted, good)
        if other is not None and len(tables) > 1:
            raise UsageError("--into takes the rows of one table; name it with --table.")
        back = await restore(connection, good, other)
        left = tuple(entry for entry in wanted if entry not in good)
        return Recovery(run=sought.run or 0, restored=tuple(back), left=left)


def _refuse(sought: Sought, listing: Listing, table: str | None, wanted: list[Entry], good: list[Entry]) -> None:
    broken = [entry.trouble for entry in listing.entries if entry.trouble is not None]
    if broken:
        raise ArchiveError(
            f"Of run {sought.run} {broken[0]}, so nobody knows what is missing without it, and nothing was "
            "brought back; mend it, or move it away to do without."
        )
    if good:
        return
    if wanted:
        states = ", ".join(sorted({entry.standing for entry in wanted}))
        raise ArchiveError(
            f"Of run {sought.run} there are {len(wanted)} objects and not one whose rows were deleted and are still "
            f"there ({states}), so there is nothing to bring back; `archives --run {sought.run}` lists them."
        )
    of = f" of table {table!r}" if table else ""
    hint = f" --origin names another database: {', '.join(map(str, listing.others))}." if listing.others else ""
    raise UsageError(
        f"The archives have nothing of run {sought.run}{of} of {listing.origin}; `archives` lists all.{hint}"
    )


async def _listing(connection: Connection, stores: list[Store], origin: Origin, run: int | None) -> Listing:
    found: list[Entry] = []
    others: set[Origin] = set()
    for store in stores:
        with _named(store):
            found += await entries(connection, store, origin, run)
            others |= set(await origins(store)) - {origin}
    return Listing(origin=origin, entries=tuple(found), others=tuple(sorted(others, key=str)))


@contextmanager
def _named(store: Store) -> Iterator[None]:
    try:
        yield
    except ArchiveError as error:
        raise ArchiveError(
            f"The archive {store.where} cannot be used ({error}), so nothing was done; see to it, and try again."
        ) from error


async def _origin(connection: Connection, settings: Settings, sought: Sought) -> Origin:
    if sought.origin is None:
        return await record.origin(connection, settings.required_target().host)
    if sought.origin.count("/") != 1 or not all(sought.origin.split("/")):
        raise UsageError(f"--origin is {sought.origin!r}; write SERVER/DATABASE as `archives` shows it.")
    return Origin.parse(sought.origin)


@asynccontextmanager
async def _stores(policy: Policy, settings: Settings, sought: Sought) -> AsyncIterator[list[Store]]:
    """The stores that the policy names, or the one that was asked for. Never one that only the database names."""
    places = set(policy.archives())
    if settings.archive_url is not None:
        places.add(BLOBS)
    if sought.archive is not None:
        try:
            places = {place_of(sought.archive)}
        except ValueError as error:
            raise UsageError(f"--archive {sought.archive!r} {error}.") from error
    if not places:
        raise UsageError(
            "No rule of the policy has an archive, so there is nothing to look at; name one with --archive."
        )
    if BLOBS in places:
        required(policy, settings, BLOBS)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(opened(place, settings)) for place in sorted(places)]


def _table(text: str | None, argument: str) -> TableName | None:
    try:
        return None if text is None else TableName.parse(text)
    except PolicyError as error:
        raise UsageError(f"{argument}: {error}") from error


async def _parts(connection: Connection, only: TableName | None) -> frozenset[Table]:
    """The partitions of a table: the rows of each are archived under its own name."""
    relation = None if only is None else await find(connection, only)
    return frozenset() if relation is None else frozenset(leaf.table for leaf in relation.leaves)


def _is_of(entry: Entry, only: TableName | None, parts: frozenset[Table]) -> bool:
    if only is None:
        return True
    manifest = entry.manifest
    if manifest is None:
        return False
    return manifest.whole in parts or (manifest.table == only.name and only.schema in (None, manifest.schema))
