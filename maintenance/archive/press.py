"""Press: rows as COPY has them, compressed as they pass by, counted, summed up; and the way back, in bounded chunks."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from maintenance.errors import ArchiveError

_GZIP = 31
_LEVEL = 3
"""Rows are locked meanwhile: level 6 takes twice the time for some percent."""
_PIECE = 1 << 20
"""Bytes that are compressed, or come out, at a time: what a single large row needs beside itself."""
_PREFIX = 8192
"""Bytes of a row in which its key is looked for; the key's columns come first."""
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """What an object must have when it is read: rows, and the SHA-256 of their text before it is compressed."""

    rows: int
    sha256: str


class Tally:
    """Counts and sums up text that passes by. In COPY's text format each row is one line, whatever is in it."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._rows = 0
        self._line = b""
        """The beginning of the line that is not over yet."""
        self._first: bytes | None = None
        self._last: bytes | None = None

    def add(self, text: bytes) -> None:
        """Text that follows what was there before."""
        self._hash.update(text)
        lines = text.count(b"\n")
        if lines == 0:
            self._line += text[: _PREFIX - len(self._line)]
            return
        end = text.rindex(b"\n")
        begin = text.rfind(b"\n", 0, end) + 1
        if self._first is None:
            self._first = (self._line + text[:_PREFIX]).partition(b"\n")[0][:_PREFIX]
        self._last = (self._line if begin == 0 else b"") + text[begin : min(end, begin + _PREFIX)]
        self._line = text[end + 1 : end + 1 + _PREFIX]
        self._rows += lines

    @property
    def sum(self) -> Sum:
        """Of all so far."""
        return Sum(rows=self._rows, sha256=self._hash.hexdigest())

    def keys(self, columns: int) -> tuple[list[str] | None, list[str] | None]:
        """The first so many values of the first and the last row; None where there are none, or they are too long."""
        return _values(self._first, columns), _values(self._last, columns)


class Press:
    """Compresses text in the form of gzip, and counts it."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.bytes = 0
        """Of what came out."""
        self._gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)

    def pressed(self, text: bytes) -> bytes:
        """What comes out as this goes in, at once or later."""
        self.tally.add(text)
        return self._out(b"".join(self._gzip.compress(text[i : i + _PIECE]) for i in range(0, len(text), _PIECE)))

    def rest(self) -> bytes:
        """What comes out in the end."""
        return self._out(self._gzip.flush())

    def _out(self, chunk: bytes) -> bytes:
        self.bytes += len(chunk)
        return chunk


async def unpressed(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The text again, in chunks of at most a MiB.

    Raises:
        ArchiveError: it is no gzip, is cut short, or has something behind its end.
    """
    gzip = zlib.decompressobj(_GZIP)
    try:
        async for chunk in chunks:
            waiting = chunk
            while waiting:
                if gzip.eof:
                    raise ArchiveError("it has something behind its end")
                yield gzip.decompress(waiting, _PIECE)
                waiting = gzip.unconsumed_tail or gzip.unused_data
        while text := gzip.decompress(b"", _PIECE):
            yield text
    except zlib.error as error:
        raise ArchiveError(f"it cannot be decompressed ({error})") from error
    if not gzip.eof:
        raise ArchiveError("it is cut short")


async def summed(texts: AsyncIterator[bytes]) -> Sum:
    """Count and sum up, and keep nothing."""
    tally = Tally()
    async for text in texts:
        tally.add(text)
    return tally.sum


def _values(line: bytes | None, columns: int) -> list[str] | None:
    if line is None or columns == 0:
        return None
    fields = line.split(b"\t")
    # The last one may be cut off, unless the whole row fits.
    if len(fields) < columns or (len(fields) == columns and len(line) >= _PREFIX):
        return None
    return [_unescaped(field.decode("utf-8", "replace")) for field in fields[:columns]]


def _unescaped(field: str) -> str:
    parts = iter(field)
    return "".join(_ESCAPES.get(c := next(parts, ""), c) if char == "\\" else char for char in parts)
