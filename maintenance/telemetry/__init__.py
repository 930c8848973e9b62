"""Telemetry of a run: log records, and spans and metrics by OpenTelemetry where it is configured.

Nothing of OpenTelemetry is imported before that is known: it costs more than all else at a cold start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from maintenance.settings import Settings
from maintenance.telemetry.events import Events
from maintenance.telemetry_settings import Provider
from maintenance.witness import Event, Witness, Witnesses

_LOG = logging.getLogger("maintenance")


@asynccontextmanager
async def observed(
    settings: Settings, name: str, witness: Witness | None = None, *, logged: bool = False
) -> AsyncIterator[Witness]:
    """A witness for the run of that name that tells `witness` and telemetry; delivered when the block is left.

    That takes 5 s at most, and nothing that goes wrong here harms the run. `logged` writes log records also where no
    telemetry is configured, for a host that collects them.
    """
    observer = _observer(settings, name, logged=logged)
    if observer is None:
        yield witness or Witness()
        return
    if _LOG.level == logging.NOTSET:
        _LOG.setLevel(logging.INFO)
    try:
        yield Witnesses([observer] if witness is None else [witness, observer])
    except (Exception, asyncio.CancelledError) as error:
        with suppress(Exception):
            observer.run_failed(error)
        raise
    finally:
        with suppress(Exception):
            await observer.close()


def _observer(settings: Settings, name: str, *, logged: bool) -> Events | None:
    if settings.telemetry.provider is not Provider.NOBODY:
        try:
            from maintenance.telemetry.spans import telemetry

            return telemetry(settings, name)
        except Exception as error:
            # Rather a run without telemetry than none. Not the error's own words: they may hold the connection string.
            _LOG.warning(
                "Telemetry cannot be set up (%s), so the run goes on without it; check APPLICATIONINSIGHTS_CONNECTION_"
                "STRING and the OTEL_* variables.",
                type(error).__name__,
                extra={"event": Event.TELEMETRY_FAILED, "error_type": type(error).__name__},
            )
    return Events(name) if logged else None
