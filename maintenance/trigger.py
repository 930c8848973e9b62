"""What a schedule triggers: a run with the environment's settings, logged, and an error for the host when it failed."""

from __future__ import annotations

import logging

from maintenance import settings as environment
from maintenance.engine import Request, performed
from maintenance.errors import RunFailed
from maintenance.models import Run, RunStatus
from maintenance.witness import Event

_LOG = logging.getLogger("maintenance")


async def scheduled(name: str, *, scheduler: str, late: bool = False) -> Run:
    """Do a run and return it; what did not get done for want of budget waits for the next tick.

    Raises:
        RunFailed: a step failed; the message names the first one, the ledger has them all.
        MaintenanceError: the run could not begin.
    """
    from maintenance.telemetry import observed

    settings = environment.load()
    async with observed(settings, name, logged=True) as witness:
        if late:
            _LOG.warning("%s was triggered late", name, extra={"event": Event.TRIGGER_LATE, "run_name": name})
        run = await performed(Request(names=(name,), scheduler=scheduler), settings, witness=witness)
    if run.status is RunStatus.FAILED:
        raise RunFailed(f"Run {run.id} {run.name} failed: {run.error}")
    return run
