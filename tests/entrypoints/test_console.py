"""What a person sees: plain lines in a pipe, bars on a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import subprocess

from tests.databases import Database

ESCAPE = "\x1b"
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3|4|9|10)\d(?:;\d+)*m")


async def on_terminal(database: Database, *words: str, **environment: str) -> str:
    """What the command line shows on a pseudo terminal; it must end well."""
    ours, theirs = pty.openpty()
    variables = {**database.environment, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    process = subprocess.Popen(
        database.command(*words), env=variables, cwd=database.folder, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = await asyncio.to_thread(read_all, ours)
    assert process.wait(30) == 0, shown
    return shown


def read_all(descriptor: int) -> str:
    parts = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError:  # Linux's word for the end of a terminal
        pass
    finally:
        os.close(descriptor)
    return b"".join(parts).decode()


async def test_in_a_pipe_there_are_plain_lines_without_escape_codes(fleet: Database) -> None:
    for words in (["plan"], ["run"], ["run", "weekly-vacuum"], ["history"]):
        done = await fleet.cli(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert ESCAPE not in done.stdout
        assert "\r" not in done.stdout
        assert max(len(line) for line in done.stdout.splitlines()) <= 100


async def test_the_lines_of_a_run_tell_tables_rows_and_how_it_ended(fleet: Database) -> None:
    rows = await fleet.values("select count(*) from events")
    done = await fleet.cli("run")
    gone = rows[0] - (await fleet.values("select count(*) from events"))[0]
    assert re.search(rf"retention +events +{gone:,} rows +\d+\.\d\d s +done", done.stdout)
    assert re.search(r"^Run 1 daily-cleanup succeeded: [\d,]+ rows deleted\.$", done.stdout, re.MULTILINE)
    assert "Absent here: " in done.stdout
    assert "Nothing to do" in (await fleet.cli("plan")).stdout


async def test_on_a_terminal_there_are_bars_and_colours(fleet: Database) -> None:
    shown = await on_terminal(fleet, "run")
    assert "━" in shown
    assert "all steps" in shown
    assert re.search(r"\d+ of \d+", shown)
    assert COLOUR.search(shown)
    assert "Run 1 daily-cleanup" in shown


async def test_no_color_is_honoured_on_a_terminal(fleet: Database) -> None:
    shown = await on_terminal(fleet, "run", NO_COLOR="1")
    assert "━" in shown
    assert not COLOUR.search(shown)


async def test_a_dumb_terminal_gets_no_escape_codes(fleet: Database) -> None:
    assert ESCAPE not in await on_terminal(fleet, "run", TERM="dumb")


async def test_json_on_a_terminal_is_a_bare_document(fleet: Database) -> None:
    shown = await on_terminal(fleet, "run", "--json")
    assert ESCAPE not in shown
    assert (shown[0], shown.rstrip()[-1]) == ("{", "}")
