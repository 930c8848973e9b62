"""The Terraform of infra/ agrees with the service. Whether it is valid, `terraform test` says."""

from __future__ import annotations

import json
import re

import pytest

from maintenance.models import RunStatus, StepStatus
from maintenance.telemetry.instruments import LAG, METRICS
from maintenance.telemetry_settings import TELEMETRY
from maintenance.variables import AZURE, LIBPQ, SETTINGS
from maintenance.witness import Event
from tests.databases import ROOT

DEFAULTS = {setting.name: setting.default for setting in SETTINGS}
SCHEDULES = {"DAILY_CLEANUP_SCHEDULE": "daily_cleanup_schedule", "WEEKLY_VACUUM_SCHEDULE": "weekly_vacuum_schedule"}
HOST = {
    "AzureWebJobsStorage__accountName", "AzureWebJobsStorage__credential", "AzureWebJobsStorage__clientId",
    "AzureWebJobs.daily_cleanup.Disabled", "AzureWebJobs.weekly_vacuum.Disabled",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
}  # fmt: skip
"""Read by the Functions host or Microsoft's exporter, not by us."""
NOT_ON_THIS_PLAN = {"FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION", "WEBSITE_RUN_FROM_PACKAGE"}
"""https://learn.microsoft.com/azure/azure-functions/functions-app-settings#flex-consumption-plan-deprecations"""


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def terraform() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "infra").glob("*.tf")))


def blocks(kind: str, path: str) -> dict[str, str]:
    return dict(re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}', read(path), re.MULTILINE | re.DOTALL))


def attribute(block: str, name: str) -> str | None:
    found = re.search(rf"^  {name}\s+= (.*)$", block, re.MULTILINE)
    return found[1] if found else None


def described(block: str) -> str:
    text = attribute(block, "description")
    assert text
    return str(json.loads(text))


def set_names() -> set[str]:
    """The names of all settings in settings.tf."""
    return set(re.findall(r'"?\b([A-Z][\w.]*[A-Z_a-z])"?\s+= ', read("infra/settings.tf")))


def test_no_setting_is_one_that_nobody_reads() -> None:
    known = {*DEFAULTS, *LIBPQ, *AZURE, *TELEMETRY, *SCHEDULES, *HOST}
    assert set_names() - known == set()
    assert set_names() & {*NOT_ON_THIS_PLAN, "PGPASSWORD", "PGPASSFILE", "AzureWebJobsStorage"} == set()


def test_every_setting_that_a_deployment_by_hand_has_is_there() -> None:
    by_hand = re.findall(r"--settings(.*?)\n\n|--settings(.*?)\n```", read("docs/deploy.md"), re.DOTALL)
    names = set(re.findall(r'["\s]([A-Z]\w+)=', " ".join(one + other for one, other in by_hand)))
    assert {"PGHOST", "AZURE_CLIENT_ID", "AzureWebJobsStorage__accountName", "OTEL_TRACES_SAMPLER"} <= names
    assert names - set_names() == set()


def test_the_schedules_are_those_of_the_example() -> None:
    local: dict[str, str] = json.loads(read("local.settings.json.example"))["Values"]
    variables = blocks("variable", "infra/variables.tf")
    for setting, variable in SCHEDULES.items():
        assert attribute(variables[variable], "default") == json.dumps(local[setting])
        assert re.search(rf"{setting} = var\.{variable}$", read("infra/settings.tf"), re.MULTILINE)
        assert f'{variable} = "{local[setting]}"' in read("infra/terraform.tfvars.example")


def test_the_policy_is_the_services_default() -> None:
    variables = blocks("variable", "infra/variables.tf")
    assert attribute(variables["policy"], "default") == json.dumps(DEFAULTS["MAINTENANCE_POLICY"])


def test_the_timers_that_another_scheduler_turns_off_exist() -> None:
    disabled = set(re.findall(r"AzureWebJobs\.(\w+)\.Disabled", read("infra/settings.tf")))
    timers = set(re.findall(r"timer_trigger.*?async def (\w+)", read("function_app.py"), re.DOTALL))
    assert disabled == timers


@pytest.mark.parametrize("path", ["infra/container_job.tf", "infra/logic_app.tf"])
def test_other_schedulers_run_the_groups_of_the_timers(path: str) -> None:
    groups = set(re.findall(r'tick\("([\w-]+)"', read("function_app.py")))
    assert set(re.findall(r"^    ([a-z]+-[a-z]+)\s+= ", read(path), re.MULTILINE)) == groups


def test_queries_name_events_metrics_and_statuses_that_are_sent() -> None:
    queries = read("infra/alerts.tf") + read("infra/workbook.json").replace('\\"', '"')
    listed = r"(?:== \"([\w.-]+)\"|in \(((?:\"[\w.-]+\"(?:, )?)+)\))"

    def values(what: str) -> set[str]:
        found = re.findall(rf"{what} {listed}", queries)
        return {value for one, many in found for value in [one, *re.findall(r'"([\w.-]+)"', many)] if value}

    events = values("event") | values(r"Properties\.event\)")
    assert {"run_ended", "run_failed", "step_ended", "message_given_up", "target_failed"} == events
    assert events <= {str(event) for event in Event}
    assert values("Name") == {"maintenance.rows", "maintenance.run.duration", "maintenance.database.size", LAG.name}
    assert values("Name") <= {metric.name for metric in METRICS}
    statuses = values("status") | values(r"Properties\.status\)")
    assert statuses == {"failed", "blocked", "succeeded", "interrupted"}
    assert statuses <= {*map(str, RunStatus), *map(str, StepStatus)}


def test_queries_read_fields_and_attributes_that_are_documented() -> None:
    queries = read("infra/alerts.tf") + read("infra/workbook.json").replace('\\"', '"')
    fields = set(re.findall(r"Properties\.(\w+)", queries))
    records = read("docs/telemetry.md").split("## Log records")[1]
    assert fields - {"event"} <= set(re.findall(r"`(\w+)`", records))
    attributes = set(re.findall(r'Properties\["([\w.]+)"\]', queries))
    assert fields
    assert attributes
    assert attributes - {"db.namespace"} <= {name for metric in METRICS for name in metric.attributes}


def test_the_logic_app_calls_routes_that_exist_and_knows_every_end_of_a_run() -> None:
    definition = read("infra/logic_app/definition.json")
    paths = json.loads(read("docs/openapi.json"))["paths"]
    (root,) = {f"/{found}" for found in re.findall(r"HOST}/(api/maintenance)/", definition)}
    called = {url.split("@")[0].rstrip("/") for url in re.findall(r"HOST}(/[^\"]+)", definition)}
    assert called == {f"{root}/runs"}
    assert any(path.endswith("/runs") and "post" in paths[path] for path in paths)
    assert any(path.endswith("/runs/{id}") and "get" in paths[path] for path in paths)
    for function in re.findall(r"/functions/(\w+)/listkeys", definition):
        assert f"async def {function}(" in read("maintenance/http/routes.py")
    ends, good = (set(re.findall(r"'(\w+)'", one)) for one in re.findall(r"createArray\(([^)]*)\)", definition))
    assert ends == {*map(str, RunStatus)} - {"queued", "running"}
    assert good == ends - {"failed"}


def test_the_logic_app_gets_every_value_that_it_asks_for_and_keeps_its_keys_secret() -> None:
    text = read("infra/logic_app/definition.json")
    given = set(re.findall(r"^    ([A-Z_]+)\s+= ", read("infra/logic_app.tf"), re.MULTILINE))
    assert set(re.findall(r"\$\{(\w+)}", text)) == given
    actions = json.loads(text)["actions"]
    calls = [*actions.values(), *actions["Follow"]["actions"].values()]
    with_key = [call for call in calls if "listkeys" in json.dumps(call) or "x-functions-key" in json.dumps(call)]
    secret = [call for call in with_key if call["type"] == "Http"]
    assert len(secret) == 4
    assert all("inputs" in call["runtimeConfiguration"]["secureData"]["properties"] for call in secret)


def test_the_readme_has_every_input_and_output() -> None:
    rows = [line.strip("| ").split(" | ") for line in read("infra/README.md").splitlines() if line.startswith("| `")]
    inputs = {
        name: [f"`{default}`" if (default := attribute(block, "default")) else "required", described(block)]
        for name, block in blocks("variable", "infra/variables.tf").items()
    }
    outputs = {name: [described(block)] for name, block in blocks("output", "infra/outputs.tf").items()}
    assert {row[0].strip("`"): row[1:] for row in rows} == inputs | outputs


@pytest.mark.parametrize("path", ["infra/terraform.tfvars.example", "infra/main.tfvars.json"])
def test_example_values_are_of_variables_that_exist_and_leave_none_out(path: str) -> None:
    variables = blocks("variable", "infra/variables.tf")
    required = {name for name, block in variables.items() if not attribute(block, "default")}
    named = set(re.findall(r'^(?:# |  ")?(\w+)"?\s*(?:=|:) ', read(path), re.MULTILINE))
    assert required <= named <= set(variables)


def test_azd_finds_the_app_by_its_tag() -> None:
    (service,) = re.findall(r"^services:\n  (\w+):", read("azure.yaml"), re.MULTILINE)
    assert f'azd-service-name = "{service}"' in read("infra/functions.tf")


def test_nothing_is_made_by_a_resource_that_keeps_keys_in_the_state() -> None:
    forbidden = re.search(r"resource_types:\n((?:    - \w+\n)+)", read("infra/checks/state.yaml"))
    assert forbidden
    kinds = set(re.findall(r'^resource "(\w+)"', terraform(), re.MULTILINE))
    assert kinds & set(re.findall(r"- (\w+)", forbidden[1])) == set()
    assert not re.search(r"(?<!\w)administrator_password|primary_access_key|primary_shared_key", terraform())
