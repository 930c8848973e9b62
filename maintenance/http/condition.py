"""The condition of a target, for monitors: reachable or not, paused or not, and how its last run ended."""

from __future__ import annotations

import asyncio

from maintenance import switch
from maintenance.database import connected
from maintenance.errors import MaintenanceError
from maintenance.ledger import Ledger
from maintenance.runs import Run
from maintenance.settings import Settings

_PATIENCE = 20.0
"""Seconds; a monitor does not wait for long."""


async def condition(settings: Settings) -> dict[str, object]:
    """`{target, reachable, error, ledger, paused, last_run}`; the error names hosts and roles, never a secret."""
    target = settings.target.name if settings.target else None
    found: dict[str, object] = {
        "target": target, "reachable": False, "error": None, "ledger": False, "paused": False, "last_run": None,
    }  # fmt: skip
    try:
        async with (
            asyncio.timeout(_PATIENCE),
            connected(settings, name="maintenance health", read_only=True) as connection,
        ):
            ledger = Ledger(connection)
            found["reachable"] = True
            if await ledger.readable():
                runs = await ledger.runs(1)
                found["ledger"] = True
                found["paused"] = await switch.found(connection) is not None
                found["last_run"] = _brief(runs[0]) if runs else None
    except TimeoutError:
        found |= {"reachable": False, "error": f"no answer within {_PATIENCE:g} s"}
    except MaintenanceError as error:
        found["error"] = str(error)
    return found


def _brief(run: Run) -> dict[str, object]:
    return {
        "id": run.id, "name": run.name, "status": run.status, "stop_reason": run.stop_reason,
        "started_at": run.started_at.isoformat(), "ended_at": run.ended_at.isoformat() if run.ended_at else None,
    }  # fmt: skip
