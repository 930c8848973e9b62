"""The routes: which HTTP function answers what. Each needs a function key, unless the app is set up otherwise."""

from typing import List  # noqa: UP035 - the worker knows only this one

import azure.functions as func

from maintenance.messages import QUEUE, STORAGE

api = func.Blueprint()  # type: ignore[no-untyped-call, unused-ignore]
Messages = func.Out[List[str]]  # noqa: UP006
"""What a function sends to the queue."""
ROOT = "maintenance"
"""Below the host's own prefix: /api/maintenance."""
_KEY = func.AuthLevel.FUNCTION


@api.route(route=f"{ROOT}/runs", methods=["POST"], auth_level=_KEY)
@api.queue_output(arg_name="more", queue_name=QUEUE, connection=STORAGE)
async def start_run(req: func.HttpRequest, more: Messages) -> func.HttpResponse:
    """Ask for a run, which the queue then starts; or for its plan, with `dry_run`."""
    return await _answered("start", req, more)


@api.route(route=f"{ROOT}/runs", methods=["GET"], auth_level=_KEY)
async def list_runs(req: func.HttpRequest) -> func.HttpResponse:
    """The last runs, newest first."""
    return await _answered("runs", req)


@api.route(route=f"{ROOT}/runs/{{id}}", methods=["GET"], auth_level=_KEY)
async def show_run(req: func.HttpRequest) -> func.HttpResponse:
    """One run with its steps."""
    return await _answered("run", req)


@api.route(route=f"{ROOT}/pause", methods=["POST"], auth_level=_KEY)
async def pause_runs(req: func.HttpRequest) -> func.HttpResponse:
    """Pause all runs of a database, whoever schedules them, from their next batch on."""
    return await _answered("pause", req)


@api.route(route=f"{ROOT}/resume", methods=["POST"], auth_level=_KEY)
async def resume_runs(req: func.HttpRequest) -> func.HttpResponse:
    """Let runs begin again."""
    return await _answered("resume", req)


@api.route(route=f"{ROOT}/health", methods=["GET"], auth_level=_KEY)
async def health(req: func.HttpRequest) -> func.HttpResponse:
    """Whether each database can be reached, and how its last run ended."""
    return await _answered("health", req)


@api.route(route=f"{ROOT}/report", methods=["GET"], auth_level=_KEY)
async def report(req: func.HttpRequest) -> func.HttpResponse:
    """How things stand, as one HTML page."""
    return await _answered("report", req)


async def _answered(verb: str, req: func.HttpRequest, more: Messages | None = None) -> func.HttpResponse:
    # Imported when first used: the host indexes this file at every cold start.
    from maintenance.http.calls import Call
    from maintenance.http.service import answer

    call = Call(
        path=req.url, route=dict(req.route_params), query=dict(req.params), headers=req.headers, body=req.get_body()
    )
    answered = await answer(verb, call)
    if more is not None and answered.messages:
        more.set(list(answered.messages))
    return func.HttpResponse(
        answered.text, status_code=answered.status, headers=dict(answered.headers), mimetype=answered.media_type
    )
