"""A managed identity's endpoint as App Service has it, on loopback, for the real azure-identity.

https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

RESOURCE = "https://ossrdbms-aad.database.windows.net"


@dataclass(slots=True)
class Endpoint:
    """Gives out a new token for each request, and tells `issued` of it before it does; set its fields to trouble it."""

    issued: Callable[[str], Awaitable[None]]
    resource: str = RESOURCE
    header: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    url: str = ""
    lives: float = 3600.0
    throttled: int = 0
    """Requests that are answered 429 before one is served."""
    delay: float = 0.0
    unknown: bool = False
    odd: str | None = None
    """What is answered instead; {token} in it is a token."""
    tokens: list[str] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {"IDENTITY_ENDPOINT": self.url, "IDENTITY_HEADER": self.header}

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append(dict(request.query))
        if request.headers.get("X-IDENTITY-HEADER") != self.header or request.query.get("resource") != self.resource:
            return web.json_response({"error": "unexpected"}, status=401)
        if self.throttled:
            self.throttled -= 1
            return web.json_response({"error": "throttled"}, status=429, headers={"Retry-After": "1"})
        if self.unknown:
            return web.json_response({"statusCode": 400, "message": "No User Assigned Identity found"}, status=400)
        await asyncio.sleep(self.delay)
        token = _token() if self.resource == RESOURCE else _claims(self.resource, self.lives)
        self.tokens.append(token)
        await self.issued(token)
        if self.odd is not None:
            return web.Response(text=self.odd.replace("{token}", token), content_type="application/json")
        return web.json_response(
            {"access_token": token, "expires_on": str(int(time.time() + self.lives)), "resource": self.resource,
             "token_type": "Bearer", "client_id": request.query.get("client_id", "system")}
        )  # fmt: skip


def _token() -> str:
    """As long as Entra's are, and like them in three parts."""
    head = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "typ": "JWT"}).encode()).decode().rstrip("=")
    return f"{head}.{secrets.token_urlsafe(900)}.{secrets.token_urlsafe(256)}"


def _claims(audience: str, lives: float) -> str:
    """One whose claims somebody looks at; nobody looks at its signature."""
    now = int(time.time())
    claims = {"aud": audience, "iss": "https://sts.windows.net/t/", "iat": now, "nbf": now, "exp": now + int(lives)}
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    told = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return ".".join([*told, secrets.token_urlsafe(256)])


@asynccontextmanager
async def identity_endpoint(issued: Callable[[str], Awaitable[None]]) -> AsyncIterator[Endpoint]:
    """The endpoint, until the block ends."""
    endpoint = Endpoint(issued)
    app = web.Application()
    app.router.add_get("/msi/token", endpoint.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/msi/token"
        yield endpoint
    finally:
        await runner.cleanup()
