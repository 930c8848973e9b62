"""Records: what the ledger has of archives. One is written with the deletes, so it is there only if they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from asyncpg import Connection

from maintenance.archive.manifest import Manifest, Origin
from maintenance.database import fetch_one
from maintenance.sql import statement
from maintenance.steps import Step


async def origin(connection: Connection, host: str) -> Origin:
    """Which database this connection is to; `host` tells its server where the role may not ask."""
    row = await fetch_one(connection, statement("archive", "place"))
    server = host
    if row["readable"]:
        server = await connection.fetchval(statement("archive", "identifier"))
    return Origin(server=server, database=row["database"])


async def write(connection: Connection, manifest: Manifest, store: str, step: Step) -> datetime:
    """Write down an object of a step, in the transaction that deletes its rows; returns when."""
    expires = step.archive is not None and step.archive.before is not None
    created_at: datetime = await connection.fetchval(
        statement("archive", "record"), manifest.object, store, manifest.run, manifest.step, manifest.task,
        str(manifest.whole), step.subject, manifest.rows, manifest.sha256, manifest.size, expires,
    )  # fmt: skip
    return created_at


async def kept(connection: Connection) -> bool:
    """Whether the ledger has records at all; without them only a manifest that says `committed` is believed."""
    return bool(await connection.fetchval(statement("archive", "recorded")))


async def committed(connection: Connection, objects: Sequence[str]) -> set[str]:
    """Of these objects those whose rows are gone by the ledger's word."""
    rows = await connection.fetch(statement("archive", "committed"), list(objects))
    return {row["object"] for row in rows}


async def unmarked(connection: Connection, store: str) -> list[str]:
    """Objects whose manifests may not say yet that their rows are gone."""
    return [row["object"] for row in await connection.fetch(statement("archive", "unmarked"), store)]


async def mark(connection: Connection, objects: Sequence[str]) -> None:
    """Write down that the manifests of these objects say that their rows are gone."""
    await connection.execute(statement("archive", "mark"), list(objects))


async def expired(connection: Connection, store: str, step: Step, before: datetime, most: int) -> list[str]:
    """Objects that a step of this kind has stored before that, the oldest first; also where its `keep` was another."""
    place = (step.task, str(step.table), step.subject)
    rows = await connection.fetch(statement("archive", "expired"), store, *place, before, most)
    return [row["object"] for row in rows]


async def forget(connection: Connection, object_: str) -> None:
    """Take out the record of an object that is no more."""
    await connection.execute(statement("archive", "forget"), object_)
