"""The switch: pauses all runs of a database, whoever schedules them, from their next batch on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection, Record

from maintenance.database import fetch_one
from maintenance.models import StepStatus, StopReason, Verdict
from maintenance.sql import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Since when nothing is done, by whose wish, and why."""

    since: datetime
    paused_by: str | None
    reason: str | None

    def __str__(self) -> str:
        by = f" by {self.paused_by}" if self.paused_by else ""
        why = f" ({self.reason})" if self.reason else ""
        return (
            f"all runs of this database are paused since {self.since:%Y-%m-%d %H:%M} UTC{by}{why}; "
            "`python -m maintenance resume` lets them go on"
        )


async def pause(connection: Connection, *, by: str | None, reason: str | None) -> Pause:
    """Pause all runs; one that is paused already stays paused since then. The ledger must be installed."""
    return _pause(await fetch_one(connection, statement("ledger", "pause"), by, reason))


async def resume(connection: Connection) -> None:
    """Let runs begin again; what was left of those that were paused, the next ones do."""
    await connection.execute(statement("ledger", "resume"))


async def found(connection: Connection) -> Pause | None:
    """The pause, or None where runs may begin."""
    row = await connection.fetchrow(statement("ledger", "paused"))
    return None if row is None else _pause(row)


async def halt(connection: Connection) -> Verdict | None:
    """What becomes of the steps that are left, where somebody has paused all runs."""
    pause = await found(connection)
    if pause is None:
        return None
    return Verdict(status=StepStatus.INTERRUPTED, stop_reason=StopReason.PAUSED, message=str(pause))


def _pause(row: Record) -> Pause:
    return Pause(since=row["since"], paused_by=row["paused_by"], reason=row["reason"])
