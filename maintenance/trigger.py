"""What a schedule triggers: a run with the environment's settings, logged, and an error for the host when it failed."""

from __future__ import annotations

import logging

from maintenance import settings as environment
from maintenance.engine import Request, performed
from maintenance.errors import RunFailed
from maintenance.models import Run, RunStatus

_LOG = logging.getLogger("maintenance")
_LEVELS = {RunStatus.SUCCEEDED: logging.INFO, RunStatus.FAILED: logging.ERROR}


async def scheduled(name: str, *, scheduler: str, late: bool = False) -> Run:
    """Do a run and return it; what did not get done for want of budget waits for the next tick.

    Raises:
        RunFailed: a step failed; the message names the first one, the ledger has them all.
        MaintenanceError: the run could not begin.
    """
    if late:
        _LOG.warning("%s was triggered late", name, extra={"event": "trigger_late", "run_name": name})
    run = await performed(Request(names=(name,), scheduler=scheduler), environment.load())
    level = _LEVELS.get(run.status, logging.WARNING)
    fields = {"event": "run_ended", "run_id": run.id, "run_name": run.name, "status": run.status, "rows": run.rows}
    _LOG.log(
        level,
        "Run %d %s %s: %d rows deleted. %s",
        run.id,
        run.name,
        run.status,
        run.rows,
        run.error or "",
        extra=fields,
    )
    if run.status is RunStatus.FAILED:
        raise RunFailed(f"Run {run.id} {run.name} failed: {run.error}")
    return run
