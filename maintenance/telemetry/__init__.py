"""Telemetry of a run: log records, and spans and metrics by OpenTelemetry where it is configured.

Nothing of OpenTelemetry is imported before that is known: it costs more than all else at a cold start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from maintenance.errors import LeaseHeld, RunFailed
from maintenance.settings import Settings
from maintenance.telemetry.events import About, Events
from maintenance.telemetry_settings import Provider
from maintenance.witness import Event, Witness, Witnesses

_LOG = logging.getLogger("maintenance")
_TOLD = (LeaseHeld, RunFailed)
"""No run was broken off: another one is at work and this one is tried again, or its bad end is in the ledger."""


@asynccontextmanager
async def observed(
    settings: Settings,
    name: str,
    witness: Witness | None = None,
    *,
    run_id: int | None = None,
    logged: bool = False,
) -> AsyncIterator[Witness]:
    """A witness for a slice of the run of that name, and of that id if it has one, that tells `witness` and telemetry.

    What it has is delivered when the block is left. That takes 5 s at most, and nothing that goes wrong here harms the
    run. `logged` writes log records also where no telemetry is configured, for a host that collects them.
    """
    about = About(name=name, run_id=run_id, target=settings.target.name if settings.target else None)
    observer = _observer(settings, about, logged=logged)
    if observer is None:
        yield witness or Witness()
        return
    if _LOG.level == logging.NOTSET:
        _LOG.setLevel(logging.INFO)
    try:
        yield Witnesses([observer] if witness is None else [witness, observer])
    except (Exception, asyncio.CancelledError) as error:
        if not isinstance(error, _TOLD):
            with suppress(Exception):
                observer.run_failed(error)
        raise
    finally:
        with suppress(Exception):
            await observer.close()


def _observer(settings: Settings, about: About, *, logged: bool) -> Events | None:
    if settings.telemetry.provider is not Provider.NOBODY:
        try:
            from maintenance.telemetry.spans import telemetry

            return telemetry(settings, about)
        except Exception as error:
            # Rather a run without telemetry than none. Not the error's own words: they may hold the connection string.
            _LOG.warning(
                "Telemetry cannot be set up (%s), so the run goes on without it; check APPLICATIONINSIGHTS_CONNECTION_"
                "STRING and the OTEL_* variables.",
                type(error).__name__,
                extra={"event": Event.TELEMETRY_FAILED, "error_type": type(error).__name__},
            )
    return Events(about) if logged else None
