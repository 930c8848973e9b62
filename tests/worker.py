"""Microsoft's own Python worker (azure-functions-runtime) with our app in it; a script, since a process holds one app.

`python worker.py FOLDER` prints the functions as the host would receive them, and then answers calls that it reads from
standard input, one JSON object a line; tests/host.py talks to it. Needs Python 3.13: Azure runs this worker since then.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

# The worker's messages come only in this wheel, beside its tests; loaded by place, as their package is named `tests`.
MESSAGES = "azure-functions-runtime-v1"


def messages() -> SimpleNamespace:
    """The classes of the protocol between host and worker; without gRPC, which nobody speaks here."""
    folder = Path(str(distribution(MESSAGES).locate_file("tests/protos")))
    protos: dict[str, Any] = {}
    for name in ("worker_protos", "worker_protos.identity", "worker_protos.shared"):
        package = ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    for name in ("identity.ClaimsIdentityRpc_pb2", "shared.NullableTypes_pb2", "FunctionRpc_pb2"):
        file = folder.joinpath(*name.split(".")).with_suffix(".py")
        spec = importlib.util.spec_from_file_location(f"worker_protos.{name}", file)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        parent, _, child = spec.name.rpartition(".")
        setattr(sys.modules[parent], child, module)
        spec.loader.exec_module(module)
        protos |= vars(module)
    return SimpleNamespace(**protos)


class Worker:
    """The host's side of the talk."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        sys.path.append(folder)  # as the host's own starter of workers does
        self.protos = messages()
        self.runtime: Any = importlib.import_module("azure_functions_runtime.handle_event")

    async def ask(self, request: str, **content: Any) -> Any:
        """Send a request of that name, and give back what the worker answers."""
        camel = "".join(part.capitalize() for part in request.split("_"))
        message = self.protos.StreamingMessage(**{request: getattr(self.protos, camel)(**content)})
        properties = {"host": "127.0.0.1", "protos": self.protos}
        answer = await getattr(self.runtime, request)(SimpleNamespace(request=message, properties=properties))
        if answer.result.status != self.protos.StatusResult.Success:
            raise RuntimeError(answer.result.exception.message)
        return answer

    async def functions(self) -> dict[str, Any]:
        """Index the app, and give its functions by name."""
        await self.ask("worker_init_request", host_version="4.0", function_app_directory=self.folder)
        answer = await self.ask("functions_metadata_request")
        return {function.name: function for function in answer.function_metadata_results}

    async def load(self) -> dict[str, Any]:
        """Index the app and load all its functions."""
        found = await self.functions()
        for function in found.values():
            await self.ask("function_load_request", function_id=function.function_id, metadata=function)
        return found

    async def invoke(self, function: Any, call: dict[str, Any]) -> dict[str, Any]:
        """Invoke a function by its trigger; what the host would get back, or why the invocation failed."""
        name = next(name for name, binding in function.bindings.items() if binding.direction == 0)
        data = self.protos.ParameterBinding(name=name, data=self._input(call))
        content = {"function_id": function.function_id, "input_data": [data]}
        try:
            answer = await self.ask("invocation_request", invocation_id="1", **content)
        except RuntimeError as error:
            return {"failed": str(error), "sent": []}
        sent: list[str] = []
        for output in answer.output_data:
            sent += json.loads(output.data.json) if output.data.json else [output.data.string]
        http = answer.return_value.http
        body = http.body.string or http.body.bytes.decode()
        told = {"status": int(http.status_code or 0), "headers": dict(http.headers), "body": body}
        return {"failed": None, "sent": sent, **told}

    def _input(self, call: dict[str, Any]) -> Any:
        typed = self.protos.TypedData
        if "http" in call:
            asked = call["http"]
            body = typed(bytes=asked.get("body", "").encode())
            headers = {name.lower(): value for name, value in asked.get("headers", {}).items()}
            return typed(
                http=self.protos.RpcHttp(
                    method=asked["method"], url=f"http://localhost{asked['path']}", headers=headers, body=body,
                    query=asked.get("query", {}), params=asked.get("route", {}),
                )
            )  # fmt: skip
        if "message" in call:
            return typed(string=call["message"])
        return typed(json=json.dumps({"IsPastDue": call.get("late", False), "ScheduleStatus": {}}))


async def serve(folder: str) -> None:
    """Say which functions there are; then, a line each, invoke what standard input asks for."""
    worker = Worker(folder)
    functions = await worker.load()
    said = sys.stdout
    sys.stdout = sys.stderr
    described = {name: [json.loads(raw) for raw in function.raw_bindings] for name, function in functions.items()}
    print(json.dumps(described), file=said, flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        call = json.loads(line)
        print(json.dumps(await worker.invoke(functions[call["function"]], call)), file=said, flush=True)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
