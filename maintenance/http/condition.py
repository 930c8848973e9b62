"""The condition of a target, for monitors: reachable or not, paused or not, and how its last run ended."""

from __future__ import annotations

import asyncio
import logging

from maintenance import switch, targets
from maintenance.chronicle import Chronicle
from maintenance.database import connected
from maintenance.errors import MaintenanceError
from maintenance.runs import Run
from maintenance.settings import Settings
from maintenance.witness import Event

_LOG = logging.getLogger("maintenance")
_PATIENCE = 20.0
"""Seconds; a monitor does not wait for long."""


async def condition(settings: Settings, target: str | None) -> dict[str, object]:
    """`{target, reachable, error, ledger, paused, last_run}`; the error names hosts and roles, never a secret."""
    found: dict[str, object] = {
        "target": target, "reachable": False, "error": None, "ledger": False, "paused": False, "last_run": None,
    }  # fmt: skip
    try:
        async with (
            asyncio.timeout(_PATIENCE),
            connected(targets.one(settings, target), name="maintenance health", read_only=True) as connection,
        ):
            ledger = Chronicle(connection)
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
    except Exception:
        _LOG.exception("the condition of %s cannot be told", target, extra={"event": Event.HTTP_FAILED})
        found["error"] = "this should not happen; the app's log has the error"
    return found


def _brief(run: Run) -> dict[str, object]:
    return {
        "id": run.id, "name": run.name, "status": run.status, "stop_reason": run.stop_reason,
        "started_at": run.started_at.isoformat(), "ended_at": run.ended_at.isoformat() if run.ended_at else None,
    }  # fmt: skip
