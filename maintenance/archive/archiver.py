"""The archiver: stores a batch's rows, reads them back, and only then lets their deletion be committed."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

import asyncpg
from asyncpg import Connection

from maintenance.archive import record
from maintenance.archive.deposit import PATIENCE, Deposit
from maintenance.archive.literals import inlined
from maintenance.archive.manifest import ROWS, Manifest, State, Stored, folder_of, manifest_of
from maintenance.archive.store import Store
from maintenance.database import fetch_one
from maintenance.errors import ArchiveError, Blocked
from maintenance.names import Fragment, listed, quoted
from maintenance.sql import statement
from maintenance.steps import Step

_LOG = logging.getLogger("maintenance")


@dataclass(slots=True, kw_only=True)
class Archiver:
    """The deleter of a step that has an archive."""

    store: Store
    manifest: Manifest
    """That of an object without rows, from which those of all others are made."""
    step: Step
    folder: str
    patience: float
    waiting: list[Manifest] = field(default_factory=list)
    """Stored, and not yet committed."""
    marked: list[str] = field(default_factory=list)
    """Objects whose manifests say that they are committed, which the ledger has yet to hear."""

    async def delete(self, connection: Connection, sql: str, alias: Fragment, *values: object) -> int:
        """Delete, and have the rows in the store before anything is committed.

        Raises:
            Blocked: the store fails or has something else than it was given; the transaction must not be committed.
        """
        await connection.execute(statement("archive", "exactly"))
        columns = listed([Fragment(f"{alias}.{quoted(column.name)}") for column in self.manifest.columns])
        query = f"{await inlined(connection, sql, values)}\nreturning {columns}"
        path = f"{self.folder}/{self.manifest.step:06}-{secrets.token_hex(6)}{ROWS}"
        deposit = Deposit(self.store, path, self.patience)
        try:
            status = await connection.copy_from_query(query, output=deposit.take, format="text")
            rows = int(status.split()[-1])
            if rows:
                await self._stored(connection, deposit, path, rows)
        except ArchiveError as error:
            await deposit.abandon()
            raise Blocked(
                f"the archive {self.store.where} fails ({error}), so nothing was deleted in this batch; see to the "
                "archive and run again, or take `archive` out of the rule"
            ) from error
        except BaseException:
            await deposit.abandon()
            raise
        return rows

    async def _stored(self, connection: Connection, deposit: Deposit, path: str, rows: int) -> None:
        found = await deposit.sealed()
        if found.rows != rows:
            raise ArchiveError(f"{path} has {found.rows:,} rows, and the server deleted {rows:,}")
        first, last = deposit.press.tally.keys(len(self.manifest.key))
        manifest = replace(
            self.manifest, object=path, rows=rows, sha256=found.sha256, size=deposit.press.bytes,
            first_key=None if first is None else tuple(first), last_key=None if last is None else tuple(last),
        )  # fmt: skip
        created_at = await record.write(connection, manifest, self.store.where, self.step)
        manifest = replace(manifest, created_at=created_at.isoformat())
        await deposit.in_time(self.store.put(manifest.path, manifest.text()))
        self.waiting.append(manifest)

    @asynccontextmanager
    async def batch(self, connection: Connection) -> AsyncIterator[None]:
        """Around the transaction of a batch: what it stored is marked as committed once it is, and not before.

        What it stored is taken back where the ledger is there to say that it was not committed.
        """
        self.waiting.clear()
        try:
            yield
        except Exception:
            await self._taken_back(connection)
            raise
        for manifest in self.waiting:
            try:
                async with asyncio.timeout(self.patience):
                    await self.store.put(manifest.path, replace(manifest, state=State.COMMITTED).text())
                self.marked.append(manifest.object)
            except (ArchiveError, TimeoutError) as error:
                _LOG.warning("An archive could not be marked as committed, a later run does it: %s", error)
        self.waiting.clear()

    async def _taken_back(self, connection: Connection) -> None:
        objects = [manifest.object for manifest in self.waiting]
        if not objects or connection.is_closed():
            return
        try:
            kept = await record.committed(connection, objects)
            async with asyncio.timeout(self.patience):
                for path in [path for path in objects if path not in kept]:
                    await self.store.remove(path)
                    await self.store.remove(manifest_of(path))
        except (ArchiveError, TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            _LOG.warning("An archive that was not committed could not be removed, and may stay: %s", error)

    async def told(self, connection: Connection) -> None:
        """Write down in the ledger what has been marked."""
        if self.marked:
            await record.mark(connection, self.marked)
            self.marked.clear()


async def fitted(connection: Connection, store: Store, host: str, run_id: int, step: Step, step_id: int) -> Archiver:
    """The archiver of a step, which looks at the table once."""
    origin = await record.origin(connection, host)
    columns = await connection.fetch(statement("archive", "columns"), step.oid)
    row = await fetch_one(connection, statement("archive", "circumstances"), run_id)
    as_of: datetime = row["as_of"]
    blank = Manifest(
        object="", state=State.STORED, run=run_id, step=step_id, task=step.task, rule=step.rule, summary=step.summary,
        schema=step.table.schema, table=step.table.name,
        columns=tuple(Stored(name=c["name"], type=c["type"]) for c in columns),
        key=tuple(c["name"] for c in columns if c["is_key"]), first_key=None, last_key=None,
        database=origin.database, server=origin.server, server_version=row["version"], as_of=as_of.isoformat(),
        created_at=as_of.isoformat(), rows=0, sha256="", size=0,
    )  # fmt: skip
    return Archiver(
        store=store, manifest=blank, step=step, folder=folder_of(origin, run_id, step.table), patience=PATIENCE
    )  # fmt: skip
