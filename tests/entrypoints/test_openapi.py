"""docs/openapi.json is what the HTTP functions do: compared with the code, and fuzzed against the running app."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

import maintenance
from maintenance.documents import history_document, plan_document, run_document
from maintenance.http.calls import PauseBody, ResumeBody, RunBody
from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.tasks import GROUPS, TASKS
from tests.databases import ROOT, Database
from tests.gateway import FUNCTIONS, gateway

DOCUMENT: dict[str, Any] = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]


def operations() -> dict[tuple[str, str], str]:
    return {
        (method.upper(), path): operation["operationId"]
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    }


def test_the_document_has_exactly_our_routes_by_the_names_of_their_functions() -> None:
    routes = {}
    for name, function in FUNCTIONS.items():
        for binding in map(json.loads, function.get_raw_bindings()):
            if binding["type"] == "httpTrigger":
                for method in binding["methods"]:
                    routes[method, "/" + binding["route"].removeprefix("maintenance/")] = name
    assert operations() == routes
    assert DOCUMENT["info"]["version"] == maintenance.__version__


@pytest.mark.parametrize(
    ("schema", "model"), [("RunRequest", RunBody), ("PauseRequest", PauseBody), ("ResumeRequest", ResumeBody)]
)
def test_a_request_has_exactly_the_fields_that_are_read(schema: str, model: Any) -> None:
    assert set(SCHEMAS[schema]["properties"]) == set(model.model_fields)
    assert SCHEMAS[schema]["required"] == [name for name, field in model.model_fields.items() if field.is_required()]


def test_the_words_of_the_document_are_those_of_the_code() -> None:
    assert SCHEMAS["RunRequest"]["properties"]["name"]["enum"] == [*(task.name for task in TASKS), *GROUPS]
    assert SCHEMAS["Run"]["properties"]["status"]["enum"] == list(RunStatus)
    assert SCHEMAS["Step"]["properties"]["status"]["enum"] == list(StepStatus)
    assert SCHEMAS["Step"]["properties"]["stop_reason"]["enum"] == [*StopReason, None]


async def test_the_answers_have_exactly_the_fields_that_are_described(fleet: Database) -> None:
    plan = plan_document(await fleet.plan())
    assert set(plan) == set(SCHEMAS["Plan"]["properties"])
    assert set(plan["steps"][0]) == set(SCHEMAS["PlannedStep"]["properties"])
    run = await fleet.run()
    assert set(run_document(run)) == set(SCHEMAS["Run"]["properties"])
    assert set(run_document(run)["steps"][0]) == set(SCHEMAS["Step"]["properties"])
    assert set(history_document([run])["runs"][0]) == set(SCHEMAS["RunWithoutSteps"]["properties"])


async def test_a_fuzzer_finds_no_answer_that_is_not_described(fleet: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**fleet.environment, "AzureWebJobsStorage": "UseDevelopmentStorage=true"}.items():
        monkeypatch.setenv(name, value)
    await fleet.run("retention")
    events = await fleet.values("select count(*) from events")
    async with gateway() as app:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "run", str(ROOT / "docs" / "openapi.json"), "--url", app.url,
            "--max-examples", "40", "--seed", "1", "--generation-deterministic", "--checks", "all",
            # Keys are the host's business; and whether a table or target exists, no schema knows.
            "--exclude-checks", "ignored_auth,positive_data_acceptance", "--suppress-health-check", "all", "--no-color",
            cwd=fleet.folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert await fleet.values("select count(*) from events") == events
