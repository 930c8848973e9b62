"""A store in a folder of this machine: written beside its place, flushed to the disk, then renamed."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from maintenance.archive.store import CHUNK
from maintenance.errors import ArchiveError

_PART = ".part"
_P = ParamSpec("_P")
_R = TypeVar("_R")


class Files:
    """The folder must be there: one that is made for a disk that is not mounted would hide what is missing."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.where = root.as_uri()

    async def create(self, path: str) -> _File:
        """The object's folders are made durable with it."""
        place = self._place(path)
        await _done(self._made, place.parent)
        return _File(place, await _done(_begun, place))

    async def put(self, path: str, content: bytes) -> None:
        """The old content or the new one, whatever happens."""
        file = await self.create(path)
        await file.write(content)
        await file.seal()

    async def read(self, path: str) -> AsyncIterator[bytes]:
        """From the disk's cache, as a rule."""
        file = await _done(self._place(path).open, "rb")
        try:
            while chunk := await _done(file.read, CHUNK):
                yield chunk
        finally:
            file.close()

    async def paths(self, folder: str) -> list[str]:
        """In the order of their names."""
        return await _done(self._found, folder)

    async def folders(self, folder: str) -> list[str]:
        """In the order of their names."""
        place = self._place(folder)
        return await _done(lambda: sorted(p.name for p in place.iterdir() if p.is_dir()) if place.is_dir() else [])

    async def remove(self, path: str) -> None:
        """Its folder stays."""
        await _done(self._place(path).unlink, missing_ok=True)

    def _found(self, folder: str) -> list[str]:
        if not self._root.is_dir():
            raise FileNotFoundError(2, "No such folder", str(self._root))
        files = (path for path in self._place(folder).rglob("*") if path.is_file() and path.suffix != _PART)
        return sorted(path.relative_to(self._root).as_posix() for path in files)

    def _place(self, path: str) -> Path:
        return self._root.joinpath(path)

    def _made(self, folder: Path) -> None:
        if folder.is_dir():
            return
        if folder == self._root:
            raise FileNotFoundError(2, "No such folder", str(folder))
        self._made(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        _flushed(folder.parent)


class _File:
    def __init__(self, place: Path, begun: tuple[Path, BinaryIO]) -> None:
        self._place = place
        self._part, self._file = begun

    async def write(self, chunk: bytes) -> None:
        await _done(self._file.write, chunk)

    async def seal(self) -> None:
        await _done(self._sealed)

    async def abandon(self) -> None:
        await _done(self._abandoned)

    def _sealed(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self._place)
        _flushed(self._place.parent)

    def _abandoned(self) -> None:
        # What it had in its buffer may not fit on the disk either.
        try:
            self._file.close()
        finally:
            self._part.unlink(missing_ok=True)


def _begun(place: Path) -> tuple[Path, BinaryIO]:
    part = place.with_name(f"{secrets.token_hex(8)}{_PART}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return part, os.fdopen(descriptor, "wb")


def _flushed(folder: Path) -> None:
    """Let the folder's own entries survive a crash."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _done(call: Callable[_P, _R], *values: _P.args, **named: _P.kwargs) -> _R:
    """Off the event loop, as a disk may be slow."""
    with _told():
        return await asyncio.to_thread(call, *values, **named)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArchiveError(f"{error.filename or 'the folder'}: {error.strerror or error}") from error
