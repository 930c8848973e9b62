"""Entra tokens: the real azure-identity, the endpoint of a managed identity, a role whose password is the token."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from maintenance import settings as environment
from maintenance.database import connected
from maintenance.documents import error_document
from maintenance.errors import DatabaseError, IdentityError, MaintenanceError
from maintenance.settings import Settings
from maintenance.target import Auth, Identity
from tests.databases import Database
from tests.identity import Endpoint, identity_endpoint
from tests.sessions import role

SCHEMA = """
create table log (id int primary key, created_at timestamptz);
insert into log select n, now() + interval '1 hour' - n * interval '1 day' from generate_series(1, 100) n;
"""
POLICY = '[[retention]]\ntable = "log"\ncolumn = "created_at"\nkeep = "30 days"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """A database that takes the endpoint's last token and no other."""

    database: Database
    endpoint: Endpoint
    settings: Settings

    async def user(self, **changed: object) -> str:
        """Who we are in a new session."""
        async with connected(replace(self.settings, **changed), name="test", read_only=True) as connection:  # type: ignore[arg-type]
            return str(await connection.fetchval("select current_user"))

    async def refused(self, **changed: object) -> MaintenanceError:
        with pytest.raises(DatabaseError) as raised:
            await self.user(**changed)
        return raised.value


@pytest.fixture
async def entrance(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Entrance]:
    async with role(database, "grant create on database {database} to {role}") as target:

        async def rotate(token: str) -> None:
            await database.execute(f"alter role {target.user} password '{token}'")

        async with identity_endpoint(rotate) as endpoint:
            for name, value in endpoint.environment.items():
                monkeypatch.setenv(name, value)
            entra = replace(target, password=None, auth=Auth.ENTRA, identity=Identity.MANAGED)
            yield Entrance(
                database=database, endpoint=endpoint, settings=replace(database.settings, target=entra)
            )  # fmt: skip


async def test_the_token_of_the_identity_is_the_password(entrance: Entrance) -> None:
    assert await entrance.user() == entrance.settings.required_target().user
    assert [request["api-version"] for request in entrance.endpoint.requests] == ["2019-08-01"]
    assert "client_id" not in entrance.endpoint.requests[0]


async def test_every_connection_asks_for_a_token_of_its_own(entrance: Entrance) -> None:
    for _ in range(3):
        await entrance.user()
    assert len(set(entrance.endpoint.tokens)) == 3


async def test_a_user_assigned_identity_is_named_by_its_client_id(entrance: Entrance) -> None:
    target = replace(entrance.settings.required_target(), client_id="11111111-2222-3333-4444-555555555555")
    await entrance.user(target=target)
    assert entrance.endpoint.requests[0]["client_id"] == "11111111-2222-3333-4444-555555555555"


async def test_a_run_logs_in_with_nothing_but_the_variables_that_azure_sets(entrance: Entrance) -> None:
    database, user = entrance.database, entrance.settings.required_target().user
    await database.execute(SCHEMA)
    await database.execute(f"grant select, delete on log to {user}")
    database.write_policy(POLICY)
    entra = {**entrance.endpoint.environment, "PGUSER": user or "", "PGPASSWORD": "", "MAINTENANCE_AUTH": "entra"}
    document = await database.cli_json("run", "retention", exit_code=0, **entra)
    assert (document["status"], document["rows"]) == ("succeeded", 70)


async def test_when_the_endpoint_asks_for_a_pause_it_gets_one(entrance: Entrance) -> None:
    entrance.endpoint.throttled = 2
    assert await entrance.user()
    assert len(entrance.endpoint.requests) == 3


async def test_a_slow_endpoint_is_waited_for_longer_than_a_server(entrance: Entrance) -> None:
    entrance.endpoint.delay = 0.6
    assert await entrance.user(connect_timeout=0.4)


async def test_an_endpoint_that_is_too_slow_is_told_from_a_server_that_is(entrance: Entrance) -> None:
    entrance.endpoint.delay = 5
    error = await entrance.refused(connect_timeout=0.1)
    assert isinstance(error, IdentityError)
    assert "The identity endpoint gave no token" in str(error)
    assert "within 0.4 s" in str(error)


async def test_an_endpoint_that_is_down_is_named_and_the_login_is_not_tried(
    entrance: Entrance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:9/msi/token")
    error = await entrance.refused(connect_timeout=0.2)
    assert isinstance(error, IdentityError)
    assert "az login" in str(error)


async def test_an_identity_that_does_not_exist_says_what_azure_said(entrance: Entrance) -> None:
    entrance.endpoint.unknown = True
    error = await entrance.refused()
    assert isinstance(error, IdentityError)
    assert "No User Assigned Identity found" in str(error)
    assert "AZURE_CLIENT_ID" in str(error)


async def test_without_any_identity_it_says_what_to_set_up(entrance: Entrance, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in entrance.endpoint.environment:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", "/nonexistent")
    error = await entrance.refused(
        target=replace(entrance.settings.required_target(), identity=Identity.UNKNOWN), connect_timeout=5.0
    )
    assert isinstance(error, IdentityError)
    assert "az login" in str(error)


async def test_an_identity_without_a_role_is_told_how_to_make_one(entrance: Entrance) -> None:
    error = await entrance.refused(target=replace(entrance.settings.required_target(), user="nobody_here"))
    assert not isinstance(error, IdentityError)
    assert "pgaadauth_create_principal_with_oid" in str(error)
    assert "'nobody_here'" in str(error)


async def test_a_token_from_the_past_is_called_expired(entrance: Entrance) -> None:
    entrance.endpoint.lives = -400

    async def too_late(token: str) -> None:
        """The server no longer takes it."""

    entrance.endpoint.issued = too_late
    error = await entrance.refused()
    assert "the token had ended" in str(error)
    assert "clock" in str(error)


async def test_a_clock_that_is_ahead_does_not_keep_us_from_trying(entrance: Entrance) -> None:
    entrance.endpoint.lives = -400
    assert await entrance.user()


async def test_a_lost_session_comes_back_with_a_new_token(entrance: Entrance) -> None:
    database = entrance.database
    async with connected(entrance.settings, name="test", read_only=True) as connection:
        pid = connection.get_server_pid()
        await database.values("select pg_terminate_backend($1)", pid)
        for _ in range(500):
            if connection.is_closed():
                break
            await asyncio.sleep(0.01)
    assert await entrance.user()
    assert len(set(entrance.endpoint.tokens)) == 2


async def test_the_token_is_nowhere_to_be_found(entrance: Entrance, caplog: pytest.LogCaptureFixture) -> None:
    """Not in logs at their most talkative, errors and their causes, reprs, the ledger, or what a command prints."""
    caplog.set_level(logging.DEBUG)
    database, user = entrance.database, entrance.settings.required_target().user
    await database.execute(SCHEMA)
    database.write_policy(POLICY)
    entra = {**entrance.endpoint.environment, "PGUSER": user or "", "PGPASSWORD": "", "MAINTENANCE_AUTH": "entra"}
    told: list[str] = []
    for words in (["plan", "retention"], ["run", "retention", "--debug"], ["history", "--json"]):
        done = await database.cli(*words, **entra)
        told += [done.stdout, done.stderr]

    async def too_late(token: str) -> None:
        """The server no longer takes it."""

    async with connected(entrance.settings, name="test", read_only=True) as connection:
        told += [repr(entrance.settings), repr(connection)]
    entrance.endpoint.issued = too_late
    error: BaseException | None = await entrance.refused()
    assert isinstance(error, MaintenanceError)
    told.append(str(error_document(error)))
    while error is not None:
        told += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    told += [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    assert caplog.records
    for table in ("run", "step"):
        told += [str(row) for row in await database.connection.fetch(f"select * from maintenance.{table}")]
    assert len(entrance.endpoint.tokens) == 5
    assert [token for token in entrance.endpoint.tokens if any(token[40:] in text for text in told)] == []
    assert any("maintenance" in text for text in told)


@pytest.mark.parametrize(
    "answer",
    ['{"access_token": "{token}"}', '{"access_token": "{token}', '["{token}"]', '{"error": "{token}"}', "{token}",
     '{"access_token": null, "expires_on": "9999999999"}', '{"access_token": "", "expires_on": "9999999999"}', "",
     "{}"],
)  # fmt: skip
async def test_an_odd_answer_of_the_endpoint_is_told_without_what_it_says(
    entrance: Entrance, caplog: pytest.LogCaptureFixture, answer: str
) -> None:
    caplog.set_level(logging.DEBUG)
    entrance.endpoint.odd = answer
    error: BaseException | None = await entrance.refused()
    assert isinstance(error, IdentityError)
    assert "gave a token" in str(error)
    told = [f"{record.name} {record.getMessage()} {record.exc_info}" for record in caplog.records]
    while error is not None:
        told += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    leaks = [text for text in told if any(token[40:60] in text for token in entrance.endpoint.tokens)]
    assert leaks == []


def test_a_flexible_server_is_logged_in_to_with_entra_and_others_are_not() -> None:
    def chosen(host: str, **more: str) -> tuple[Auth, Identity, str]:
        target = environment.load({"PGHOST": host, **more}).required_target()
        return target.auth, target.identity, target.scope

    azure = "https://ossrdbms-aad.database.windows.net/.default"
    assert chosen("x.postgres.database.azure.com") == (Auth.ENTRA, Identity.UNKNOWN, azure)
    assert chosen("X.Postgres.Database.Azure.Com.", IDENTITY_ENDPOINT="http://h") == (
        Auth.ENTRA, Identity.MANAGED, azure,
    )  # fmt: skip
    assert chosen("x.private.postgres.database.azure.com", AZURE_FEDERATED_TOKEN_FILE="/f")[1] is Identity.WORKLOAD
    assert chosen("x.postgres.database.usgovcloudapi.net")[2].startswith("https://ossrdbms-aad.database.usgovcloud")
    assert chosen("db.example.org")[0] is Auth.PASSWORD
    assert chosen("x.postgres.database.azure.com.evil.org")[0] is Auth.PASSWORD
    assert chosen("db.example.org", MAINTENANCE_AUTH="entra") == (Auth.ENTRA, Identity.UNKNOWN, azure)
    assert chosen("x.postgres.database.azure.com", MAINTENANCE_AUTH="password")[0] is Auth.PASSWORD


_AZ = """#!/bin/sh
echo "$@" >> "$0.calls"
cat <<'JSON'
{"accessToken": "%s", "expires_on": %d, "tokenType": "Bearer"}
JSON
"""


async def test_a_workflow_logs_in_as_whom_its_login_step_says_and_not_as_its_runner(
    entrance: Entrance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runner is a machine of Azure with an identity of its own, and azure/login has logged in another."""
    folder = tmp_path / "bin"
    folder.mkdir()
    az = folder / "az"
    az.write_text(_AZ % ("token-of-the-workflow", time.time() + 3600))
    az.chmod(0o755)
    target = entrance.settings.required_target()
    await entrance.database.execute(f"alter role {target.user} password 'token-of-the-workflow'")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    entra = {**entrance.endpoint.environment, "PGUSER": target.user or "", "PGPASSWORD": ""}
    found = environment.load(
        {**entrance.database.environment, **entra, "MAINTENANCE_AUTH": "entra", "GITHUB_ACTIONS": "true",
         "AZURE_FEDERATED_TOKEN_FILE": "/of/the/cluster"}
    )  # fmt: skip
    assert found.required_target().identity is Identity.CLI
    async with connected(found, name="test", read_only=True) as connection:
        assert await connection.fetchval("select current_user") == target.user
    assert entrance.endpoint.requests == []
    assert target.scope.removesuffix("/.default") in (folder / "az.calls").read_text()
