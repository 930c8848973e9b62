"""The ledger: schema `maintenance`, where runs and steps are written before a row goes, and batches with their rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Record
from asyncpg import exceptions as pg

from maintenance.catalog import bytes_of
from maintenance.chronicle import Chronicle
from maintenance.database import fetch_one
from maintenance.errors import LedgerError
from maintenance.models import Batch, Cursor, RunStatus, StopReason, Verdict
from maintenance.names import Fragment
from maintenance.runs import Request, Run
from maintenance.sql import script, statement
from maintenance.steps import Step

TABLES = ("run", "step", "pause", "archive")
"""The tables of the ledger, in schema `maintenance`."""


@dataclass(frozen=True, slots=True)
class Ledger(Chronicle):
    """The ledger as one session writes and reads it."""

    async def installed(self, *, writable: bool = True) -> bool:
        """Whether the ledger is there and this role may write it, or at least read it."""
        state = await fetch_one(self.connection, statement("ledger", "state"))
        return bool(state["installed"] and state["writable" if writable else "readable"])

    async def install(self) -> None:
        """Make the ledger's schema where it is missing; safe to repeat, also from two sessions at once.

        Raises:
            LedgerError: this role may not.
        """
        if await self.installed():
            return
        try:
            async with self.connection.transaction():
                await self.connection.execute(statement("ledger", "one_installer"))
                # Another one may have made it while we waited, and be at work in it already.
                if not await self.installed():
                    await self.connection.execute(script("install/ledger"))
        except (pg.InsufficientPrivilegeError, pg.ReadOnlySQLTransactionError) as error:
            raise LedgerError(await self._cure(error)) from error

    async def _cure(self, error: Exception) -> str:
        role, database = await fetch_one(self.connection, statement("ledger", "grantee"))
        return (
            f"The ledger (schema maintenance) cannot be made or used by this role ({error}), and without it no run "
            f"starts, so nothing was deleted. As the database's owner, GRANT CREATE ON DATABASE {database} TO {role}; "
            f"or run `python -m maintenance install` and then GRANT USAGE ON SCHEMA maintenance TO {role}; "
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA maintenance TO {role}; all that the role "
            "needs, for its tables too, `python -m maintenance sql grants --role NAME` prints."
        )

    async def close_dead(self) -> None:
        """Mark runs that died as interrupted. Only for the holder of the lease, who knows that no run is alive."""
        async with self.connection.transaction():
            await self.connection.execute(statement("ledger", "close_dead"))
            await self.connection.execute(statement("ledger", "close_dead_steps"))

    async def begin(self, request: Request, as_of: datetime) -> int | None:
        """Write down that a run begins; returns its id, or None where its request has been taken up before."""
        id_ = await self.connection.fetchval(statement("ledger", "begin_run"), *_asked(request), as_of)
        return None if id_ is None else int(id_)

    async def queue(self, request: Request) -> int:
        """Write down that a run is asked for, which somebody else will take up; returns its id."""
        return int(await self.connection.fetchval(statement("ledger", "queue_run"), *_asked(request)))

    async def skip(self, request: Request, why: str) -> int:
        """Write down that a run did not begin since another holds the lease; returns its id."""
        name, tables, scheduler, by, _, budget, _ = _asked(request)
        values = (name, tables, scheduler, by, budget, why)
        return int(await self.connection.fetchval(statement("ledger", "skip_run"), *values))

    async def requested(self, key: str | None) -> int | None:
        """The run of the request with that key, or None."""
        id_ = await self.connection.fetchval(statement("ledger", "requested"), key)
        return None if id_ is None else int(id_)

    async def is_due(self, run_id: int, slice_: int) -> bool:
        """Whether slice number `slice_` of a run was its last and it has work left."""
        return bool(await self.connection.fetchval(statement("ledger", "is_due"), run_id, slice_))

    async def take_up(self, run_id: int, slice_: int, now: datetime) -> None:
        """Write down that the slice after `slice_` begins; `now` is the instant of a run that begins with it."""
        await self.connection.execute(statement("ledger", "take_up"), run_id, slice_, now)

    async def abandon(self, run_id: int, why: str) -> None:
        """Write down that a run failed since nobody could take it up; one that has ended well stays as it is."""
        async with self.connection.transaction():
            await self.connection.execute(statement("ledger", "abandon"), run_id, why)
            await self.connection.execute(statement("ledger", "abandon_steps"), run_id)

    async def add(self, run_id: int, step: Step, cursor: Cursor | None) -> int:
        """Write down a step that is to be done, and where it will start; returns its id."""
        values = (run_id, step.task, str(step.table), step.strategy, step.rule, step.summary, _json(cursor))
        return int(await self.connection.fetchval(statement("ledger", "add_step"), *values))

    async def add_again(self, step_id: int, step: Step, cursor: Cursor | None) -> None:
        """Write down that a step of an earlier slice has another turn, and where it will start."""
        values = (step.strategy, step.summary, _json(cursor))
        await self.connection.execute(statement("ledger", "add_again"), step_id, *values)

    async def begin_step(self, step_id: int, step: Step, *, sized: bool = True) -> Record:
        """Write down that a step has its turn, and how many `bytes` its table has if they can be told.

        Not where the table is not `there` any more by the name that it was planned by, or all runs are `paused`.
        """
        size = bytes_of(Fragment("$2::oid")) if sized else Fragment("null::bigint")
        values = (step_id, step.oid, step.table.schema, step.table.name)
        return await fetch_one(self.connection, statement("ledger", "begin_step", bytes=size), *values)

    async def checkpoint(self, step_id: int, batch: Batch, seconds: float) -> bool:
        """Write down a batch, in its own transaction where it has one; returns whether somebody paused all runs."""
        values = (batch.rows, batch.updated, seconds, _json(batch.cursor))
        return bool(await self.connection.fetchval(statement("ledger", "checkpoint"), step_id, *values))

    async def end_step(
        self,
        step_id: int,
        verdict: Verdict,
        *,
        note: str | None,
        size: int | None,
        seconds: float,
        paused: float = 0.0,
        batches: int = 0,
        deleted: int | None = None,
        lags: tuple[float | None, float | None] = (None, None),
    ) -> None:
        """Write down how a step ended that took `seconds` in this slice, `paused` of them holding back.

        `batches` of it were not written down yet; `deleted` is what the server has counted of deletes from its table;
        `lags` are its retention lag when it began and when it ended, in seconds.
        """
        error = None if verdict.stop_reason is StopReason.DONE else verdict.message
        how = (verdict.status, verdict.stop_reason, note, error, verdict.sqlstate)
        values = (*how, size, seconds, paused, batches, deleted, *lags)
        await self.connection.execute(statement("ledger", "end_step"), step_id, *values)

    async def unbegin_step(self, step_id: int) -> None:
        """Take back that a step has begun: there was no time for its work, of which what it took tells nothing."""
        await self.connection.execute(statement("ledger", "unbegin_step"), step_id)

    async def remark(self, run_id: int, note: str) -> None:
        """Write down what a person should know of a run."""
        await self.connection.execute(statement("ledger", "remark"), run_id, note)

    async def approve(self, run_id: int, approved: Mapping[str, int]) -> None:
        """Write down what a run's word was good for when it began, for the slices that follow."""
        if approved:
            await self.connection.execute(statement("ledger", "approve"), run_id, json.dumps(dict(approved)))

    async def approved(self, run_id: int) -> dict[str, int]:
        """What was approved when the run began: rows, by the subject of the rule."""
        found: dict[str, int] = json.loads(
            await self.connection.fetchval(statement("ledger", "approved"), run_id) or "{}"
        )
        return found

    async def remark_step(self, step_id: int, note: str) -> None:
        """Add to the note of a step that has ended."""
        await self.connection.execute(statement("ledger", "remark_step"), step_id, note)

    async def end(
        self,
        run_id: int,
        status: RunStatus,
        stop_reason: StopReason,
        error: str | None,
        *,
        seconds: float,
        size: int | None = None,
    ) -> Run:
        """Write down how a slice of a run ended that took `seconds`, and return the run as it stands.

        `size` is that of the database by then, in bytes.
        """
        values = (run_id, status, stop_reason, error, seconds, size)
        await self.connection.execute(statement("ledger", "end_run"), *values)
        return await self.known(run_id)

    async def deleted(self, oid: int) -> int | None:
        """Rows deleted from a table by anybody, ours of a moment ago among them; None where the server cannot tell yet.

        PostgreSQL 14 counts them with a delay, and cannot be asked to hurry.
        """
        if self.connection.get_server_version().major < 15:
            return None
        await self.connection.execute(statement("upkeep", "flush"))
        return int(await self.connection.fetchval(statement("ledger", "deleted"), oid))

    async def prune(self, keep: float) -> None:
        """Remove runs that ended more than `keep` seconds ago."""
        await self.connection.execute(statement("ledger", "prune"), keep)
        await self.connection.execute(statement("ledger", "prune_archives"), keep)


def _asked(request: Request) -> tuple[object, ...]:
    return (
        request.name, list(request.tables), request.scheduler, request.requested_by, request.key, request.budget,
        request.approve,
    )  # fmt: skip


def _json(cursor: Cursor | None) -> str | None:
    return None if cursor is None else json.dumps(cursor)
