"""The host: who runs us, and how long Azure Functions lets a function run, and what of that is ours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from maintenance.runs import Scheduler

_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})")
_LONGEST_MARGIN = 120.0
_SHARE = 0.2
_HOST = Path(__file__).parent.parent / "host.json"


def scheduler_of(env: Mapping[str, str]) -> Scheduler:
    """Who has called the command line, as far as the platform's own variables tell.

    A workflow's runner may itself be a container job; then it is the workflow that has called.
    https://docs.github.com/actions/reference/workflows-and-actions/variables
    https://learn.microsoft.com/azure/container-apps/environment-variables
    """
    if env.get("GITHUB_ACTIONS") == "true":
        return Scheduler.GITHUB_ACTIONS
    return Scheduler.CONTAINER_JOB if env.get("CONTAINER_APP_JOB_NAME") else Scheduler.CLI


def host_budget(env: Mapping[str, str], host: Path = _HOST) -> float | None:
    """Seconds that a run may take inside Azure Functions; None where the host sets no limit.

    A fifth of functionTimeout, at most two minutes, is left for what is not the run: the start, the connection, the
    last lines in the ledger. An app setting goes before host.json.
    https://learn.microsoft.com/azure/azure-functions/functions-host-json#functiontimeout
    """
    text = env.get("AzureFunctionsJobHost__functionTimeout") or _configured(host)
    span = _SPAN.fullmatch(text or "")
    if span is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in span.groups())
    limit = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return max(limit - min(limit * _SHARE, _LONGEST_MARGIN), 1.0)


def _configured(host: Path) -> str | None:
    try:
        found = json.loads(host.read_text(encoding="utf-8")).get("functionTimeout")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None
