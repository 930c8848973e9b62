"""What the Functions app does when its timers tick and its messages arrive: runs in slices, logged, failures raised."""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import AbstractAsyncContextManager

from maintenance import settings as environment
from maintenance import targets
from maintenance.engine import abandoned, continued, never_begun, performed, performed_once
from maintenance.errors import LeaseHeld, RunFailed, UsageError
from maintenance.messages import Begin, Continue, parse
from maintenance.models import RunStatus
from maintenance.runs import Request, Run, Scheduler
from maintenance.settings import Settings
from maintenance.telemetry import observed
from maintenance.witness import Event, Witness

_SHOWN = 500
_LOG = logging.getLogger("maintenance")


async def tick(name: str, *, late: bool = False) -> list[str]:
    """Begin a run of each target; returns the messages to send: what remains, or for a fleet what is to begin.

    Raises:
        RunFailed: a step failed; the message names the first one, the ledger has them all.
        MaintenanceError: the run could not begin.
    """
    settings = environment.load(hosted=True)
    if settings.targets is None:
        async with observed(settings, name, logged=True) as witness:
            _tell_late(name, late=late)
            return _after(await performed(_request(name), settings, witness=witness), settings)
    _tell_late(name, late=late)
    fleet = targets.names(settings)
    if settings.queue:
        return [Begin(name=name, target=target, key=uuid.uuid4().hex).text() for target in fleet]
    # Without a queue all of them share this one invocation; side by side, as each waits mostly for its server.
    outcomes = await asyncio.gather(*(_alone(name, target, settings) for target in fleet))
    failures = [failure for failure in outcomes if failure]
    if failures:
        raise RunFailed("; ".join(failures))
    return []


async def received(body: bytes) -> list[str]:
    """Do what a message asks for, unless it has been done; returns the messages to send for what remains.

    Raises:
        RunFailed, MaintenanceError: as for `tick`.
    """
    text = body.decode(errors="replace")
    message = parse(text)
    settings = targets.one(environment.load(hosted=True), message.target)
    async with _following(message, settings) as witness:
        try:
            if isinstance(message, Begin):
                run = await performed_once(_request(message.name, message.key), settings, witness=witness)
            else:
                run = await continued(message.run, message.slice, settings, witness=witness)
        except LeaseHeld as error:
            # Not left to the host, which counts attempts and would give up on a run for which nothing is wrong.
            _LOG.info("a message has to wait: %s", error, extra={"event": Event.MESSAGE_WAITS})
            return [text]
        if run is None:
            _LOG.info("a message came twice or too late: %s", text, extra={"event": Event.MESSAGE_STALE})
            return []
        return _after(run, settings, message.progress if isinstance(message, Continue) else "")


async def given_up(body: bytes) -> None:
    """Mark the run as failed whose message could not be handled time and again.

    Raises:
        MaintenanceError: its ledger cannot be reached.
    """
    text = body.decode(errors="replace")
    _LOG.error("a message was given up: %r", text[:_SHOWN], extra={"event": Event.MESSAGE_GIVEN_UP})
    try:
        message = parse(text)
        settings = targets.one(environment.load(hosted=True), message.target)
    except UsageError as error:
        _LOG.error("no run can be found for it: %s", error, extra={"event": Event.MESSAGE_UNKNOWN})
        return
    why = "its message was delivered several times and failed each time; the app's log has the errors"
    async with _following(message, settings) as witness:
        if isinstance(message, Begin):
            run = await never_begun(_request(message.name, message.key), why, settings)
        else:
            run = await abandoned(message.run, message.slice, why, settings)
        if run is not None:
            witness.run_ended(run, None)


def _following(message: Begin | Continue, settings: Settings) -> AbstractAsyncContextManager[Witness]:
    run_id = message.run if isinstance(message, Continue) else None
    return observed(settings, message.name, run_id=run_id, logged=True)


def _tell_late(name: str, *, late: bool) -> None:
    if late:
        _LOG.warning("%s was triggered late", name, extra={"event": Event.TRIGGER_LATE, "run_name": name})


def _request(name: str, key: str | None = None) -> Request:
    return Request(names=tuple(name.split()), scheduler=Scheduler.FUNCTIONS, key=key)


async def _alone(name: str, target: str | None, settings: Settings) -> str | None:
    """A run that must not stop the others; returns what went wrong."""
    try:
        one = targets.one(settings, target)
        async with observed(one, name, logged=True) as witness:
            _after(await performed(_request(name), one, witness=witness), one)
    except Exception as error:
        # Whatever it is: the others are at work in the same invocation.
        _LOG.error("target %s: %s", target, error, extra={"event": Event.TARGET_FAILED, "target": target})
        return f"target {target}: {error}"
    return None


def _after(run: Run, settings: Settings, before: str = "") -> list[str]:
    """What follows a slice: another one, or the end of the run, of which the host must hear when it is a bad one.

    `before` is the run's progress when the slice began.
    """
    if _goes_on(run, settings, before):
        target = settings.required_target().name
        return [Continue(run=run.id, name=run.name, slice=run.slices, progress=run.progress, target=target).text()]
    if run.status is RunStatus.FAILED:
        raise RunFailed(f"Run {run.id} {run.name} failed: {run.error}")
    return []


def _goes_on(run: Run, settings: Settings, before: str) -> bool:
    if not run.left_over or not settings.queue or (run.budget is not None and run.budget - run.spent < 1):
        return False
    if run.progress != before and run.slices < settings.slices:
        return True
    why = "got nothing done in its last slice" if run.progress == before else f"has used up its {run.slices} slices"
    text = "Run %d %s %s; the rest waits for the next tick"
    _LOG.warning(text, run.id, run.name, why, extra={"event": Event.SLICES_USED_UP, "run_id": run.id})
    return False
