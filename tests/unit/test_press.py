"""What is counted, summed up and compressed, in whatever chunks it comes."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import AsyncIterator

import pytest

from maintenance.archive.press import Press, Tally, summed, unpressed
from maintenance.errors import ArchiveError

TEXT = "1\tä\\tb\tx\n\\N\t\ty\n3\t\\\\N\\n\\x\tz\n".encode()


async def chunks(content: bytes, size: int) -> AsyncIterator[bytes]:
    for begin in range(0, len(content), size):
        yield content[begin : begin + size]


@pytest.mark.parametrize("size", [1, 2, 7, 11, 1000])
async def test_rows_keys_and_checksum_do_not_depend_on_the_chunks(size: int) -> None:
    press = Press()
    pressed = b"".join([press.pressed(chunk) async for chunk in chunks(TEXT, size)]) + press.rest()
    assert gzip.decompress(pressed) == TEXT
    assert (press.bytes, press.tally.sum.rows) == (len(pressed), 3)
    assert press.tally.sum.sha256 == hashlib.sha256(TEXT).hexdigest()
    assert press.tally.keys(2) == (["1", "ä\tb"], ["3", "\\N\nx"])
    assert press.tally.keys(0) == (None, None)
    assert await summed(unpressed(chunks(pressed, size))) == press.tally.sum


def test_a_key_that_is_too_long_is_left_out() -> None:
    tally = Tally()
    assert tally.keys(1) == (None, None)
    tally.add(b"a" * 10_000 + b"\tx\n1\tx\n")
    assert tally.keys(1) == (None, ["1"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(TEXT)[:-1], "cut short"),
        (b"", "cut short"),
        (gzip.compress(TEXT) + b"x", "behind its end"),
        (gzip.compress(TEXT)[:12] + b"\xff\xff" + gzip.compress(TEXT)[14:], "cannot be decompressed"),
        (TEXT, "cannot be decompressed"),
    ],
)
async def test_what_is_no_whole_gzip_is_refused(content: bytes, said: str) -> None:
    for size in (3, 1000):
        with pytest.raises(ArchiveError, match=said):
            await summed(unpressed(chunks(content, size)))


async def test_what_comes_out_is_bounded_however_much_it_is() -> None:
    sizes = [len(text) async for text in unpressed(chunks(gzip.compress(bytes(20 << 20)), 1 << 20))]
    assert sum(sizes) == 20 << 20
    assert max(sizes) <= 1 << 20
