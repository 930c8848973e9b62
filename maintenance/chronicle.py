"""The chronicle: runs and their steps as the ledger has them. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection, Record

from maintenance.database import fetch_one
from maintenance.errors import LedgerError
from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.runs import Run, StepResult
from maintenance.sql import statement


@dataclass(frozen=True, slots=True)
class Chronicle:
    """The ledger as one session reads it."""

    connection: Connection

    async def readable(self) -> bool:
        """Whether there is a ledger to read; False where none has been made yet.

        Raises:
            LedgerError: there is one, but this role may not read it.
        """
        state = await fetch_one(self.connection, statement("ledger", "state"))
        if state["made"] and not state["installed"]:
            raise LedgerError(
                "The ledger is of an older version, so its runs cannot be shown; the next run brings it up to date, or "
                "python -m maintenance install as its owner."
            )
        if state["installed"] and not state["readable"]:
            role, _ = await fetch_one(self.connection, statement("ledger", "grantee"))
            raise LedgerError(
                f"This role may not read the ledger, so its runs cannot be shown; GRANT USAGE ON SCHEMA maintenance TO "
                f"{role}; GRANT SELECT ON ALL TABLES IN SCHEMA maintenance TO {role};"
            )
        return bool(state["installed"])

    async def runs(self, limit: int) -> list[Run]:
        """The last runs, newest first, without their steps."""
        return [_run(row, ()) for row in await self.connection.fetch(statement("ledger", "runs"), limit)]

    async def told(self, limit: int, most: int) -> list[Run]:
        """The last runs, newest first, each with at most `most` of its steps: those with errors and the most rows."""
        rows = await self.connection.fetch(statement("ledger", "runs"), limit)
        steps: dict[int, list[StepResult]] = {row["id"]: [] for row in rows}
        for step in await self.connection.fetch(statement("report", "steps"), list(steps), most):
            steps[step["run_id"]].append(_result(step))
        return [_run(row, tuple(steps[row["id"]])) for row in rows]

    async def last_of_each(self, as_of: datetime, days: int, limit: int) -> list[Run]:
        """The last run of each name of some days that was not skipped, newest first, without their steps."""
        rows = await self.connection.fetch(statement("report", "last_of_each"), as_of, days, limit)
        return [_run(row, ()) for row in rows]

    async def run(self, run_id: int) -> Run | None:
        """A run with its steps, or None."""
        row = await self.connection.fetchrow(statement("ledger", "run"), run_id)
        if row is None:
            return None
        steps = await self.connection.fetch(statement("ledger", "steps"), run_id)
        return _run(row, tuple(_result(step) for step in steps))

    async def known(self, run_id: int) -> Run:
        """A run that must be there, with its steps.

        Raises:
            LedgerError: it is not.
        """
        run = await self.run(run_id)
        if run is None:
            raise LedgerError(f"Run {run_id} is not in the ledger; somebody removed it, or it is another database's.")
        return run


def _run(row: Record, steps: tuple[StepResult, ...]) -> Run:
    return Run(
        id=row["id"], name=row["name"], status=RunStatus(row["status"]), stop_reason=_reason(row),
        scheduler=row["scheduler"], as_of=row["as_of"], started_at=row["started_at"], ended_at=row["ended_at"],
        rows=row["rows"], error=row["error"], tables=tuple(row["tables"]), requested_by=row["requested_by"],
        slices=row["slices"], budget=row["budget"], spent=row["spent"], note=row["note"], approve=row["approve"],
        database_bytes=row["database_bytes"],
        steps=steps,
    )  # fmt: skip


def _result(row: Record) -> StepResult:
    return StepResult(
        id=row["id"], task=row["task"], table=row["table_name"], strategy=row["strategy"],
        status=StepStatus(row["status"]), stop_reason=_reason(row), rows=row["rows"], updated=row["updated"],
        batches=row["batches"], seconds=row["seconds"], paused=row["paused"], bytes_before=row["bytes_before"],
        bytes_after=row["bytes_after"], summary=row["summary"], note=row["note"], error=row["error"],
        sqlstate=row["sqlstate"], rule=row["rule"],
        cursor=row["cursor"], lag_before=row["lag_before"], lag_after=row["lag_after"],
    )  # fmt: skip


def _reason(row: Record) -> StopReason | None:
    return StopReason(row["stop_reason"]) if row["stop_reason"] else None
