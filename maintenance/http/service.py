"""The service: what each HTTP function does once its call is understood."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

from maintenance import settings as environment
from maintenance import switch, targets
from maintenance.budget import Budget
from maintenance.database import connected
from maintenance.documents import history_document, plan_document, run_document
from maintenance.engine import planned, queued
from maintenance.errors import MaintenanceError, SettingsError, UsageError
from maintenance.http.calls import Answer, Call, PauseBody, ResumeBody, RunBody
from maintenance.http.condition import condition
from maintenance.http.principals import admitted
from maintenance.http.problems import Problem, problem_of
from maintenance.ledger import Ledger
from maintenance.messages import Continue
from maintenance.models import RunStatus
from maintenance.runs import Request, Scheduler
from maintenance.settings import Settings
from maintenance.witness import Event

RETRY_AFTER = {"Retry-After": "10"}
_PLANNING = 100.0
_PATIENCE = 150.0
"""Seconds. A response must come within 230.
https://learn.microsoft.com/azure/azure-functions/functions-scale#timeout"""
_MOST_RUNS = 200
_LOG = logging.getLogger("maintenance")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    call: Call
    settings: Settings
    by: str | None


async def answer(verb: str, call: Call) -> Answer:
    """Do what is asked for; every refusal and failure is an answer too, in problem details."""
    try:
        settings = environment.load(hosted=True)
        asked = _Asked(call=call, settings=settings, by=_admitted(call, settings))
        async with asyncio.timeout(_PATIENCE):
            return await _VERBS[verb](asked)
    except Problem as refused:
        return Answer.refusing(refused)
    except MaintenanceError as error:
        problem = problem_of(error)
        _LOG.warning(
            "HTTP %s: %s", verb, error, extra={"event": Event.HTTP_REFUSED, "verb": verb, "status": problem.status}
        )
        return Answer.refusing(problem)
    except TimeoutError:
        return Answer.refusing(
            Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"The database did not answer within {_PATIENCE:g} s; try later.")
        )
    except Exception:
        _LOG.exception("HTTP %s failed", verb, extra={"event": Event.HTTP_FAILED, "verb": verb})
        return Answer.refusing(
            Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "This should not happen; the app's log has the error.")
        )


def _admitted(call: Call, settings: Settings) -> str | None:
    return admitted(call.headers, settings.principals, vouched=settings.vouched)


async def _start(asked: _Asked) -> Answer:
    asked.call.only()
    body = asked.call.document(RunBody)
    settings = targets.one(asked.settings, body.target)
    request = Request(
        names=(body.name,), tables=body.tables or (), scheduler=Scheduler.HTTP, requested_by=asked.by,
        budget=_duration(body.budget), approve=body.approve,
    )  # fmt: skip
    if body.dry_run:
        plan = await planned(request, settings, budget=Budget(min(settings.budget, _PLANNING)))
        return Answer(document=plan_document(plan))
    if not settings.queue:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The app has no queue to start a run from, so nothing was begun; set AzureWebJobsStorage.",
        )
    run = await queued(request, settings)
    query = f"?target={body.target}" if body.target else ""
    return Answer(
        document=run_document(run),
        status=HTTPStatus.ACCEPTED,
        headers={"Location": asked.call.below(f"{run.id}{query}"), **RETRY_AFTER},
        messages=(Continue(run=run.id, name=run.name, slice=0, progress="none", target=body.target).text(),),
    )


def _duration(text: str | None) -> float | None:
    try:
        return None if text is None else environment.parse_duration(text)
    except SettingsError as error:
        raise UsageError(f"budget: {error}") from error


async def _runs(asked: _Asked) -> Answer:
    asked.call.only("limit", "target")
    limit = asked.call.number("limit", 20, _MOST_RUNS)
    async with connected(_targeted(asked), name="maintenance history", read_only=True) as connection:
        ledger = Ledger(connection)
        return Answer(document=history_document(await ledger.runs(limit) if await ledger.readable() else []))


async def _run(asked: _Asked) -> Answer:
    asked.call.only("target")
    run_id = asked.call.run_id()
    async with connected(_targeted(asked), name="maintenance history", read_only=True) as connection:
        ledger = Ledger(connection)
        run = await ledger.run(run_id) if await ledger.readable() else None
    if run is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"The ledger has no run {run_id}; GET /runs lists those that it has.")
    waiting = run.status in (RunStatus.QUEUED, RunStatus.RUNNING)
    return Answer(document=run_document(run), headers=RETRY_AFTER if waiting else {})


def _targeted(asked: _Asked) -> Settings:
    return targets.one(asked.settings, asked.call.target())


async def _pause(asked: _Asked) -> Answer:
    asked.call.only()
    body = asked.call.document(PauseBody, may_be_empty=True)
    async with connected(targets.one(asked.settings, body.target), name="maintenance pause") as connection:
        await Ledger(connection).install()
        found = await switch.pause(connection, by=asked.by, reason=body.reason)
    return Answer(
        document={
            "paused": True, "since": found.since.isoformat(), "paused_by": found.paused_by, "reason": found.reason,
        }
    )  # fmt: skip


async def _resume(asked: _Asked) -> Answer:
    asked.call.only()
    body = asked.call.document(ResumeBody, may_be_empty=True)
    async with connected(targets.one(asked.settings, body.target), name="maintenance resume") as connection:
        await Ledger(connection).install()
        await switch.resume(connection)
    return Answer(document={"paused": False})


async def _health(asked: _Asked) -> Answer:
    asked.call.only()
    names = targets.names(asked.settings)
    documents = await asyncio.gather(*(condition(asked.settings, name) for name in names))
    well = all(document["reachable"] and document["error"] is None for document in documents)
    return Answer(
        document={"status": "ok" if well else "unhealthy", "targets": documents},
        status=HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE,
    )


async def _report(asked: _Asked) -> Answer:
    asked.call.only("target")
    # Imported when first used: no other verb draws anything.
    from maintenance.gathering import situation
    from maintenance.report.page import html, security_policy

    page = await asyncio.to_thread(html, await situation(_targeted(asked)))
    return Answer(
        page=page,
        media_type="text/html",
        headers={
            "Content-Security-Policy": f"{security_policy()}; frame-ancestors 'none'",
            "Cache-Control": "no-store",
            # The page's address may have the function key in it.
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        },
    )


_VERBS: dict[str, Callable[[_Asked], Awaitable[Answer]]] = {
    "start": _start, "runs": _runs, "run": _run, "pause": _pause, "resume": _resume, "health": _health,
    "report": _report,
}  # fmt: skip
