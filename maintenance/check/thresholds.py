"""Thresholds: from which amounts on the check speaks of something, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass

_HOUR = 3600.0
_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Seconds, bytes, rows, transactions and shares; the defaults are those of the command line."""

    budget: float = 60.0
    """Seconds for all looks together: as long as somebody at a terminal waits."""
    look: float = 15.0
    """Seconds for one look: one that is stuck must leave the others theirs."""
    count: float = 1.0
    """Seconds to count the rows that break one rule: a figure for the reader, which the plan gives in full."""
    measure: float = 3.0
    """Seconds for pgstattuple to measure one relation, of which it reads what is not all visible; then the estimate."""
    large: int = 1 << 30
    """Bytes of a heap from which reading it in each run is worth an index; the plan speaks of it from there on too."""
    partitions: int = 10 << 30
    """Bytes of a heap from which to drop partitions beats to delete rows and vacuum: minutes of VACUUM, GB of WAL."""
    wasted: int = 128 << 20
    """Bytes of bloat that are worth a rebuild; PgHero's own limit for indexes is 100 MB.
    https://github.com/ankane/pghero"""
    wasted_share: float = 0.5
    """Of a relation: what is used again by its own updates needs some room, so less is no bloat."""
    waiting_share: float = 0.1
    """Of a table's rows, so many dead ones that VACUUM has yet to take: only after it one sees what is bloat."""
    unused_after: float = 30 * _DAY
    """Seconds for which scans must have been counted: what a monthly report needs is not unused."""
    unused_bytes: int = 10 << 20
    """Bytes of an index from which it costs something to keep it."""
    referencing: int = 10_000
    """Rows of a referencing table from which to scan it for each deleted parent is slow: about 1 ms a row deleted."""
    hot_updates: int = 10_000
    """Updates of a table from which their kind says something."""
    hot_share: float = 0.5
    """Of the updates: with fewer that are HOT, indexes grow faster than rows.
    https://www.postgresql.org/docs/current/storage-hot.html"""
    dead: int = 10_000
    """Dead rows from which a table that autovacuum has left alone counts as behind."""
    behind: float = 2.0
    """Times the table's own autovacuum threshold: at once it is about to be vacuumed, at twice it is not."""
    behind_after: float = _DAY
    """Seconds since the last VACUUM of it."""
    xid_warning: int = 500_000_000
    """Transactions: two and a half times autovacuum_freeze_max_age, so that its forced VACUUM has not helped.
    https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-WRAPAROUND"""
    xid_error: int = 1_600_000_000
    """Transactions: vacuum_failsafe_age, where VACUUM gives up everything else; at 2.1 billion the server stops."""
    held: float = _HOUR
    """Seconds that a transaction, prepared or not, or a slot nobody reads may pin the horizon: longer than a report."""
    pinned: int = 1_000_000
    """Transactions that a slot or a standby may be behind, where nobody says for how long."""
    kept_wal: int = 1 << 30
    """Bytes of WAL that a slot may keep while nobody reads it."""
    cleanup: float = 36 * _HOUR
    """Seconds without a clean-up that got through: the alert `no-run` of infra/alerts.tf has the same."""
    vacuum: float = 9 * _DAY
    """Seconds without a VACUUM run: a week, and one day's grace on each side."""
    unfinished: int = 7
    """Clean-ups one after the other that all left work: a week of nights."""
    lag: float = _DAY
    """Seconds of retention lag where the policy has no objective: a nightly run leaves less."""
    ending: float = 180 * _DAY
    """Seconds before a major version's end in which to plan the upgrade."""
    expiring: float = 14 * _DAY
    """Seconds before a role's password ends."""
    connections: float = 0.9
    """Of max_connections: the next run may find none left."""
