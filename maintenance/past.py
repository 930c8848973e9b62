"""The past: what earlier runs left in the ledger that a plan or a run has to know. Reads only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection

from maintenance.models import Carried, StepStatus, StopReason, Took
from maintenance.sql import statement

_FILE = "ledger"
_UNFINISHED = (
    StepStatus.INTERRUPTED, StepStatus.FAILED, StepStatus.BLOCKED, StepStatus.PENDING, StepStatus.RUNNING,
)  # fmt: skip
_STARVED = (StopReason.BUDGET, StopReason.LAG, StopReason.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletions:
    """What the server had counted when a step ended that deleted."""

    total: int
    """Rows deleted from the table by anybody since its statistics began."""
    rows: int
    """Those of the step."""
    run_id: int


async def carried(connection: Connection) -> dict[tuple[str, str, str], Carried]:
    """What earlier runs left unfinished, by task, table and rule."""
    return {
        (row["task"], row["table_name"], row["rule"]): Carried(
            strategy=row["strategy"],
            cursor=json.loads(row["cursor"]) if row["cursor"] else None,
            starved=row["began_at"] is None and row["stop_reason"] in _STARVED,
            last_turn=row["last_turn"] or 0,
        )
        for row in await connection.fetch(statement(_FILE, "carried"))
        if row["status"] in _UNFINISHED
    }


async def changed_at(connection: Connection) -> dict[str, datetime]:
    """When a run last deleted or rewrote rows of each table."""
    rows = await connection.fetch(statement(_FILE, "changed_at"))
    return {row["table_name"]: row["changed_at"] for row in rows}


async def took(connection: Connection, tasks: Iterable[str]) -> dict[tuple[str, str], Took]:
    """How long the last turn of each step of these tasks took, by task and table."""
    return {
        (row["task"], row["table_name"]): Took(seconds=row["seconds"], size=row["bytes_before"], cut=row["cut"])
        for row in await connection.fetch(statement(_FILE, "took"), list(tasks))
    }


async def deletions(connection: Connection) -> dict[str, Deletions]:
    """What was counted at the end of the last step of each table that deleted from it."""
    return {
        row["table_name"]: Deletions(total=row["deleted"], rows=row["rows"], run_id=row["run_id"])
        for row in await connection.fetch(statement(_FILE, "deletions"))
    }
