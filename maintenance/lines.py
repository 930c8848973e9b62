"""Lines: other people's text, such as a name or a message, on lines that steer neither a terminal nor a workflow."""

from __future__ import annotations

from typing import TextIO


def line(text: str) -> str:
    """The text on one line: a blank for every character that would end it, or steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def plain(text: str) -> str:
    """Lines of which none is a command of GitHub Actions: it takes those that begin with `::`, or have `##[` in them.

    https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
    """
    return "\n".join(_harmless(line(one)) for one in text.split("\n"))


def _harmless(one: str) -> str:
    one = one.replace("##[", "## [")
    told = one.lstrip()
    if not told.startswith("::"):
        return one
    # In place of a blank, so that a column stays where it is.
    return f"{one[: len(one) - len(told)][:-1]}|{told}"


class PlainOutput:
    """A stream that is no terminal, for lines as `plain` makes them."""

    def __init__(self, file: TextIO) -> None:
        """The stream stays open."""
        self._file = file
        self.encoding = file.encoding

    def write(self, text: str) -> int:
        """Write whole lines; returns how many characters were asked for."""
        self._file.write(plain(text))
        return len(text)

    def flush(self) -> None:
        """Hand on what is still held back."""
        self._file.flush()

    def isatty(self) -> bool:
        """It is none."""
        return False
