"""Connections: opened with time-outs and a name, checked before use, closed. The only caller of asyncpg.connect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import asyncpg
from asyncpg import Connection, Record

from maintenance.entra import Token
from maintenance.errors import ConnectionLost, DatabaseError, StatementRefused
from maintenance.refusals import REFUSED, Attempt, first_line
from maintenance.session import Session, expect
from maintenance.settings import Settings
from maintenance.sql import statement
from maintenance.target import Auth, Target
from maintenance.tls import tls

BOOKKEEPING = 30.0
"""Seconds that a statement may take which is not the work itself: what a run has done is written down even when its
budget is used up."""
GLANCE = 0.3
"""Seconds that a look at something may take which the run can do without, such as a size."""
_NEVER = 86_400.0
"""The driver's own limit on a connection attempt; ours moves, this one cannot."""
OLDEST_MAJOR = 14
"""TID range scans, which bound our batches, came with PostgreSQL 14. https://www.postgresql.org/docs/release/14.0/"""


@asynccontextmanager
async def connected(settings: Settings, *, name: str, read_only: bool = False) -> AsyncIterator[Connection]:
    """A session with its own time-outs, in UTC, that row-level security cannot silently blind; closed in any case.

    Raises:
        SettingsError: no database is configured.
        DatabaseError: unreachable, refused, too old, or a server that cannot be written to.
        ConnectionLost: the session ended in the middle of the block.
        StatementRefused: the server refused a statement of the block that nobody there has dealt with.
    """
    target = settings.required_target()
    connection = await _connect(target, settings, name, read_only=read_only)
    try:
        await _check(connection, target, read_only=read_only)
        await _watch_client(connection)
        yield connection
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        if connection.is_closed() or not isinstance(error, asyncpg.PostgresError):
            raise ConnectionLost(
                f"{target} {_lost(connection, error)}; what is committed stays; "
                "run again to go on from the last committed batch."
            ) from error
        raise StatementRefused(
            f"{target} refused a statement that a run cannot do without ({first_line(error)}, SQLSTATE "
            f"{error.sqlstate}); what is committed stays."
        ) from error
    finally:
        await _close(connection)


async def _connect(target: Target, settings: Settings, name: str, *, read_only: bool) -> Session:
    seconds = settings.connect_timeout
    attempt = Attempt(target=target, seconds=seconds, token=None)
    try:
        async with asyncio.timeout(seconds) as limit:
            if target.auth is Auth.ENTRA:
                attempt = replace(attempt, token=Token(target, limit, seconds))
            session = await asyncpg.connect(
                host=target.host.split(",") if "," in target.host else target.host,
                port=target.port,
                database=target.database,
                user=target.user,
                # Asked anew for each connection: a token lives for minutes, and the server looks at it only here.
                password=attempt.token or target.password,
                ssl=tls(target),
                timeout=_NEVER,
                server_settings=_session(settings, name, read_only=read_only),
                connection_class=Session,
            )
    except REFUSED as error:
        raise attempt.refused(error) from error
    session.limit, session.patience = BOOKKEEPING, seconds
    return session


def _session(settings: Settings, name: str, *, read_only: bool) -> dict[str, str]:
    return {
        "application_name": name[:63],
        "lock_timeout": milliseconds(settings.lock_timeout),
        "statement_timeout": milliseconds(BOOKKEEPING),
        "idle_in_transaction_session_timeout": "60000",
        # A client that vanished without a word is noticed within two minutes, and its lease is free again.
        "tcp_keepalives_idle": "60",
        "tcp_keepalives_interval": "15",
        "tcp_keepalives_count": "3",
        **({"default_transaction_read_only": "on"} if read_only else {}),
        # A batch judges again in its second statement, which only here sees what was committed since the first.
        "default_transaction_isolation": "read committed",
        "TimeZone": "UTC",
        "DateStyle": "ISO, YMD",
        "IntervalStyle": "postgres",
        # What is a string in a rule's `where` is one by the standard, to the server and to us.
        "standard_conforming_strings": "on",
        # A generic plan does not know how narrow a block range is; planning costs us well under a millisecond.
        "plan_cache_mode": "force_custom_plan",
        # Rather an error than a parent row that we are not allowed to see and therefore think gone.
        "row_security": "off",
        "client_min_messages": "warning",
        # On a server of one or two cores, parallel workers would take them from the application.
        "max_parallel_workers_per_gather": "0",
        # Storage in the cloud seeks as fast as it reads; the default of 4 is a disk's, and makes a small batch read a
        # whole parent table rather than its index.
        "random_page_cost": "1.1",
    }


async def _check(connection: Connection, target: Target, *, read_only: bool) -> None:
    major = connection.get_server_version().major
    if major < OLDEST_MAJOR:
        raise DatabaseError(f"{target} runs PostgreSQL {major}; at least {OLDEST_MAJOR} is needed. Upgrade the server.")
    row = await fetch_one(connection, statement("database", "writable"))
    if row["in_recovery"]:
        raise DatabaseError(
            f"{target} is a read-only replica, so nothing can be maintained there; point PGHOST at the primary."
        )
    if row["read_only"] and not read_only:
        raise DatabaseError(
            f"{target} accepts no writes (default_transaction_read_only is on, as Azure sets it when the storage is "
            "nearly full); grow the storage or turn the setting off, then run again."
        )


async def _watch_client(connection: Connection) -> None:
    try:
        await connection.execute(statement("database", "watch_client"))
    except asyncpg.PostgresError:
        if connection.is_closed():
            raise
        # Not every system that a server runs on can tell. It then notices a lost client only when it answers.


async def _close(connection: Connection) -> None:
    try:
        await connection.close(timeout=5)
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()


def _lost(session: Session, error: Exception) -> str:
    if session.silent is None:
        return f"ended the connection ({error})"
    return f"did not answer within {session.silent:.0f} s, longer than the statement may take, so it was given up"


async def limit_statements(connection: Connection, seconds: float, *, local: bool) -> None:
    """Let no statement of this session (or, `local`, of this transaction) run longer than `seconds`."""
    if not local:
        expect(connection, seconds)
    await connection.execute(statement("database", "limit_statements"), milliseconds(seconds), local)


async def name_session(connection: Connection, name: str, seconds: float) -> None:
    """Show the server's operators what this session is at, in pg_stat_activity; `seconds` limit its statements."""
    expect(connection, seconds)
    await connection.execute(statement("database", "name_session"), name[:63], milliseconds(seconds))


async def fetch_one(connection: Connection, sql: str, *values: object) -> Record:
    """The row of a query that always has one."""
    row = await connection.fetchrow(sql, *values)
    if row is None:
        raise DatabaseError(f"The server gave no row where it always gives one: {sql}")
    return row


async def clock(connection: Connection) -> datetime:
    """The database's clock, the only one that decides what is old."""
    now: datetime = await connection.fetchval(statement("database", "clock"))
    return now


def milliseconds(seconds: float) -> str:
    """Seconds as PostgreSQL's time-out settings want them; never 0, which would mean no limit."""
    return str(min(max(1, int(seconds * 1000)), 2**31 - 1))
