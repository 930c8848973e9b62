"""examples/run.sh: the real script with the real curl, against the app's HTTP functions on a loopback address."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from maintenance import trigger
from maintenance.lease import lease
from tests.databases import ROOT, Database
from tests.gateway import Gateway, gateway

SCRIPT = ROOT / "examples" / "run.sh"
KEY = "vmE-4bgJ9_l2Sx0fE3nTq8w5dHkZyRcU1aPoV7iBtNsMAzFuXeQ0Lg=="
TOKEN = "head.claims.signature"
ROBOT = "99999999-8888-7777-6666-555555555555"
POLICY = '[[retention]]\ntable = "log"\ncolumn = "at"\nkeep = "30 days"\n'
SCHEMA = """
create table log (id int primary key, at timestamptz);
insert into log select n, now() + interval '1 hour' - n * interval '1 day' from generate_series(1, 100) n;
"""
REFUSING = """
create function refuse() returns trigger language plpgsql as
$$ begin raise exception 'not this one, "status": "succeeded"'; end $$;
create trigger refuse before delete on log for each row execute function refuse();
"""
pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")


@pytest.fixture
async def shelf(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    await database.execute(SCHEMA)
    database.write_policy(POLICY)
    for name, value in {**database.environment, "AzureWebJobsStorage": "UseDevelopmentStorage=true"}.items():
        monkeypatch.setenv(name, value)
    return database


@pytest.fixture
async def app(shelf: Database) -> AsyncIterator[Gateway]:
    """The app with its key, and its queue, which is emptied as the host does it."""
    async with gateway() as opened, emptied(opened):
        opened.key = KEY
        yield opened


@asynccontextmanager
async def emptied(app: Gateway) -> AsyncIterator[None]:
    async def deliver() -> None:
        while True:
            for message in [app.sent.pop(0) for _ in list(app.sent)]:
                try:
                    app.sent += await trigger.received(message.encode())
                except Exception as error:
                    print(f"the invocation failed: {error}")
            await asyncio.sleep(0.05)

    queue = asyncio.create_task(deliver())
    try:
        yield
    finally:
        queue.cancel()
        await asyncio.gather(queue, return_exceptions=True)


async def ran(app: Gateway, *words: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    url = app.url.removesuffix("/api/maintenance")
    given = {"PATH": "/usr/local/bin:/usr/bin:/bin", "APP_URL": url, "APP_KEY": KEY, "INTERVAL": "0.1"} | environment
    done = await asyncio.to_thread(
        subprocess.run, ["sh", str(SCRIPT), *words], env=given, capture_output=True, text=True, timeout=40
    )
    return done.returncode, done.stdout, done.stderr


async def test_it_starts_a_run_follows_it_and_ends_with_0(app: Gateway, shelf: Database) -> None:
    code, out, err = await ran(app, "retention", "1m")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "run 1 retention"
    assert out.splitlines()[-2:] == ["succeeded", "70 rows deleted"]
    (run,) = await shelf.connection.fetch("select scheduler, budget, rows from maintenance.run")
    assert tuple(run) == ("http", 60, 70)
    assert [request.method for request in app.asked].count("POST") == 1


async def test_without_words_it_is_the_daily_clean_up(app: Gateway, shelf: Database) -> None:
    assert (await ran(app))[0] == 0
    assert await shelf.values("select name from maintenance.run") == ["daily-cleanup"]


async def test_a_failed_run_is_1_and_says_why(app: Gateway, shelf: Database) -> None:
    await shelf.execute(REFUSING)
    code, out, err = await ran(app, "retention")
    assert (code, "not this one" in err, out.splitlines()[-1]) == (1, True, "failed")


async def test_a_run_with_work_left_is_3(app: Gateway, shelf: Database) -> None:
    await shelf.execute("delete from log where at > now() - interval '31 days'")
    code, out, _ = await ran(app, "retention")
    assert (code, out.splitlines()[-1]) == (3, "interrupted")


async def test_a_run_that_waits_for_another_is_followed_until_it_is_done(app: Gateway, shelf: Database) -> None:
    async with lease(shelf.connection):
        following = asyncio.create_task(ran(app, "retention"))
        for _ in range(1000):
            if sum(request.method == "GET" for request in app.asked) > 2:
                break
            await asyncio.sleep(0.02)
    code, out, _ = await following
    told = [line for line in out.splitlines()[1:] if line != "running"]  # which it may be when it is looked at
    assert (code, told) == (0, ["queued", "succeeded", "70 rows deleted"])


@pytest.mark.parametrize("words", [["nonsense"], ["retention", "0m"], ['x", "dry_run": true, "y": "'], ["Retention"]])
async def test_what_the_app_refuses_is_2_and_nothing_is_done(app: Gateway, shelf: Database, words: list[str]) -> None:
    code, out, err = await ran(app, *words)
    assert (code, out) == (2, "")
    assert err
    assert await shelf.values("select count(*) from log") == [100]


@pytest.mark.parametrize("key", ["", "wrong"])
async def test_without_the_key_it_is_2(app: Gateway, shelf: Database, key: str) -> None:
    code, _, err = await ran(app, "retention", APP_KEY=key)
    assert (code, "refused with 401" in err) == (2, True)
    assert await shelf.values("select count(*) from log") == [100]


async def test_a_principal_of_entra_brings_a_token(
    app: Gateway, shelf: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINTENANCE_HTTP_ALLOWED_PRINCIPALS", ROBOT)
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    claims = {"auth_typ": "aad", "claims": [{"typ": "appid", "val": ROBOT}], "name_typ": "name", "role_typ": "roles"}
    app.principals[TOKEN] = {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(claims).encode()).decode()}
    assert (await ran(app, "retention"))[0] == 2
    assert (await ran(app, "retention", APP_TOKEN=TOKEN))[0] == 0
    assert await shelf.values("select requested_by like $1 from maintenance.run", f"%{ROBOT}%") == [True]


async def test_a_look_that_fails_is_repeated_and_the_run_is_not_asked_for_twice(app: Gateway, shelf: Database) -> None:
    app.troubles += [web.Response(status=status, headers={"Retry-After": "1"}) for status in (503, 429)]
    assert (await ran(app, "retention"))[0] == 0
    assert app.troubles == []
    assert await shelf.values("select count(*) from maintenance.run") == [1]


async def test_an_app_that_is_not_there_is_5(app: Gateway) -> None:
    assert (await ran(app, "retention", APP_URL="http://127.0.0.1:9"))[0] == 5


async def test_a_run_that_takes_too_long_is_5_and_goes_on(shelf: Database) -> None:
    async with gateway() as app:  # whose queue nobody empties
        code, out, err = await ran(app, "retention", PATIENCE="0")
    assert (code, out.splitlines()[-1]) == (5, "queued")
    assert "is queued after 0 s" in err


async def test_a_key_is_not_sent_where_others_can_read_it(app: Gateway) -> None:
    code, _, err = await ran(app, "retention", APP_URL="http://example.org")
    assert (code, "https://" in err) == (2, True)
    assert app.asked == []


async def test_key_and_token_are_on_no_command_line(app: Gateway, tmp_path: Path) -> None:
    """A curl that writes down how it was called, before it is the real one."""
    curl = tmp_path / "curl"
    curl.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\nexec {shutil.which("curl")} "$@"\n')
    curl.chmod(0o755)
    assert (await ran(app, "retention", PATH=f"{tmp_path}:/usr/bin:/bin", APP_TOKEN=TOKEN))[0] == 0
    calls = (tmp_path / "calls").read_text()
    assert "/api/maintenance/runs" in calls
    assert KEY not in calls
    assert TOKEN not in calls
    assert all(request.headers["x-functions-key"] == KEY for request in app.asked)
    assert all(request.headers["Authorization"] == f"Bearer {TOKEN}" for request in app.asked)
