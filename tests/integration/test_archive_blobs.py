"""Archives in Azure Storage: Azurite, the real client, the real azure-identity, and no key."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.archives import contents, filled, restored, states
from tests.blobs import Blobs, blobs
from tests.databases import Database
from tests.storage import PROGRAM

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="Azurite is not installed: make azurite")
POLICY = '[[retention]]\ntable = "log"\ncolumn = "at"\nkeep = "30 days"\narchive = "azure-blob"\n'
_IMPATIENT = """
import sys
from maintenance.__main__ import main
from maintenance.archive import archiver
archiver.PATIENCE = 0.5
sys.exit(main(["run", "retention", "--json"]))
"""


@pytest.fixture
async def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Blobs]:
    folder = tmp_path / "azurite"
    folder.mkdir()
    async with blobs(folder, monkeypatch) as running:
        yield running


@pytest.fixture
async def logs(database: Database) -> Database:
    await filled(database, 1000)
    database.write_policy(POLICY)
    return database


async def test_rows_go_to_the_container_by_the_token_and_come_back(logs: Database, account: Blobs) -> None:
    before = await contents(logs)
    run = await logs.cli_json("run", "retention", "--debug", **account.environment)
    assert (run["status"], run["rows"], len(await contents(logs))) == ("succeeded", 1000, 1)
    stored = await account.contents()
    assert {name.rpartition(".")[2] for name in stored} == {"gz", "json"}
    assert all(name.startswith("some folder/") for name in stored)
    assert [json.loads(text)["state"] for name, text in stored.items() if name.endswith("json")] == ["committed"]
    assert await states(logs, **account.environment) == ["committed"]
    (one,) = await restored(logs, run["id"], **account.environment)
    assert (one["inserted"], await contents(logs)) == (1000, before)
    (again,) = await restored(logs, run["id"], **account.environment)
    assert (again["inserted"], again["present"]) == (0, 1000)


async def test_no_token_is_anywhere_in_what_is_said_or_stored(logs: Database, account: Blobs) -> None:
    account.endpoint.lives = -60
    done = await logs.cli("run", "retention", "--json", "--debug", **account.environment)
    assert (done.returncode, json.loads(done.stdout)["stop_reason"]) == (1, "blocked")
    account.endpoint.lives = 3600
    good = await logs.cli("run", "retention", "--json", "--debug", **account.environment)
    assert good.returncode == 0, good.stdout
    stored = await account.contents()
    ledger = await logs.values("select r::text from maintenance.run r union all select s::text from maintenance.step s")
    said = [done.stdout, done.stderr, good.stdout, good.stderr, *ledger, *map(repr, stored.values())]
    assert len(set(account.endpoint.tokens)) >= 3
    for token in (*account.endpoint.tokens, account.endpoint.header):
        assert not any(part in text for text in said for part in token.split("."))


async def test_an_object_that_is_cut_short_is_found(logs: Database, account: Blobs) -> None:
    run = await logs.cli_json("run", "retention", **account.environment)
    (name,) = [name for name in await account.contents() if name.endswith(".gz")]
    whole = (await account.contents())[name]
    await account.container.upload_blob(name, whole[:-5], overwrite=True)
    assert "it is cut short" in await restored(logs, run["id"], exit_code=1, **account.environment)
    assert len(await contents(logs)) == 1


async def test_what_is_too_old_is_removed(logs: Database, account: Blobs) -> None:
    logs.write_policy(POLICY + 'archive_keep = "90 days"\n')
    await logs.cli_json("run", "retention", **account.environment)
    await logs.execute("update maintenance.archive set created_at = now() - interval '91 days'")
    await logs.cli_json("run", "retention", **account.environment)
    assert await account.contents() == {}


async def blocked(database: Database, said: str, **environment: Any) -> None:
    """A run whose archive fails has deleted nothing and says so."""
    run = await database.cli_json("run", "retention", exit_code=1, **environment)
    assert (run["status"], run["stop_reason"], run["rows"]) == ("failed", "blocked", 0)
    assert said in run["error"]
    assert "so nothing was deleted in this batch" in run["error"]
    assert len(await contents(database)) == 1001


async def test_a_container_that_is_missing_and_a_service_that_is_down_block_the_step(
    logs: Database, account: Blobs
) -> None:
    url = account.environment["MAINTENANCE_ARCHIVE_URL"].replace("archives", "missing")
    await blocked(logs, "container does not exist", **{**account.environment, "MAINTENANCE_ARCHIVE_URL": url})
    account.process.kill()
    await account.process.wait()
    await blocked(logs, "Cannot connect to host", **account.environment)


async def test_a_service_that_hangs_is_not_waited_for(logs: Database, account: Blobs) -> None:
    account.process.send_signal(signal.SIGSTOP)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _IMPATIENT], env={**logs.environment, **account.environment}, check=False,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    finally:
        account.process.send_signal(signal.SIGCONT)
    run = json.loads(done.stdout)
    assert (run["stop_reason"], run["rows"]) == ("blocked", 0)
    assert "did not get through" in run["error"]
    assert "within 0.5 s" in run["error"]
    assert len(await contents(logs)) == 1001


async def test_without_the_containers_url_nothing_is_touched(logs: Database) -> None:
    for verb in ("run", "plan", "archives"):
        document = await logs.cli_json(verb, exit_code=2)
        assert document["error"]["type"] == "SettingsError"
        assert "MAINTENANCE_ARCHIVE_URL is not set" in document["error"]["message"]
    assert await logs.values("select to_regnamespace('maintenance')") == [None]
