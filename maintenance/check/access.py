"""Access: how the session got here: TLS, the way of logging in, what the role is, and whether a pooler sits between."""

from __future__ import annotations

from collections.abc import Iterator

from asyncpg import Record

from maintenance.budget import spelled
from maintenance.check.kinds import finding
from maintenance.check.view import Look, View
from maintenance.database import fetch_one, milliseconds
from maintenance.findings import Finding
from maintenance.names import quoted
from maintenance.sql import statement
from maintenance.target import Auth, Target, is_flexible_server, is_local

_SYSTEM_USER = 16
"""Major from which a session can tell how it logged in. https://www.postgresql.org/docs/16/functions-info.html"""
_POOLER_PORT = 6432


async def _find(view: View) -> list[Finding]:
    row = await fetch_one(view.connection, statement("check/access", "session"))
    found = [*_pooled(view, row), *_role(view, row)]
    target = view.settings.target
    if target is not None:
        login = None
        if view.major >= _SYSTEM_USER:
            login = str(await view.connection.fetchval(statement("check/access", "login")) or "trust")
        found += _login(target, login, tls=row["ssl"])
    return found


def _pooled(view: View, row: Record) -> Iterator[Finding]:
    """A pooler answers with a key of its own when a session begins, and does not pass on what it does not know."""
    signs = []
    if view.connection.get_server_pid() != row["pid"]:
        signs.append("the process that answers is not the one that let us in")
    if _milliseconds(row["lock_timeout"]) != milliseconds(view.settings.lock_timeout):
        signs.append("the time-outs of our session did not arrive")
    port = None if view.settings.target is None else view.settings.target.port
    if signs:
        at = f" at port {port}" if port else ""
        usual = ", the port of Azure's built-in PgBouncer" if port == _POOLER_PORT else ""
        yield finding("server.pooled", "", f"a connection pooler answers{at}{usual}: {'; '.join(signs)}")


def _milliseconds(setting: str) -> str:
    """A time-out as SHOW words it, in the words of `milliseconds`."""
    units = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
    number = setting.rstrip("abcdefghijklmnopqrstuvwxyz")
    return str(int(number) * units.get(setting[len(number) :], 1))


def _role(view: View, row: Record) -> Iterator[Finding]:
    flags = {
        "super": "a superuser", "administers": "a member of azure_pg_admin", "creates_roles": "one that may make roles",
        "bypasses": "one that row-level security does not bind", "replicates": "one that may replicate",
    }  # fmt: skip
    might = next((words for flag, words in flags.items() if row[flag]), None)
    if might is not None:
        yield finding("role.mighty", view.role, f"the role is {might}, far more than the policy needs")
    if row["until"] is not None:
        left = (row["until"] - view.as_of).total_seconds()
        if left < view.thresholds.expiring:
            when = f"{row['until']:%Y-%m-%d %H:%M} UTC"
            yield finding(
                "role.expiring", view.role, f"its password is valid until {when} ({spelled(max(left, 0))} left)",
                cure=f"alter role {quoted(view.role)} valid until 'infinity';",
            )  # fmt: skip


def _login(target: Target, login: str | None, *, tls: bool) -> Iterator[Finding]:
    if target.auth is Auth.PASSWORD and is_flexible_server(target.host):
        yield finding("login.password", target.user or "", "the login to Azure is by a password")
    if is_local(target.host):
        return
    if not tls:
        yield finding("connection.plain", str(target), "nothing encrypts what goes to another machine")
    elif target.sslmode in ("allow", "prefer", "require"):
        yield finding(
            "connection.unverified",
            str(target),
            f"PGSSLMODE is {target.sslmode}: nobody looks whose certificate it is",
        )
    method = None if login is None else login.split(":")[0]
    if method == "trust":
        yield finding("login.weak", target.user or "", "the server lets this role in without any proof (trust)")
    if method == "md5":
        # The server names the rule, not what it made of it: a password stored for SCRAM is asked for by SCRAM.
        yield finding("login.hashed", target.user or "", "the rule of pg_hba.conf that lets this role in allows MD5")


ACCESS = Look(name="access", what="TLS, the login, the role, and a pooler in between", find=_find)
