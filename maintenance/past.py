"""The past: what earlier runs left in the ledger that a plan or a run has to know. Reads only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection

from maintenance.amounts import size
from maintenance.models import Carried, StepStatus, StopReason, Took
from maintenance.sql import statement

_FILE = "ledger"
_UNFINISHED = (
    StepStatus.INTERRUPTED, StepStatus.FAILED, StepStatus.BLOCKED, StepStatus.PENDING, StepStatus.RUNNING,
)  # fmt: skip
_TURNS = 10
"""After so many turns in which a rule deleted nothing, while its table grew, somebody should hear of it."""
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
    """What earlier runs left of each piece of work, by task, table and rule."""
    return {
        (row["task"], row["table_name"], row["rule"]): Carried(
            strategy=row["strategy"],
            cursor=json.loads(row["cursor"]) if row["cursor"] else None,
            starved=row["began_at"] is None and row["stop_reason"] in _STARVED,
            last_turn=row["last_turn"] or 0,
            since=row["since"],
            unfinished=row["status"] in _UNFINISHED,
        )
        for row in await connection.fetch(statement(_FILE, "carried"))
    }


async def idle(connection: Connection) -> dict[tuple[str, str, str], str]:
    """Rules that delete nothing although their table grows, each with words that say so."""
    return {
        (row["task"], row["table_name"], row["rule"]): (
            f"this rule deleted nothing in its last {_TURNS} turns, while the table grew from {size(row['was'])} to "
            f"{size(row['is'])}: look whether column and keep are the right ones"
        )
        for row in await connection.fetch(statement(_FILE, "idle"), _TURNS)
    }


async def changed_at(connection: Connection) -> dict[str, datetime]:
    """When a run last deleted or rewrote rows of each table."""
    rows = await connection.fetch(statement(_FILE, "changed_at"))
    return {row["table_name"]: row["changed_at"] for row in rows}


async def took(connection: Connection, tasks: Iterable[str]) -> dict[tuple[str, str], Took]:
    """How long the last turn of each step of these tasks took, by task and table."""
    return {
        (row["task"], row["table_name"]): Took(
            seconds=row["seconds"], size=row["bytes_before"], cut=row["cut"], after=row["bytes_after"]
        )
        for row in await connection.fetch(statement(_FILE, "took"), list(tasks))
    }


async def deletions(connection: Connection) -> dict[str, Deletions]:
    """What was counted at the end of the last step of each table that deleted from it."""
    return {
        row["table_name"]: Deletions(total=row["deleted"], rows=row["rows"], run_id=row["run_id"])
        for row in await connection.fetch(statement(_FILE, "deletions"))
    }
