"""TLS: a remote server must prove who it is before a password or a token is sent. A real server, real certificates."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from maintenance import settings as environment
from maintenance.database import connected
from maintenance.errors import ConnectionLost, DatabaseError, MaintenanceError, SettingsError
from maintenance.settings import Settings
from maintenance.target import Auth, Identity
from tests.databases import Database, connect
from tests.identity import identity_endpoint
from tests.tls_server import NAME, TlsServer, capable, tls_server

REMOTE = {"PGHOST": NAME}


async def session(tls: TlsServer, monkeypatch: pytest.MonkeyPatch, **env: str) -> bool:
    """Log in with libpq's variables; whether the session is encrypted."""
    own = {**tls.server.environment(), **env}
    for name, value in own.items():
        monkeypatch.setenv(name, value)  # the driver reads some of them itself
    async with connected(environment.load(own), name="test", read_only=True) as connection:
        return bool(await connection.fetchval("select ssl from pg_stat_ssl where pid = pg_backend_pid()"))


async def refused(tls: TlsServer, monkeypatch: pytest.MonkeyPatch, **env: str) -> str:
    with pytest.raises(MaintenanceError) as raised:
        await session(tls, monkeypatch, **env)
    return str(raised.value)


@pytest.mark.usefixtures("names")
async def test_the_right_authority_passes_without_any_ssl_mode(tls: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await session(tls, monkeypatch, **REMOTE, PGSSLROOTCERT=str(tls.right))


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("more", [{}, {"PGSSLROOTCERT": "system"}, {"PGSSLMODE": "verify-full"}])
async def test_so_does_one_of_the_systems_store(
    tls: TlsServer, monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.right))
    assert await session(tls, monkeypatch, **REMOTE, **more)


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("mode", ["", "verify-full", "verify-ca"])
async def test_an_authority_that_nobody_trusts_is_refused(
    tls: TlsServer, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    for more in ({}, {"PGSSLROOTCERT": str(tls.wrong)}):
        said = await refused(tls, monkeypatch, **REMOTE, PGSSLMODE=mode, **more)
        assert "nobody whom we trust has signed" in said
        assert "the login was not sent" in said
        assert "PGSSLROOTCERT" in said


@pytest.mark.usefixtures("names")
async def test_a_certificate_for_another_name_is_refused(tls: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"PGHOST": "other.example.org", "PGSSLROOTCERT": str(tls.right)}
    said = await refused(tls, monkeypatch, **other)
    assert "has a certificate for another name" in said
    assert "PGHOST" in said
    assert await session(tls, monkeypatch, **other, PGSSLMODE="verify-ca")


@pytest.mark.usefixtures("names")
async def test_a_public_certificate_for_another_name_is_refused_whatever_the_mode(
    tls: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.right))
    for mode in ("", "verify-full", "verify-ca"):
        said = await refused(tls, monkeypatch, PGHOST="other.example.org", PGSSLMODE=mode)
        assert "has a certificate for another name" in said


@pytest.mark.usefixtures("names")
async def test_a_certificate_out_of_date_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = environment.load().postgres_bin or capable()
    if programs is None:
        pytest.skip("no PostgreSQL that was built with TLS is installed (Debian and Ubuntu: apt install postgresql)")
    with tls_server(programs, until=datetime(2020, 1, 1, tzinfo=UTC)) as old:
        said = await refused(old, monkeypatch, **REMOTE, PGSSLROOTCERT=str(old.right))
    assert "is not valid now" in said


@pytest.mark.parametrize(
    "host", ["postgres://me:sekret@host/db", "host=db password=sekret", "me:sekret@db", "a b", "db?sslmode=disable"]
)
def test_what_is_no_host_is_refused_and_not_shown(host: str) -> None:
    with pytest.raises(SettingsError, match="PGHOST") as raised:
        environment.load({"PGHOST": host})
    assert "sekret" not in str(raised.value)
    with pytest.raises(SettingsError, match="PGDATABASE"):
        environment.load({"PGHOST": "db", "PGDATABASE": "postgres://me:sekret@db/x"})


def test_a_host_is_as_its_certificate_has_it() -> None:
    found = environment.load({"PGHOST": " [::1] , X.Example.Org. ,"}).required_target()
    assert (found.host, found.sslmode) == ("::1,X.Example.Org", "verify-full")


def test_entra_wants_more_than_encryption() -> None:
    entra = {"PGHOST": "x.postgres.database.azure.com", "PGSSLMODE": "require"}
    with pytest.raises(SettingsError, match="token"):
        environment.load(entra)
    assert environment.load({**entra, "MAINTENANCE_AUTH": "password"}).required_target().sslmode == "require"


@pytest.mark.usefixtures("names")
async def test_libpqs_own_file_is_used_where_it_is(
    tls: TlsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").write_bytes(tls.right.read_bytes())
    assert await session(tls, monkeypatch, **REMOTE)


@pytest.mark.usefixtures("names")
async def test_a_server_without_tls_gets_no_login(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = TlsServer(server=database.server, right=database.folder, wrong=database.folder)
    said = await refused(plain, monkeypatch, **REMOTE)
    assert "speaks no TLS, so the login was not sent" in said
    assert "MAINTENANCE_ALLOW_PLAINTEXT=1" in said
    allowed = {**REMOTE, "PGSSLMODE": "disable", "MAINTENANCE_ALLOW_PLAINTEXT": "1"}
    assert not await session(plain, monkeypatch, **allowed)


@pytest.mark.usefixtures("names")
async def test_a_name_that_does_not_exist_is_called_so(tls: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    said = await refused(tls, monkeypatch, PGHOST="db.invalid")
    assert "cannot be resolved" in said
    assert "private DNS zone" in said


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_a_mode_that_may_be_plain_is_refused_for_a_remote_host(mode: str) -> None:
    with pytest.raises(SettingsError, match=r"PGSSLMODE .*MAINTENANCE_ALLOW_PLAINTEXT=1"):
        environment.load({"PGHOST": "db.example.org", "PGSSLMODE": mode})
    allowed = environment.load({"PGHOST": "db.example.org", "PGSSLMODE": mode, "MAINTENANCE_ALLOW_PLAINTEXT": "1"})
    assert allowed.required_target().sslmode == mode


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1", "[::1]", "/run/pg"])
def test_a_socket_and_loopback_are_left_to_libpqs_default(host: str) -> None:
    assert environment.load({"PGHOST": host}).required_target().sslmode is None
    assert environment.load({"PGHOST": host, "PGSSLMODE": "disable"}).required_target().sslmode == "disable"


@pytest.mark.parametrize("host", ["db", "10.0.0.4", "fe80::1", "localhost.example.org", "127.0.0.1,db", "localhost,db"])
def test_any_other_host_must_prove_who_it_is(host: str) -> None:
    assert environment.load({"PGHOST": host}).required_target().sslmode == "verify-full"


async def killed(loaded: Settings) -> None:
    """A backend that is killed makes the server end all others and start over."""
    async with connected(loaded, name="test", read_only=True) as connection:
        os.kill(connection.get_server_pid(), signal.SIGKILL)
        await connection.fetchval("select pg_sleep(10)")


@pytest.mark.usefixtures("names")
async def test_entra_over_tls_outlives_a_restart_of_the_server(tls: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    administrator = await connect(tls.server, "postgres")
    await administrator.execute("create role robot login")

    async def rotate(token: str) -> None:
        connection = await connect(tls.server, "postgres")
        await connection.execute(f"alter role robot password '{token}'")
        await connection.close()

    async with identity_endpoint(rotate) as endpoint:
        for name, value in {**endpoint.environment, "PGSSLROOTCERT": str(tls.right)}.items():
            monkeypatch.setenv(name, value)
        env = {**REMOTE, "PGPORT": str(tls.server.port), "PGUSER": "robot", "PGDATABASE": "postgres"}
        loaded = environment.load(
            {**env, **endpoint.environment, "PGSSLROOTCERT": str(tls.right), "MAINTENANCE_AUTH": "entra"}
        )
        assert loaded.required_target().identity is Identity.MANAGED
        assert loaded.required_target().auth is Auth.ENTRA
        with pytest.raises(ConnectionLost):
            await killed(loaded)
        for _ in range(100):
            try:
                async with connected(replace(loaded, connect_timeout=5.0), name="test", read_only=True) as connection:
                    assert await connection.fetchval("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
                    break
            except (DatabaseError, asyncpg.PostgresError):
                continue
        else:
            raise AssertionError("the server did not come back")
        assert len(set(endpoint.tokens)) >= 2
    administrator.terminate()
