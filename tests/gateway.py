"""The HTTP part of a Functions host: routes requests to our functions, and keeps what they send to the queue."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import azure.functions as func
from aiohttp import ClientSession, web

import function_app

FUNCTIONS = {function.get_function_name() or "": function for function in function_app.app.get_functions()}


class Out(func.Out[Any]):
    """What a function sets is sent."""

    def __init__(self) -> None:
        self.values: list[str] = []

    def set(self, val: Any) -> None:
        self.values = list(val)

    def get(self) -> Any:
        return self.values


@dataclass(slots=True)
class Gateway:
    """The app on a loopback address."""

    url: str = ""
    key: str | None = None
    """The function key without which the host lets nobody in; None where a test calls the functions themselves."""
    principals: dict[str, dict[str, str]] = field(default_factory=dict)
    """The headers that App Service Authentication writes for the bearer of a token; empty where it is not in front."""
    asked: list[web.Request] = field(default_factory=list)
    troubles: list[web.Response] = field(default_factory=list)
    """What is answered to the next GETs instead."""
    sent: list[str] = field(default_factory=list)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Status, headers and document, or text, of an answer; `body` is sent as JSON, unless it is bytes."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            named.setdefault("Content-Type", "application/json")
        async with (
            ClientSession() as session,
            session.request(method, f"{self.url}{path}", data=data, headers=named) as answer,
        ):
            text = await answer.text()
            return answer.status, answer.headers, json.loads(text) if answer.content_type.endswith("json") else text


def _handler(gateway: Gateway, name: str) -> Any:
    function = FUNCTIONS[name].get_user_function()
    sends = any(json.loads(raw)["type"] == "queue" for raw in FUNCTIONS[name].get_raw_bindings())

    async def handle(request: web.Request) -> web.Response:
        gateway.asked.append(request)
        if gateway.troubles and request.method == "GET":
            return gateway.troubles.pop(0)
        vouched = gateway.principals.get(request.headers.get("Authorization", "").removeprefix("Bearer "), {})
        closed = gateway.key is not None and request.headers.get("x-functions-key") != gateway.key
        if closed or (gateway.principals and not vouched):
            return web.Response(status=401)
        asked = func.HttpRequest(
            method=request.method, url=str(request.url), headers={**request.headers, **vouched},
            params=dict(request.query), route_params=dict(request.match_info), body=await request.read(),
        )  # fmt: skip
        out = Out()
        answered: func.HttpResponse = await function(asked, out) if sends else await function(asked)
        gateway.sent += out.values
        headers = {**answered.headers, "Content-Type": answered.mimetype}
        return web.Response(body=answered.get_body(), status=answered.status_code, headers=headers)

    return handle


@asynccontextmanager
async def gateway() -> AsyncIterator[Gateway]:
    """The app, until the block ends; its settings are those of this process's environment."""
    opened = Gateway()
    app = web.Application(client_max_size=2**24)
    for name, function in FUNCTIONS.items():
        for binding in map(json.loads, function.get_raw_bindings()):
            if binding["type"] == "httpTrigger":
                for method in binding["methods"]:
                    app.router.add_route(method, f"/{binding['route']}", _handler(opened, name))
    api = web.Application(client_max_size=2**24)
    api.add_subapp("/api/", app)
    runner = web.AppRunner(api, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        opened.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/maintenance"
        yield opened
    finally:
        await runner.cleanup()
