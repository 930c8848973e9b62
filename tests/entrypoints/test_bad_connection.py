"""A database that cannot be reached, refuses us, or cannot be maintained: one clear error, exit 2."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import asyncpg
import pytest

from maintenance.demo.server import embedded_server
from tests.databases import Database, connect
from tests.shop import RULE

Refused = Callable[..., str]
Set = Callable[[str, str], None]


@pytest.fixture
def setenv(shop: Database, monkeypatch: pytest.MonkeyPatch) -> Set:
    """Changes a variable of the shop's environment."""
    return monkeypatch.setenv


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """The port of something that takes one connection after another, and is no PostgreSQL of today."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        answer(connection)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield str(listener.getsockname()[1])
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("verb", ["plan", "run", "history", "install"])
def test_without_a_database_it_says_what_to_set_and_where_to_see_a_demo(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.delenv("PGHOST")
    error = refused(verb)
    assert [word for word in ("No database", "PGHOST", "PGDATABASE", "PGUSER", "make run") if word not in error] == []


def test_a_port_where_nobody_listens(refused: Refused, setenv: Set) -> None:
    with listening(lambda connection: None) as port:
        pass
    setenv("PGPORT", port)
    error = refused()
    assert f"127.0.0.1:{port}" in error
    assert "cannot be reached" in error
    assert "PGHOST, PGPORT" in error


def test_a_host_that_has_no_address(refused: Refused, setenv: Set) -> None:
    setenv("PGHOST", "no-such-host.invalid")
    error = refused()
    assert "no-such-host.invalid" in error
    assert "PGHOST" in error


def test_a_server_that_says_nothing_is_given_up_on_in_time(refused: Refused, setenv: Set) -> None:
    setenv("MAINTENANCE_CONNECT_TIMEOUT", "300ms")
    with listening(lambda connection: time.sleep(2)) as port:
        setenv("PGPORT", port)
        began = time.monotonic()
        assert "did not answer within 0.3 s" in refused()
        assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"N\0\0\0"])
def test_something_else_than_a_postgresql_behind_the_port(refused: Refused, setenv: Set, words: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(words)

    with listening(answer) as port:
        setenv("PGPORT", port)
        assert f"127.0.0.1:{port}" in refused()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PGPASSWORD", "wrong", ["refused the login", "PGPASSWORD"]),
        ("PGUSER", "nobody_here", ["refused the login", "PGUSER"]),
        ("PGDATABASE", "nowhere", ["nowhere", "PGDATABASE"]),
        ("PGPORT", "abc", ["PGPORT", "'abc'", "1 to 65535"]),
        ("PGPORT", "65536", ["PGPORT", "'65536'"]),
        ("PGSSLMODE", "sometimes", ["PGSSLMODE", "sometimes"]),
        ("PGSSLMODE", "require", ["SSL"]),
        ("MAINTENANCE_BUGDET", "1m", ["MAINTENANCE_BUGDET", "did you mean MAINTENANCE_BUDGET"]),
        ("MAINTENANCE_BUDGET", "soon", ["MAINTENANCE_BUDGET", "'soon'"]),
        ("MAINTENANCE_LEDGER_KEEP", "9999999999d", ["MAINTENANCE_LEDGER_KEEP"]),
    ],
)
def test_a_variable_with_a_value_that_cannot_be_used(
    refused: Refused, setenv: Set, name: str, value: str, said: list[str]
) -> None:
    setenv(name, value)
    error = refused()
    assert [word for word in said if word not in error] == []


def test_a_certificate_file_that_is_missing(refused: Refused, setenv: Set) -> None:
    setenv("PGSSLMODE", "verify-full")
    setenv("PGSSLROOTCERT", "/nowhere/root.crt")
    assert "/nowhere/root.crt" in refused()


async def test_a_role_that_may_not_log_in(shop: Database) -> None:
    await shop.execute("create role shut nologin password 'x'")
    try:
        done = await shop.cli("run", PGUSER="shut", PGPASSWORD="x")
    finally:
        await shop.execute("drop role shut")
    assert (done.returncode, done.stdout) == (2, "")
    assert "refused the login" in done.stderr
    assert "not permitted to log in" in done.stderr


async def test_a_database_that_was_set_to_read_only(shop: Database) -> None:
    await shop.execute("alter database shop set default_transaction_read_only = on")
    try:
        run, plan = await shop.cli("run"), await shop.cli("plan")
    finally:
        await shop.execute("alter database shop reset default_transaction_read_only")
    assert (run.returncode, run.stdout) == (2, "")
    assert "accepts no writes" in run.stderr
    assert plan.returncode == 0, plan.stderr


async def test_a_server_older_than_14(shop: Database) -> None:
    def answer(connection: socket.socket) -> None:
        version = b"server_version\x0013.23\0"
        connection.recv(8)  # may it be encrypted?
        connection.sendall(b"N")
        connection.recv(4096)  # who I am
        connection.sendall(b"R\0\0\0\x08\0\0\0\0")  # you are welcome
        connection.sendall(b"S" + (len(version) + 4).to_bytes(4, "big") + version)
        connection.sendall(b"Z\0\0\0\x05I")
        connection.recv(4096)

    with listening(answer) as port:
        done = await shop.cli("run", PGPORT=port, PGSSLMODE="prefer")
    assert (done.returncode, done.stdout) == (2, "")
    assert "PostgreSQL 13" in done.stderr
    assert "at least 14" in done.stderr


async def test_a_replica_is_called_one(shop: Database) -> None:
    with embedded_server(bin_directory=shop.server.bin_directory) as server:
        connection = await connect(server, "postgres")
        signal = server.directory / "data" / "standby.signal"
        signal.touch()
        signal.chmod(0o666)  # the server's account need not be ours
        # Killing one session makes the server start again, now as a standby.
        os.kill(connection.get_server_pid(), 9)
        connection.terminate()
        await in_recovery(server.environment())
        for verb in ("run", "plan"):
            done = await shop.cli(verb, **server.environment())
            assert (done.returncode, done.stdout) == (2, "")
            assert "is a read-only replica" in done.stderr
            assert "primary" in done.stderr
        shop.write_policy(RULE)


async def in_recovery(environment: dict[str, str]) -> None:
    """Wait until the server is back as a standby."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with suppress(OSError, asyncpg.PostgresError):
            connection = await asyncpg.connect(
                host=environment["PGHOST"], port=int(environment["PGPORT"]), user=environment["PGUSER"],
                password=environment["PGPASSWORD"], database="postgres",
            )  # fmt: skip
            standby = await connection.fetchval("select pg_is_in_recovery()")
            await connection.close()
            if standby:
                return
        time.sleep(0.1)
    pytest.fail("the server did not come back as a standby")


async def test_a_unix_socket_where_nobody_listens_is_called_that(database: Database) -> None:
    database.write_policy("")
    done = await database.cli("plan", PGHOST=str(database.folder), PGPORT="1")
    assert done.returncode == 2
    assert f"No server listens at {database.folder}/.s.PGSQL.1 (No such file or directory); check PGHOST" in done.stderr
