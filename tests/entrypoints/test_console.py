"""What a person sees: plain lines in a pipe, bars on a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.databases import Database
from tests.sessions import all_waiting, application, counted, locked

ESCAPE = "\x1b"
_QUIET = "with (autovacuum_enabled = false)"
STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
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


_REFUSING = """
create or replace function refuse() returns trigger language plpgsql as
$$ begin raise exception '% ::error title=pwned::by ##[warning]a row', repeat('x', {length}); end $$;
drop trigger if exists refuse on events;
create trigger refuse before delete on events for each row execute function refuse();
"""
_NAME = '"a\n::error title=pwned::b\x1b[31m c ::add-mask::d"'
_ODD = f"""
create table {_NAME} (i int primary key) {_QUIET};
insert into {_NAME} select generate_series(1, 5000);
delete from {_NAME} where i < 4000;
"""


def commands(text: str) -> list[str]:
    """What a runner of GitHub Actions would do, instead of showing it."""
    return [line for line in text.split("\n") if line.lstrip().startswith("::") or "##[" in line]


async def test_no_message_and_no_name_is_a_command_to_a_workflow_or_a_terminal(fleet: Database) -> None:
    for length in range(36, 76, 3):
        await fleet.execute(_REFUSING.format(length=length))
        done = await fleet.cli("run", "retention", "--tables", "events")
        assert done.returncode == 1
        assert commands(done.stdout + done.stderr) == []
    await fleet.execute(_ODD)
    await counted(fleet)
    for words in (["plan", "vacuum"], ["run", "vacuum"], ["report"], ["check"], ["history", "--run", "1"]):
        done = await fleet.cli(*words)
        assert commands(done.stdout + done.stderr) == [], words
        assert ESCAPE not in done.stdout + done.stderr
    assert ESCAPE + "[31m c" not in await on_terminal(fleet, "plan", "vacuum", NO_COLOR="1")
    done = await fleet.cli("run", "x\n::error::y")
    assert (done.returncode, commands(done.stderr)) == (2, [])


async def test_a_message_is_one_line_in_a_pipe(fleet: Database) -> None:
    await fleet.execute(_REFUSING.format(length=200))
    done = await fleet.cli("run", "retention", "--tables", "events")
    assert [line for line in done.stdout.splitlines() if "x" * 200 in line and "by ## [warning]a row" in line]


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


async def test_on_a_terminal_each_step_that_goes_on_has_its_bar(database: Database) -> None:
    for name in ("first", "second"):
        await database.execute(f"create table {name} as select generate_series(1, 300) id")
    await counted(database)
    database.write_policy("[vacuum]\ninsert_rows = 0\ninsert_fraction = 0\njobs = 2\n")
    async with locked(database, "first, second", "share update exclusive") as holder:
        shown = asyncio.create_task(on_terminal(database, "run", "vacuum"))
        await all_waiting(database, 2)
        await asyncio.sleep(0.3)  # the bars are drawn ten times a second
        await holder.execute("rollback")
    frames = (await shown).split("all steps")
    assert any("vacuum first" in frame and "vacuum second" in frame for frame in frames)
    assert re.search(r"2 of 2", frames[-1])


async def test_what_a_vacuum_could_not_remove_is_shown_and_mere_figures_are_not(database: Database) -> None:
    for name in ("kept", "gone"):
        await database.execute(f"create table {name} {_QUIET} as select generate_series(1, 300) id")
        await counted(database)
        await database.execute(f"vacuum {name}")
    # Long against the time of the reader, who would else be in the way of both.
    await asyncio.sleep(5)
    await database.execute("delete from gone where id <= 200; delete from kept where id <= 60")
    database.write_policy("[vacuum]\ndead_rows = 100\n")
    async with application(database) as reader:
        await reader.execute("begin isolation level repeatable read; select from kept")
        await database.execute("delete from kept where id <= 200")
        await counted(database)
        done = await database.cli("run", "vacuum")
    shown = " ".join(done.stdout.split())
    assert "vacuum kept: 60 dead rows removed, 140 could not be: session " in shown
    assert "vacuum gone:" not in shown


async def test_no_color_is_honoured_on_a_terminal(fleet: Database) -> None:
    shown = await on_terminal(fleet, "run", NO_COLOR="1")
    assert "━" in shown
    assert not COLOUR.search(shown)


async def test_tables_fit_a_terminal_of_80_columns_without_a_broken_word(fleet: Database) -> None:
    for words in (["plan"], ["run"], ["run", "weekly-vacuum"], ["history"], ["history", "--run", "1"], ["report"]):
        shown = await on_terminal(fleet, *words, COLUMNS="80", NO_COLOR="1", DAILY_CLEANUP_SCHEDULE="0 0 2 * * *")
        # What the bars have drawn is gone by the end.
        lines = [STYLE.sub("", line).rstrip() for line in shown.replace("\r\n", "\n").split("\n")]
        lines = [line.rpartition("\r")[2] for line in lines]
        assert max(map(len, lines)) <= 80, words
        text = " ".join(" ".join(lines).split())
        for word in ("daily-cleanup", "idempotency_keys", "unreferenced", "profiles.security_policy_hashes"):
            stem = word[:-1]
            assert word in text or stem not in text, (words, word)


async def test_tables_in_a_pipe_are_as_narrow(fleet: Database) -> None:
    for words in (["plan"], ["run"], ["history"], ["report"]):
        table = [line for line in (await fleet.cli(*words)).stdout.splitlines() if line.startswith(" ")]
        assert max(map(len, table)) <= 80, words


async def test_colours_are_for_a_terminal_that_wants_them(fleet: Database) -> None:
    await fleet.run()
    for words in (["plan"], ["history"], ["history", "--run", "1"], ["report"]):
        assert (words == ["plan"]) or COLOUR.search(await on_terminal(fleet, *words))
        assert not COLOUR.search(await on_terminal(fleet, *words, NO_COLOR="1"))
        assert ESCAPE not in (await fleet.cli(*words)).stdout


async def test_a_dumb_terminal_gets_no_escape_codes(fleet: Database) -> None:
    assert ESCAPE not in await on_terminal(fleet, "run", TERM="dumb")


async def test_json_on_a_terminal_is_a_bare_document(fleet: Database) -> None:
    shown = await on_terminal(fleet, "run", "--json")
    assert ESCAPE not in shown
    assert (shown[0], shown.rstrip()[-1]) == ("{", "}")


@pytest.mark.parametrize("words", [("plan",), ("plan", "--json"), ("run", "retention"), ("report", "--json")])
async def test_a_reader_who_has_seen_enough_hears_nothing_more(fleet: Database, words: tuple[str, ...]) -> None:
    command = f"{shlex.join(fleet.command(*words))} | head -c 1"
    done = await asyncio.to_thread(
        subprocess.run, command, shell=True, env=fleet.environment, cwd=fleet.folder, capture_output=True, text=True
    )
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
async def test_an_output_that_is_full_is_told(fleet: Database) -> None:
    command = f"{shlex.join(fleet.command('plan', '--json'))} > /dev/full"
    done = await asyncio.to_thread(
        subprocess.run, command, shell=True, env=fleet.environment, cwd=fleet.folder, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (
        1, "error: what was to be shown cannot be written (No space left on device); what was done is done.\n",
    )  # fmt: skip
