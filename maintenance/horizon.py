"""The horizon: who may still look at rows that are dead, so that no VACUUM can remove them. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from asyncpg import Connection

from maintenance.budget import spelled
from maintenance.names import literal, quoted
from maintenance.sql import statement

_FILE = "horizon"


class Kind(StrEnum):
    """What holds the horizon back.

    https://www.postgresql.org/docs/current/routine-vacuuming.html
    """

    SESSION = "session"
    AUTOVACUUM = "autovacuum"
    """A worker of the server's own, at an ANALYZE: one that is at a VACUUM holds nothing back."""
    PREPARED = "prepared"
    SLOT = "slot"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Somebody who holds the horizon back, as the server shows him."""

    kind: Kind
    name: str
    """The session's pid, the prepared transaction's gid, the slot's name, or the standby's application_name."""
    pid: int | None = None
    """Of the session, or of the walsender that serves the standby or the slot; None where there is none."""
    application: str | None = None
    role: str | None = None
    database: str | None = None
    """None where it is of all databases."""
    state: str | None = None
    active: bool | None = None
    """Of a slot, whether somebody is using it."""
    since: datetime | None = None
    """When its transaction began, was prepared, or the slot was left; None where the server does not tell."""
    seconds: float | None = None
    """How long ago that was, by the database's clock."""
    relation: int | None = None
    """The oid of the table that it analyzes."""
    xmin: int | None = None
    """The oldest transaction that it may look at, without its epoch; None as for `age`."""
    age: int | None = None
    """Transactions since the oldest that it may look at; None where it holds back no table of this database."""
    catalog_age: int | None = None
    """The same for the system catalogs, which other databases and logical slots hold back as well."""

    def __str__(self) -> str:
        since = "" if self.since is None else f" since {self.since:%Y-%m-%d %H:%M:%S} UTC"
        lasts = "" if self.seconds is None else f" ({spelled(self.seconds)})"
        if self.kind is Kind.SESSION:
            who = f"application {self.application!r}, role {self.role}, database {self.database}"
            return f"session {self.name} ({who}, {self.state or 'no state'}), in a transaction{since}{lasts}"
        if self.kind is Kind.AUTOVACUUM:
            return f"autovacuum worker {self.name} (database {self.database}), in a transaction{since}{lasts}"
        if self.kind is Kind.PREPARED:
            return f"prepared transaction {self.name!r} (role {self.role}, database {self.database}){since}{lasts}"
        back = self.catalog_age if self.age is None else self.age
        ago = "" if back is None else f", {back:,} transactions back"
        if self.kind is Kind.SLOT:
            used = "active" if self.active else f"inactive{since}{lasts}"
            return f"replication slot {self.name!r} ({self.state}, {used}{ago})"
        return f"standby {self.name!r} by hot_standby_feedback ({self.state}, pid {self.pid}{ago})"

    @property
    def cure(self) -> str:
        """The SQL that ends it, for an operator to run; of a standby (there) and of autovacuum, what shows it."""
        if self.kind is Kind.SESSION:
            return f"select pg_terminate_backend({self.pid})"
        if self.kind is Kind.PREPARED:
            return f"rollback prepared {literal(self.name)}"
        if self.kind is Kind.SLOT:
            return f"select pg_drop_replication_slot({literal(self.name)})"
        if self.kind is Kind.AUTOVACUUM:
            return "select pid, phase, relid::regclass from pg_stat_progress_analyze"
        return "select pid, xact_start, application_name from pg_stat_activity order by xact_start"

    @property
    def remedy(self) -> str:
        """What to do about it, in words."""
        if self.kind is Kind.SESSION:
            return f"let it commit, or end it: {self.cure};"
        if self.kind is Kind.PREPARED:
            commit = f"commit prepared {literal(self.name)}"
            where = f" in the database {quoted(self.database)}" if self.database else ""
            return f"ask its coordinator, then {commit}; or {self.cure};{where}"
        if self.kind is Kind.SLOT:
            return f"let its consumer catch up, or, if it never comes back, {self.cure};"
        if self.kind is Kind.AUTOVACUUM:
            return f"it ends by itself; {self.cure}; tells what it is at"
        return f"end its longest query (on the standby: {self.cure};), or turn hot_standby_feedback off there"

    def before(self, xid: int) -> bool:
        """Whether it may look at what a transaction before `xid`, which has its epoch, has deleted."""
        # Transaction IDs go round in 32 bits, and no two of them are further apart than half of that.
        return self.xmin is not None and 0 < (xid - self.xmin) % 2**32 < 2**31


async def holders(connection: Connection) -> tuple[Holder, ...]:
    """Those that hold the horizon back, the one that holds this database's tables back furthest first.

    What a role without `pg_read_all_stats` is not shown (other roles' sessions, standbys), is not among them.
    """
    rows = await connection.fetch(statement(_FILE, "holders"))
    return tuple(Holder(**{**row, "kind": Kind(row["kind"])}) for row in rows)


async def sees_all(connection: Connection) -> bool:
    """Whether this role is shown the sessions of others, so that `holders` has all there are."""
    return bool(await connection.fetchval(statement(_FILE, "sees_all")))


async def next_xid(connection: Connection) -> int:
    """The transaction ID that comes next, with its epoch."""
    return int(await connection.fetchval(statement(_FILE, "next_xid")))


async def deferred(connection: Connection) -> int:
    """Transactions by which vacuum_defer_cleanup_age holds every VACUUM back."""
    return int(await connection.fetchval(statement(_FILE, "deferred")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a VACUUM of one table would find."""

    dead: int
    age: int
    """Transactions since its oldest row that is not frozen may have come."""
    multixact_age: int = 0
    seconds: float | None
    """Since its last VACUUM, by anybody; None where it never had one."""

    @property
    def dated(self) -> bool:
        """Whether it is known since when its rows have died: not where the clock was set back since."""
        return self.seconds is not None and self.seconds > 0

    def kept(self, holder: Holder) -> float:
        """The share of what has changed since the last VACUUM that the holder keeps from a next one, 0 to 1.

        An estimate: nobody knows when a row died, so changes are taken for even in time, or in transactions where the
        time is not known. All is kept by one who was there before the last VACUUM.
        """
        if holder.age is None:
            return 0.0
        by_transactions = min(1.0, holder.age / max(self.age, 1))
        if self.seconds is None or self.seconds <= 0 or holder.seconds is None:
            return by_transactions
        by_time = min(1.0, holder.seconds / self.seconds)
        # A slot was left some time after what it holds back.
        return max(by_time, by_transactions) if holder.kind is Kind.SLOT else by_time

    def freezable(self, holder: Holder) -> float:
        """The share of its age that a VACUUM (FREEZE) could take from it, 0 to 1."""
        return max(0.0, 1 - (holder.age or 0) / max(self.age, 1))


async def changes(connection: Connection, oid: int) -> Changes | None:
    """What a VACUUM of the table would find, by the server's counters; None where the table is gone."""
    row = await connection.fetchrow(statement(_FILE, "changes"), oid)
    return None if row is None else Changes(**row)
