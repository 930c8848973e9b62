"""The compiled policy in a test's database, called as pg_cron would call it, but without waiting for the minute."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import asyncpg

from maintenance.database import connected
from maintenance.ledger import Ledger
from maintenance.pg_cron.compiler import compiled
from maintenance.pg_cron.script import here
from maintenance.runs import Run
from tests.databases import Database, connect


async def compile_policy(database: Database, **changed: Any) -> None:
    """Put the procedures of the database's policy into it; `changed` are settings that differ."""
    settings = replace(database.settings, **changed)
    async with connected(settings, name="test") as connection:
        await connection.execute(here(await compiled(connection, settings)))


async def call(database: Database, procedure: str = "cron_run('daily-cleanup')") -> Run:
    """One call in a session of its own; the run as the ledger has it."""
    session = await connect(database.server, database.name)
    try:
        await session.execute(f"call maintenance.{procedure}")
    except asyncpg.RaiseError as error:
        # What failed is written down before it is raised.
        if "failed" not in str(error):
            raise
    finally:
        await session.close()
    (last, *_) = await Ledger(database.connection).runs(1)
    return await Ledger(database.connection).known(last.id)
