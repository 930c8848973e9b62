"""A store that fails, a run that dies: no row is ever gone without its archive, and none that stayed counts as gone."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from maintenance.archive.files import Files
from maintenance.models import RunStatus, StopReason
from maintenance.runs import Run
from tests.archives import contents, filled, manifests, objects, restored, rule, states
from tests.databases import ROOT, Database
from tests.sessions import sleeping

# Not ru_maxrss, which begins with what the process had that forked this one.
_MEASURED = """
import re, sys
from pathlib import Path
from maintenance.__main__ import main
code = main(["run", "retention", "--json"])
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1], file=sys.stderr)
sys.exit(code)
"""
_MOST = 90 << 10
_SLOW_COMMIT = """
create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep({seconds}); return null; end $$;
create constraint trigger slow after delete on log deferrable initially deferred for each row
    when (old.id = 1) execute function slow()
"""


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


async def blocked(database: Database, run: Run, said: str) -> None:
    assert (run.status, run.stop_reason, run.rows) == (RunStatus.FAILED, StopReason.BLOCKED, 0)
    assert said in (run.error or "")
    assert "so nothing was deleted in this batch" in (run.error or "")
    assert len(await contents(database)) == 101
    assert await database.values("select count(*) from maintenance.archive") == [0]


async def test_a_folder_that_is_not_there_or_is_a_file_blocks_the_step(database: Database, shelf: Path) -> None:
    await filled(database)
    shelf.rmdir()
    await blocked(database, await database.run("retention", policy=rule(shelf)), "archive: No such folder")
    assert not shelf.exists()
    shelf.write_text("")
    await blocked(database, await database.run("retention"), "archive: No such folder")
    shelf.unlink()
    shelf.mkdir()
    assert (await database.run("retention")).rows == 100


async def test_a_disk_that_is_full_blocks_the_step_and_leaves_no_part(database: Database, shelf: Path) -> None:
    await filled(database)
    await database.execute(
        "update log set note = (select string_agg(md5(n::text || id), '') from generate_series(1, 50) n)"
    )
    database.write_policy(rule(shelf))
    done = await asyncio.to_thread(
        subprocess.run,
        ["/bin/sh", "-c", f"ulimit -f 8; exec {sys.executable} -m maintenance run retention --json"],
        env=database.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    run = json.loads(done.stdout)
    assert (done.returncode, run["stop_reason"], run["rows"]) == (1, "blocked", 0)
    assert "File too large" in run["error"]
    assert len(await contents(database)) == 101
    assert [path for path in shelf.rglob("*") if path.is_file()] == []


class Forgetful(Files):
    """A folder whose disk gives back something else than it was given."""

    async def read(self, path: str) -> AsyncIterator[bytes]:
        async for chunk in super().read(path):
            yield chunk[:-8] + bytes([chunk[-8] ^ 1]) + chunk[-7:]


class Cutting(Files):
    """A folder whose disk loses the end."""

    async def read(self, path: str) -> AsyncIterator[bytes]:
        async for chunk in super().read(path):
            yield chunk[:-1]


@pytest.mark.parametrize("disk", [Forgetful, Cutting])
async def test_what_is_read_back_otherwise_is_not_deleted(
    database: Database, shelf: Path, disk: type[Files], monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(database)
    with monkeypatch.context() as patch:
        patch.setattr("maintenance.archive.files.Files", disk)
        await blocked(database, await database.run("retention", policy=rule(shelf)), "fails (")
    assert manifests(shelf) == []
    assert await states(database) == ["incomplete"]
    assert (await database.run("retention")).rows == 100


async def test_a_commit_that_the_server_refuses_takes_its_archive_back(database: Database, shelf: Path) -> None:
    await filled(database)
    await database.execute(_SLOW_COMMIT.format(seconds=0).replace("perform", "raise 'no'; perform"))
    run = await database.run("retention", policy=rule(shelf))
    assert (run.status, run.rows, len(await contents(database))) == (RunStatus.FAILED, 0, 101)
    assert (objects(shelf), manifests(shelf), await states(database)) == ([], [], [])


async def test_a_batch_that_a_limit_refuses_leaves_nothing_in_the_archive(database: Database, shelf: Path) -> None:
    await filled(database, 1000)
    await database.execute("create index on log (at)")
    await database.execute("update log set at = at - id * interval '1 hour' where id > 0")
    before = await contents(database)
    policy = rule(shelf) + "ramp = 300\n"
    runs = [await database.run("retention", policy=policy) for _ in range(2)]
    assert all(0 < run.rows <= 300 and run.stop_reason is StopReason.GUARD for run in runs), [run.rows for run in runs]
    assert set(await states(database)) == {"committed"}
    for run in runs:
        assert sum(one["inserted"] for one in await restored(database, run.id)) == run.rows
    assert await contents(database) == before


async def committing(database: Database) -> Process:
    """The command line in the middle of the commit of its first batch."""
    process = await asyncio.create_subprocess_exec(
        *database.command("run", "retention"), stdout=DEVNULL, stderr=DEVNULL, cwd=ROOT, env=database.environment
    )
    await sleeping(database)
    return process


async def test_after_a_kill_before_the_commit_the_rows_are_there_and_the_next_run_takes_them(
    database: Database, shelf: Path
) -> None:
    await filled(database)
    before = await contents(database)
    await database.execute(_SLOW_COMMIT.format(seconds=60))
    database.write_policy(rule(shelf))
    process = await committing(database)
    process.kill()
    await process.wait()
    await database.execute(f"select pg_terminate_backend({await sleeping(database)})")
    assert await states(database) == ["not committed"]
    await database.execute("drop trigger slow on log")
    run = await database.run("retention")
    assert (run.rows, len(await contents(database))) == (100, 1)
    assert await states(database) == ["not committed", "committed"]
    assert "(not committed)" in await restored(database, run.id - 1, exit_code=1)
    assert [(one["rows"], one["inserted"]) for one in await restored(database, run.id)] == [(100, 100)]
    assert await contents(database) == before


async def gone(database: Database) -> None:
    """Wait until the server has got through with the commit."""
    for _ in range(200):
        if len(await contents(database)) == 1:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the server did not commit within 10 s")


@pytest.mark.parametrize("finder", ["the next run", "restore"])
async def test_a_commit_whose_answer_nobody_heard_is_known_by_the_ledger(
    database: Database, shelf: Path, finder: str
) -> None:
    await filled(database)
    before = await contents(database)
    await database.execute(_SLOW_COMMIT.format(seconds=1))
    database.write_policy(rule(shelf))
    process = await committing(database)
    process.kill()
    await process.wait()
    await gone(database)
    (path,) = manifests(shelf)
    assert json.loads(path.read_text())["state"] == "stored"
    assert await states(database) == ["committed"]
    if finder == "the next run":
        assert (await database.run("retention")).rows == 0
        assert json.loads(path.read_text())["state"] == "committed"
        assert await database.values("select marked from maintenance.archive") == [True]
    assert (await restored(database, 1))[0]["inserted"] == 100
    assert json.loads(path.read_text())["state"] == "committed"
    assert await contents(database) == before


async def test_a_store_that_fails_after_the_commit_does_not_undo_it(
    database: Database, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(database)

    class Late(Files):
        """A folder whose disk fails at the second manifest: that of what is committed."""

        async def put(self, path: str, content: bytes) -> None:
            if b'"committed"' in content:
                await super().put(f"{objects(shelf)[0].relative_to(shelf)}/no folder", content)
            await super().put(path, content)

    with monkeypatch.context() as patch:
        patch.setattr("maintenance.archive.files.Files", Late)
        run = await database.run("retention", policy=rule(shelf))
    assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 100)
    assert await states(database) == ["committed"]
    assert await database.values("select marked from maintenance.archive") == [False]
    assert (await restored(database, run.id))[0]["inserted"] == 100


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc, to see how much memory was used")
async def test_memory_stays_flat_however_large_the_rows_are(database: Database, shelf: Path) -> None:
    await database.execute(
        "create table log (id int primary key, at timestamptz, note text);"
        "insert into log select n, '2001-01-01', repeat(md5(n::text), 50000) from generate_series(1, 100) n"
    )
    database.write_policy(rule(shelf))

    def measured() -> Any:
        return subprocess.run(
            [sys.executable, "-c", _MEASURED], env=database.environment, capture_output=True, text=True, check=True
        )

    done = await asyncio.to_thread(measured)
    assert json.loads(done.stdout)["rows"] == 100
    assert sum(json.loads(path.read_text())["rows"] for path in manifests(shelf)) == 100
    assert int(done.stderr.split()[-1]) < _MOST
