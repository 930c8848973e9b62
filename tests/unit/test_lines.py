"""Lines of other people's text, in a log that takes some lines for commands."""

from __future__ import annotations

import io

import pytest

from maintenance.lines import PlainOutput, line, plain


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a\nb\tc\x1b[2J\u2028d\x85e\x7f", "a b c [2J d e "),
        ("Zähler ß 漢字", "Zähler ß 漢字"),
    ],
)
def test_a_name_stays_on_its_line(text: str, told: str) -> None:
    assert line(text) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("::error::x", "|::error::x"),
        ("table\n   ::error::x\n", "table\n  |::error::x\n"),
        ("\u00a0\u2003::error::x", " |::error::x"),
        ("a ##[error]b", "a ## [error]b"),
        ("'x'::regclass", "'x'::regclass"),
        ("a\r::error::x\x1b]0;t\x07", "a ::error::x ]0;t "),
    ],
)
def test_no_line_is_a_command(text: str, told: str) -> None:
    assert plain(text) == told
    file = io.StringIO()
    assert PlainOutput(file).write(text) == len(text)
    assert file.getvalue() == told
