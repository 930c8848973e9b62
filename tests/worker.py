"""Microsoft's own Python worker (azure-functions-runtime) with our app in it; a script, since a process holds one app.

`python worker.py FOLDER` prints the functions as the host would receive them; `python worker.py FOLDER NAME [late]`
invokes the timer NAME and prints how that ended. Needs Python 3.13, as Azure runs this worker from there on.
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

    async def invoke(self, name: str, *, late: bool) -> None:
        """Let the timer tick.

        Raises:
            RuntimeError: the invocation failed, which the host would record.
        """
        function = (await self.functions())[name]
        await self.ask("function_load_request", function_id=function.function_id, metadata=function)
        (argument,) = function.bindings
        tick = {"IsPastDue": late, "Schedule": {"AdjustForDST": True}, "ScheduleStatus": {}}
        data = self.protos.ParameterBinding(name=argument, data=self.protos.TypedData(json=json.dumps(tick)))
        await self.ask("invocation_request", invocation_id="1", function_id=function.function_id, input_data=[data])


async def answered(folder: str, words: list[str]) -> dict[str, Any]:
    worker = Worker(folder)
    if words:
        try:
            await worker.invoke(words[0], late="late" in words)
        except RuntimeError as error:
            return {"failed": str(error)}
        return {"failed": None}
    functions = await worker.functions()
    return {name: [json.loads(raw) for raw in function.raw_bindings] for name, function in functions.items()}


if __name__ == "__main__":
    json.dump(asyncio.run(answered(sys.argv[1], sys.argv[2:])), sys.stdout)
