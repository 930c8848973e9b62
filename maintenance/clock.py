"""Clocks: the database's decides what is old, so a run must not begin while it is far from ours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import asyncpg
from asyncpg import Connection

from maintenance.budget import spelled
from maintenance.database import clock, fetch_one
from maintenance.errors import PolicyError
from maintenance.sql import statement


def utc() -> datetime:
    """Our own clock."""
    return datetime.now(UTC)


async def astray(connection: Connection, allowed: str, now: Callable[[], datetime] = utc) -> str | None:
    """Why nothing can be called old: the two clocks are further apart than the interval; None where they are not.

    Raises:
        PolicyError: no interval above zero.
    """
    what = f"guards.clock = {allowed!r}"
    try:
        row = await fetch_one(connection, statement("survey", "span"), allowed)
    except (asyncpg.DataError, asyncpg.InternalServerError, OverflowError) as error:
        raise PolicyError(
            f"{what} cannot be used by PostgreSQL ({error}); write an interval such as '5 minutes'."
        ) from error
    if row["seconds"] is None or row["seconds"] <= 0:
        raise PolicyError(f"{what} is not above zero, or beyond all measure; write an interval such as '5 minutes'.")
    before = now()
    theirs = await clock(connection)
    # It was read some time between our two looks.
    apart = max((before - theirs).total_seconds(), (theirs - now()).total_seconds())
    if apart <= row["seconds"]:
        return None
    return (
        f"the database's clock ({theirs:%Y-%m-%d %H:%M:%S} UTC) is {spelled(apart)} from ours, and {what} allows no "
        "more, so nobody can tell what is old and nothing was deleted; set the clocks right"
    )
