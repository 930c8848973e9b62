"""`check`: the connection, TLS, the login, the role, privileges, row-level security, a pooler, the server's version."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from shutil import which
from tempfile import mkdtemp
from typing import Any

import pytest

from maintenance import policy_file
from maintenance import settings as environment
from maintenance.check.access import ACCESS
from maintenance.check.examination import LOOKS, examined, examined_target
from maintenance.check.server import ENDS, SERVER
from maintenance.clock import astray
from maintenance.database import connected
from maintenance.demo.server import embedded_server
from maintenance.findings import Severity
from maintenance.names import quoted
from maintenance.target import Auth
from tests.checks import OLD, POLICY, check, codes, keeper, look, make, only, view
from tests.databases import Database, connect
from tests.odd_schema import NAME as ODD_NAME
from tests.odd_schema import asked, least, maintains, member
from tests.odd_schema import make as odd
from tests.sessions import role
from tests.tls_server import NAME, TlsServer

OWNERSHIP = "privilege.ownership"
"""Found before PostgreSQL 17, where a role does not own what it is to vacuum."""


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ("nosuperuser", []),
        ("createrole", ["role.mighty"]),
        ("bypassrls", ["role.mighty"]),
        ("superuser", ["role.mighty"]),
        ("valid until 'infinity'", []),
        ("valid until '{later}'", []),
        ("valid until '{soon}'", ["role.expiring"]),
    ],
)
async def test_the_role(database: Database, attributes: str, found: list[str]) -> None:
    await make(database)
    now = datetime.now(UTC)
    given = attributes.format(later=now + timedelta(days=90), soon=now + timedelta(days=3))
    async with keeper(database) as target:
        await database.execute(f"alter role {target.user} {given}")
        assert codes(await check(database, target=target)) == found
        if found == ["role.expiring"]:
            cure = only(await check(database, target=target), "role.expiring").cure
            await database.execute(str(cure))
            assert codes(await check(database, target=target)) == []


@pytest.mark.parametrize(
    ("less", "subject", "words"),
    [
        ('delete on table "public"."event"', "public.event", "lacks DELETE ("),
        ('select ("id") on table "public"."device"', "public.device", "lacks SELECT (id)"),
        ('on table "public"."item"', "public.item", "lacks UPDATE (device)"),
        ('usage on schema "public"', "public", "may not use the schema"),
        ('insert, update, delete on table "maintenance"', "maintenance", "may not write the ledger"),
    ],
)
async def test_a_privilege_that_is_missing_is_named_with_the_grant_that_cures_it(
    database: Database, less: str, subject: str, words: str
) -> None:
    await make(database)
    await database.execute("revoke usage on schema public from public")
    async with keeper(database, less, "owner") as target:
        before = (await check(database, target=target)).findings
        found = [one for one in before if one.subject == subject and one.code != OWNERSHIP]
        assert {(one.severity, one.code) for one in found} <= {
            (Severity.ERROR, "privilege.missing"), (Severity.ERROR, "ledger.forbidden"),
        }  # fmt: skip
        assert any(words in one.fact for one in found), found
        for one in found:
            await database.execute(str(one.cure))
        assert codes(await check(database, target=target), but=OWNERSHIP) == []


async def test_vacuum_needs_maintain_or_the_owner(database: Database) -> None:
    await make(database)
    async with keeper(database, "maintain", "owner") as target:
        found = {(one.code, one.subject) for one in (await check(database, target=target)).findings} - {
            (code, "") for code in OLD
        }
        code = "privilege.missing" if maintains(database) else OWNERSHIP
        assert found == {(code, f"public.{name}") for name in ("device", "event", "item")}
        await database.execute(f"alter table event owner to {target.user}")
        left = (await check(database, target=target)).findings
        assert [one.subject for one in left if one.code not in OLD] == ["public.device", "public.item"]
        await database.execute("alter table event owner to current_user")


async def test_row_level_security_is_an_error_for_whom_it_binds(database: Database) -> None:
    await make(database)
    await database.execute("alter table item enable row level security")
    assert codes(await check(database)) == ["role.mighty"]
    async with keeper(database, "owner") as target:
        found = only(await check(database, target=target), "rls.active")
        assert (found.severity, found.subject) == (Severity.ERROR, "public.item")
        await database.execute(str(found.cure))
        assert codes(await check(database, target=target), but=OWNERSHIP) == ["role.mighty"]


async def test_a_limit_of_lag_that_the_role_cannot_see(database: Database) -> None:
    await make(database)
    database.write_policy(POLICY + '[lag]\nreplay = "10 seconds"\n')
    async with keeper(database, "pg_read_all_stats") as target:
        found = only(await check(database, target=target), "lag.unseen")
        assert "pg_read_all_stats" in found.fact
    async with keeper(database) as target:
        assert codes(await check(database, target=target)) == []


async def test_sessions_that_a_role_cannot_see_are_said_to_be_unseen(database: Database) -> None:
    await make(database)
    async with keeper(database, "pg_read_all_stats") as target:
        examination = await check(database, target=target)
        assert [one.code for one in examination.findings if one.code not in OLD] == []
        assert [one.what for one in examination.unseen] == ["other roles' transactions"]
        assert all("pg_read_all_stats" in one.why for one in examination.unseen)


@pytest.mark.parametrize("major", ENDS)
async def test_the_end_of_a_major_version_by_the_servers_clock(database: Database, major: int) -> None:
    end = ENDS[major]
    ends = datetime(end.year, end.month, end.day, tzinfo=UTC)
    database.write_policy("")
    async with view(database) as seen:
        found = []
        with pytest.MonkeyPatch.context() as patch:
            # One server stands for all majors: the table alone decides.
            patch.setattr("maintenance.check.server.ENDS", {seen.major: end})
            for days in (1, -1, -400):
                rows = list(await SERVER.find(replace(seen, as_of=ends + timedelta(days=days))))
                found.append([one.code for one in rows])
    assert found == [["server.ended"], ["server.ending"], []]


async def test_clocks_that_are_far_apart_stop_every_rule(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert codes(await look(database, "server", policy="")) == []
    ahead = partial(astray, now=lambda: datetime.now(UTC) + timedelta(minutes=6))
    monkeypatch.setattr("maintenance.check.server.astray", ahead)
    assert codes(await look(database, "server", policy='[guards]\nclock = "7 minutes"\n')) == []
    found = only(await look(database, "server", policy=""), "server.clock")
    assert (found.severity, "clock" in found.fact) == (Severity.ERROR, True)


async def test_connections_that_are_nearly_all_taken(database: Database) -> None:
    assert codes(await look(database, "server", policy="")) == []
    assert codes(await look(database, "server", policy="", connections=0.0)) == ["server.connections"]


async def test_connections_that_are_kept_for_others_count_as_taken(tmp_path: Path) -> None:
    kept = {"max_connections": "20", "superuser_reserved_connections": "10"}
    with embedded_server(bin_directory=environment.load().postgres_bin, settings=kept) as server:
        connection = await connect(server, "postgres")
        database = Database(server=server, name="postgres", connection=connection, folder=tmp_path)
        database.write_policy("")
        async with role(database) as target:
            first = database.connection
            taken = [await connect(server, "postgres") for _ in range(8)]
            try:
                examination = await check(database, target=target)
                assert "of the 10 connections that this role may share" in only(examination, "server.connections").fact
                assert "server.connections" not in {one.code for one in (await check(database)).findings}
            finally:
                for one in taken:
                    await one.close()
            assert "server.connections" not in {one.code for one in (await check(database, target=target)).findings}
        await first.close()


# --- another machine's server, by name


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"PGSSLMODE": "verify-full"}, []),
        ({"PGSSLMODE": "require"}, ["connection.unverified"]),
        ({"PGSSLMODE": "disable", "MAINTENANCE_ALLOW_PLAINTEXT": "1"}, ["connection.plain"]),
    ],
)
async def test_tls_to_another_machine(
    tls: TlsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, more: dict[str, str], found: list[str]
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("")
    trusted = {} if more["PGSSLMODE"] != "verify-full" else {"PGSSLROOTCERT": str(tls.right)}
    own = {**tls.server.environment(), "PGHOST": NAME, "MAINTENANCE_POLICY": str(policy), **trusted, **more}
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    examination = await examined_target(environment.load(own))
    assert [one.code for one in examination.findings if one.code.startswith("connection.")] == found


@pytest.mark.usefixtures("names")
async def test_a_certificate_that_nobody_has_signed_is_a_finding(
    tls: TlsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("")
    own = {
        **tls.server.environment(),
        "PGHOST": NAME,
        "PGSSLROOTCERT": str(tls.wrong),
        "MAINTENANCE_POLICY": str(policy),
    }
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    found = only(await examined_target(environment.load(own)), "connection.refused")
    assert "nobody whom we trust has signed" in found.fact


@pytest.mark.parametrize(
    ("host", "auth", "found"),
    [
        ("db.postgres.database.azure.com", Auth.PASSWORD, ["login.password"]),
        ("db.postgres.database.azure.com", Auth.ENTRA, []),
        ("db.example.org", Auth.PASSWORD, []),
    ],
)
async def test_a_password_where_entra_could_be(database: Database, host: str, auth: Auth, found: list[str]) -> None:
    database.write_policy("")
    async with view(database) as seen:
        target = replace(database.settings.required_target(), host=host, auth=auth)
        rows = await ACCESS.find(replace(seen, settings=replace(seen.settings, target=target)))
    assert [one.code for one in rows if one.code.startswith("login.")] == found


@pytest.mark.parametrize(
    ("method", "stored", "found"),
    [
        ("trust", "scram-sha-256", ["login.weak"]),
        ("md5", "md5", ["login.hashed"]),
        ("md5", "scram-sha-256", ["login.hashed"]),
        ("scram-sha-256", "scram-sha-256", []),
    ],
)
async def test_a_login_that_proves_little_from_another_machine(
    database: Database, method: str, stored: str, found: list[str]
) -> None:
    database.write_policy("")
    (rules,) = database.server.directory.rglob("pg_hba.conf")
    before = rules.read_text("utf-8")
    async with role(database) as target:
        await database.execute(f"set password_encryption = '{stored}'; alter role {target.user} password 'plain'")
        rules.write_text(f"host all {target.user} 127.0.0.1/32 {method}\n" + before, encoding="utf-8")
        try:
            await database.execute("select pg_reload_conf()")
            settings = replace(database.settings, target=target)
            other = replace(settings, target=replace(target, host="db.example.org"))
            async with connected(settings, name="test", read_only=True) as connection, view(database) as seen:
                rows = await ACCESS.find(replace(seen, connection=connection, settings=other, role=str(target.user)))
            system_user = database.connection.get_server_version().major >= 16
            assert [one.code for one in rows if one.code.startswith("login.")] == (found if system_user else [])
        finally:
            rules.write_text(before, encoding="utf-8")
            await database.execute("select pg_reload_conf()")


# --- a pooler in between


@asynccontextmanager
async def pooler(database: Database, *more: str) -> AsyncIterator[int]:
    """The real PgBouncer in front of the database, in transaction mode as on Azure; its port."""
    program = which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("needs pgbouncer (Debian and Ubuntu: apt install pgbouncer)")
    folder = Path(mkdtemp(prefix="pgbouncer-", dir=database.server.directory))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = database.server
    (folder / "users.txt").write_text(f'"{server.user}" "{server.password}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server.host} port={server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {folder}/users.txt\n"
        f"pool_mode = transaction\nlogfile = {folder}/log\n" + "".join(f"{line}\n" for line in more)
    )
    owner = server.directory.stat()
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner.st_uid, owner.st_gid)
    process = subprocess.Popen([program, "-q", str(folder / "pgbouncer.ini")], cwd="/", **user)
    try:
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < until, "pgbouncer does not answer"
                time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait(10)


_IGNORED = (
    "ignore_startup_parameters = lock_timeout,statement_timeout,idle_in_transaction_session_timeout,"
    "tcp_keepalives_idle,tcp_keepalives_interval,tcp_keepalives_count,default_transaction_read_only,default_transaction_isolation,"
    "IntervalStyle,plan_cache_mode,row_security,client_min_messages,max_parallel_workers_per_gather,random_page_cost"
)


async def test_a_pooler_that_refuses_our_settings_is_a_finding(database: Database) -> None:
    database.write_policy("")
    async with pooler(database) as port:
        target = replace(database.settings.required_target(), port=port)
        found = only(await check(database, target=target), "connection.refused")
    assert "PgBouncer" in found.fact


async def test_a_pooler_that_swallows_our_settings_is_a_finding_too(database: Database) -> None:
    await make(database)
    assert "server.pooled" not in codes(await check(database))
    async with pooler(database, _IGNORED) as port:
        target = replace(database.settings.required_target(), port=port)
        found = only(await check(database, target=target), "server.pooled")
    assert found.severity is Severity.ERROR
    assert f"port {port}" in found.fact
    assert "not the one that let us in" in found.fact
    assert "time-outs" in found.fact


async def test_another_session_is_no_pooler(database: Database) -> None:
    await make(database)
    other = await connect(database.server, database.name)
    try:
        assert codes(await look(database, "access")) == ["role.mighty"]
    finally:
        await other.close()


async def test_each_of_the_grants_that_are_printed_is_missed_when_it_is_taken_away(database: Database) -> None:
    await odd(database)
    given = await asked(database)
    (privileges,) = [one for one in LOOKS if one.name == "privileges"]
    async with member(database, ODD_NAME, least(given)) as target:
        settings = replace(database.settings, target=target)
        policy = policy_file.load(settings.policy)

        async def missing() -> set[str]:
            async with connected(settings, name="test", read_only=True) as connection:
                found = (await examined(connection, policy, settings, looks=[privileges])).findings
            return {one.subject for one in found if one.code == "privilege.missing"}

        assert await missing() == set()
        whom = quoted(ODD_NAME)
        of_tables = [one for one in given.grants if " on table " in str(one) and one.about != "maintenance"]
        assert len(of_tables) > 10
        for grant in of_tables:
            revoked = str(grant).replace("grant ", "revoke ", 1).replace(f" to {whom}", f" from {whom}")
            await database.execute(revoked)
            assert await missing() == {grant.about}, revoked
            await database.execute(str(grant))
        assert await missing() == set()
