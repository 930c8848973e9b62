"""Checkup: the verb `check`, what it shows, and the script that it writes."""

from __future__ import annotations

import argparse
import asyncio
import textwrap
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.text import Text

from maintenance.answer import Answer
from maintenance.check.examination import Examination, examined_target
from maintenance.check.script import script
from maintenance.check.view import Unseen
from maintenance.console import short
from maintenance.documents import Document
from maintenance.errors import UsageError
from maintenance.findings import Finding, Severity
from maintenance.lines import line
from maintenance.settings import Settings

_MOST = 5
"""Findings of one code that a person is shown; the document has all of them."""
_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.ADVICE: "cyan"}
_INDENT = 4


def check(options: argparse.Namespace, settings: Settings) -> tuple[Answer, bool]:
    """What was found, and whether it keeps the policy's work from being done. Writes the script that was asked for.

    Raises:
        UsageError: the script's file cannot be written.
        SettingsError, PolicyError: the settings or the policy file cannot be used.
    """
    examination = asyncio.run(examined_target(settings))
    if options.fix_script is not None:
        _write(Path(options.fix_script), script(examination))
    answer = Answer(document=check_document(examination), show=lambda console: show_examination(console, examination))
    return answer, examination.failed


def check_document(examination: Examination) -> Document:
    """`{database, as_of, findings: [...], unseen: [...], looks: [...]}`, the worst first; `cure` is SQL or null."""
    return {
        "database": examination.database,
        "as_of": None if examination.as_of is None else examination.as_of.isoformat(),
        "findings": [{**asdict(one), "severity": one.severity.value} for one in examination.findings],
        "unseen": [asdict(one) for one in examination.unseen],
        "looks": list(examination.looks),
    }


def show_examination(console: Console, examination: Examination) -> None:
    """One finding a line, the worst first, a summary last; wrapped on a terminal only, so that programs get lines."""
    for _, group in groupby(examination.findings, key=lambda one: one.code):
        together = list(group)
        shown = together if len(together) <= _MOST + 1 else together[:_MOST]
        for one in shown:
            # A person has read a moment ago what it leads to; a program takes each line by itself.
            told = console.is_terminal and one is not shown[0] and one.remedy == shown[0].remedy
            _say(console, one.severity, _COLOURS[one.severity], f"{one.code} {_about(one, brief=told)}")
        if len(shown) < len(together):
            one = together[0]
            rest = f"{one.code} and {len(together) - len(shown):,} more; --json has all of them"
            _say(console, one.severity, _COLOURS[one.severity], rest)
    for unseen in _few(console, examination.unseen):
        _say(console, "unseen", "magenta", f"{unseen.look}: {unseen.what}: {unseen.why}")
    console.print(Text(_summary(examination)), soft_wrap=not console.is_terminal)


def _few(console: Console, unseen: tuple[Unseen, ...]) -> tuple[Unseen, ...]:
    if len(unseen) > 2 * _MOST:
        _say(console, "unseen", "magenta", f"{len(unseen) - 2 * _MOST:,} more than these; --json has all of them")
    return unseen[: 2 * _MOST]


def _about(one: Finding, *, brief: bool) -> str:
    subject = f"{short(one.subject)}: " if one.subject else ""
    why = "" if brief else f"; {one.consequence}; {one.remedy}"
    return " ".join(f"{subject}{one.fact}{why}{_cure(one.cure)}".split())


def _cure(cure: str | None) -> str:
    """The statements on one line; a comment among them would take the rest of it with it."""
    if cure is None:
        return ""
    lines = cure.split("\n")
    first = "".join(f" ({line.removeprefix('-- ')})" for line in lines if line.startswith("-- "))
    return f"{first}: {' '.join(line for line in lines if not line.startswith('-- '))}"


def _say(console: Console, word: str, colour: str, text: str) -> None:
    text = line(text)
    if not console.is_terminal:
        console.print(Text(f"{word:<7} {text}"), soft_wrap=True)
        return
    lines = textwrap.wrap(
        f"{word:<7} {text}", max(console.width, 20), subsequent_indent=" " * _INDENT, break_on_hyphens=False
    )
    told = Text("\n".join(lines))
    told.stylize(colour, 0, len(word))
    console.print(told, soft_wrap=True)


def _summary(examination: Examination) -> str:
    counts = {severity: len(examination.of(severity)) for severity in Severity}
    words = {Severity.ERROR: "error", Severity.WARNING: "warning"}
    told = ", ".join(
        f"{number:,} {words[severity] + ('s' if number != 1 else '') if severity in words else 'advice'}"
        for severity, number in counts.items()
    )
    unseen = f"; {len(examination.unseen):,} could not be looked at" if examination.unseen else ""
    return f"Check of {examination.database}: {told}{unseen}."


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--fix-script: {path} cannot be written ({error.strerror}); name another file.") from error
