"""The host's part: invokes the functions of our app in Microsoft's worker, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import pytest

from tests.databases import ROOT, Database


def _installed(name: str) -> bool:
    try:
        return bool(distribution(name))
    except PackageNotFoundError:
        return False


needs_the_worker = [
    pytest.mark.skipif(sys.version_info < (3, 13), reason="needs Python 3.13: Azure runs this worker from there on"),
    pytest.mark.skipif(
        sys.version_info >= (3, 13) and not _installed("azure-functions-runtime"),
        reason="the package azure-functions-runtime is not installed",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A worker with our app loaded. `functions` are as the host receives them: the bindings of each."""

    process: Process
    functions: dict[str, list[dict[str, Any]]]

    async def tick(self, function: str, *, late: bool = False) -> Any:
        """A timer is due."""
        return await self._told({"function": function, "late": late})

    async def deliver(self, message: str, function: str = "continue_run") -> Any:
        """A message is taken from the queue."""
        return await self._told({"function": function, "message": message})

    async def call(self, function: str, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """A request comes in; `body` is sent as JSON, unless it is a text."""
        text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
        headers = {"content-type": "application/json", **more.pop("headers", {})}
        asked = {"method": method, "path": f"/api/maintenance{path}", "body": text, "headers": headers, **more}
        answer = await self._told({"function": function, "http": asked})
        if answer.get("body"):
            answer["document"] = json.loads(answer["body"])
        return answer

    async def _told(self, call: dict[str, Any]) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(call).encode() + b"\n")
        line = await asyncio.wait_for(self.process.stdout.readline(), 60)
        assert line, "the worker has ended"
        return json.loads(line)


@asynccontextmanager
async def hosted(database: Database, settings: Mapping[str, str] | None = None) -> AsyncIterator[Host]:
    """The app with these settings and this database, as a Functions host would run it."""
    inherited = {name: value for name, value in database.environment.items() if name != "PYTHONPATH"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "tests" / "worker.py"), str(ROOT), cwd=database.folder, stdin=PIPE, stdout=PIPE,
        env={**inherited, "FUNCTIONS_WORKER_RUNTIME": "python", **(settings or {})}, limit=2**24,
    )  # fmt: skip
    try:
        assert process.stdout
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        assert line, "the worker did not start"
        yield Host(process=process, functions=json.loads(line))
    finally:
        assert process.stdin
        process.stdin.close()
        await process.wait()
