"""Stores: where an archive's objects are. An object is written once, as a whole, or it is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from maintenance.errors import SettingsError
from maintenance.places import BLOBS
from maintenance.policy import Policy
from maintenance.settings import Settings

CHUNK = 4 << 20
"""Bytes that are written or read at a time."""


class Writing(Protocol):
    """An object that is being written; nobody sees it before it is sealed."""

    async def write(self, chunk: bytes) -> None:
        """Add to it."""

    async def seal(self) -> None:
        """Make it durable, and let it be seen."""

    async def abandon(self) -> None:
        """Leave nothing of it, as far as that is in our hands."""


class Store(Protocol):
    """A folder of objects. Paths have slashes in between; all calls raise ArchiveError where the store fails."""

    where: str
    """What tells it from other stores; it has no secret in it."""

    async def create(self, path: str) -> Writing:
        """Begin an object of a path that nothing has had before."""

    async def put(self, path: str, content: bytes) -> None:
        """Write a small object at once, in place of one that may be there."""

    def read(self, path: str) -> AsyncIterator[bytes]:
        """The object's content, in chunks."""

    async def paths(self, folder: str) -> list[str]:
        """Paths of all objects below a folder; none where there is no such folder."""

    async def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder."""

    async def remove(self, path: str) -> None:
        """Let the object be gone, also where it was not there."""


def required(policy: Policy, settings: Settings, *more: str) -> None:
    """See that each archive that the policy names, and `more`, has its place.

    Raises:
        SettingsError: the storage account's is not set.
    """
    if BLOBS in policy.archives().union(more) and settings.archive_url is None:
        raise SettingsError(
            f'archive = "{BLOBS}" is asked for and MAINTENANCE_ARCHIVE_URL is not set, so nothing was done; set it '
            "to https://ACCOUNT.blob.core.windows.net/CONTAINER."
        )


@asynccontextmanager
async def opened(where: str, settings: Settings) -> AsyncIterator[Store]:
    """The store that the policy calls `where`.

    Raises:
        ArchiveError: it cannot be reached.
    """
    if where != BLOBS:
        from maintenance.archive.files import Files

        yield Files(Path(unquote(urlsplit(where).path)))
        return
    from maintenance.archive.blobs import blobs

    if settings.archive_url is None:
        raise SettingsError(f'archive = "{BLOBS}" needs MAINTENANCE_ARCHIVE_URL; set it to the container\'s URL.')
    async with blobs(settings.archive_url, settings.required_target()) as store:
        yield store
