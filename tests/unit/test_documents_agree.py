"""What is written for people agrees with what the program does."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections import defaultdict
from typing import Any

import pytest

import maintenance
from maintenance import policy_file, settings
from maintenance.__main__ import main
from maintenance.arguments import parser
from maintenance.models import StopReason
from maintenance.policy import Guards, Health, Lag, Policy, Shrink, Vacuum
from maintenance.rules import Duplicates, Orphans, Reference, Retention, Unreferenced
from maintenance.section import Section
from maintenance.telemetry.instruments import METRICS
from maintenance.telemetry_settings import TELEMETRY
from maintenance.variables import AZURE, LIBPQ, PREFIX, SETTINGS
from maintenance.witness import Event
from tests.databases import ROOT

SECTIONS: dict[str, type[Section]] = {
    "retention": Retention, "duplicates": Duplicates, "orphans": Orphans, "unreferenced": Unreferenced,
    "vacuum": Vacuum, "shrink": Shrink, "lag": Lag, "guards": Guards, "health": Health,
}  # fmt: skip


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def chapters(path: str) -> dict[str, str]:
    """The text below each heading of the second rank."""
    parts = re.split(r"^## (.+)$", read(path), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_settings_document_has_exactly_our_settings_with_their_defaults_and_meanings() -> None:
    written = rows(chapters("docs/settings.md")["Ours"])
    assert written == [
        [f"`{setting.name}`", f"`{setting.default}`" if setting.default else "unset", setting.meaning.replace("|", "")]
        for setting in SETTINGS
    ]


def test_the_settings_document_has_exactly_the_variables_of_libpq_that_we_name() -> None:
    assert [row[0] for row in rows(chapters("docs/settings.md")["The database"])] == [f"`{name}`" for name in LIBPQ]


def test_the_settings_document_has_exactly_the_variables_of_azure_that_we_name() -> None:
    assert [row[0] for row in rows(chapters("docs/settings.md")["Entra ID"])] == [f"`{name}`" for name in AZURE]


def test_the_settings_document_has_exactly_the_variables_of_telemetry_that_we_read() -> None:
    assert [row[0] for row in rows(chapters("docs/settings.md")["Telemetry"])] == [f"`{name}`" for name in TELEMETRY]


def test_the_telemetry_document_has_exactly_our_metrics() -> None:
    assert rows(chapters("docs/telemetry.md")["Metrics"]) == [
        [f"`{m.name}`", m.kind, f"`{m.unit}`", ", ".join(f"`{key}`" for key in m.attributes) or "none", m.meaning]
        for m in METRICS
    ]


def test_the_telemetry_document_has_exactly_our_events() -> None:
    assert [row[0] for row in rows(chapters("docs/telemetry.md")["Log records"])] == [f"`{name}`" for name in Event]


def test_the_operations_document_explains_every_stop_reason() -> None:
    explained = rows(chapters("docs/operations.md")["Stop reasons"])
    assert {row[0] for row in explained} == {f"`{reason}`" for reason in StopReason}
    assert all(len(row) == 3 and row[1] and row[2] for row in explained)


def test_the_operations_document_names_only_verbs_and_options_that_there_are() -> None:
    commands = re.findall(r"python -m maintenance ([a-z][^\n`#]*)", read("docs/operations.md"))
    assert commands
    for command in commands:
        words = [word for word in shlex.split(command) if word not in (";", ",")]
        verbs = parser(defaultdict(lambda: lambda _: 0))
        assert verbs.parse_args(words).verb, command


def test_no_log_record_has_an_event_of_another_name() -> None:
    for path in (ROOT / "maintenance").rglob("*.py"):
        assert '"event": "' not in path.read_text(encoding="utf-8"), path


def test_the_settings_document_has_the_schedules_of_the_example() -> None:
    local = json.loads(read("local.settings.json.example"))["Values"]
    written = {
        name.strip("`"): example.strip("`") for name, example, _ in rows(chapters("docs/settings.md")["The schedule"])
    }
    assert written == {name: value for name, value in local.items() if name.endswith("_SCHEDULE")}
    assert set(re.findall(r"%(\w+)%", read("function_app.py"))) == set(written)


def test_the_example_settings_are_known_and_at_their_defaults() -> None:
    local: dict[str, str] = json.loads(read("local.settings.json.example"))["Values"]
    assert settings.load(local).target is not None
    defaults = {setting.name: setting.default for setting in SETTINGS}
    ours = {name: value for name, value in local.items() if name.startswith(PREFIX) and value}
    assert {name: value for name, value in ours.items() if defaults[name] != value} == {}


def test_the_example_settings_have_every_setting_that_an_app_may_need() -> None:
    local: dict[str, str] = json.loads(read("local.settings.json.example"))["Values"]
    known = {*LIBPQ, *AZURE, *TELEMETRY, *(setting.name for setting in SETTINGS)}
    assert known - set(local) == {"MAINTENANCE_POSTGRES_BIN"}


def test_help_has_every_setting_with_its_default_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for setting in SETTINGS:
        assert f"{setting.name} {setting.meaning} [{setting.default or 'unset'}]" in shown


@pytest.mark.parametrize("name", SECTIONS)
def test_the_policy_document_has_every_key_of_a_section_with_its_default(name: str) -> None:
    (text,) = [text for title, text in chapters("docs/policy.md").items() if f"[{name}]" in title]
    written = {key.strip("`"): default for key, _, default, _ in rows(text)}
    assert written == {
        key: shown(field.is_required(), field.default) for key, field in SECTIONS[name].model_fields.items()
    }


def shown(required: bool, default: Any) -> str:
    if required:
        return "required"
    return "none" if default is None else f"`{json.dumps(default)}`"


def test_the_policy_document_has_the_sections_in_running_order_and_the_keys_of_a_reference() -> None:
    titles = list(chapters("docs/policy.md"))
    assert [re.findall(r"\[(\w+)\]", title) for title in titles] == [[name] for name in Policy.model_fields]
    assert list(SECTIONS) == list(Policy.model_fields)
    assert f"{{ {', '.join(Reference.model_fields)} }}" in read("docs/policy.md")


@pytest.mark.parametrize("name", SECTIONS)
def test_the_examples_of_the_policy_document_are_valid(name: str) -> None:
    (text,) = [text for title, text in chapters("docs/policy.md").items() if f"[{name}]" in title]
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert name in tomllib.loads(example)
    assert policy_file.parse(example) != Policy()


def test_the_defaults_in_the_comments_of_our_own_policy_are_the_defaults() -> None:
    commented = re.findall(r"^# (\w+) = ([\d.]+)", read("maintenance.toml"), re.MULTILINE)
    assert commented
    defaults = {key: field.default for section in (Vacuum, Shrink, Lag) for key, field in section.model_fields.items()}
    assert {key: float(value) for key, value in commented} == {key: defaults[key] for key, _ in commented}


def test_the_version_is_the_same_everywhere() -> None:
    assert tomllib.loads(read("pyproject.toml"))["project"]["version"] == maintenance.__version__


@pytest.mark.parametrize("name", ["requirements", "requirements-dev", "infra/requirements-checkov"])
def test_compiled_requirements_pin_everything_that_is_asked_for(name: str) -> None:
    asked = {word(line) for line in read(f"{name}.in").splitlines() if re.match(r"[a-zA-Z]", line)}
    pinned = [line for line in read(f"{name}.txt").splitlines() if re.match(r"[a-zA-Z]", line)]
    assert [line for line in pinned if "==" not in line] == []
    assert asked <= {word(line) for line in pinned}


def test_the_development_requirements_pin_the_same_versions_as_the_services() -> None:
    service = {line for line in read("requirements.txt").splitlines() if re.match(r"[a-zA-Z]", line)}
    assert service <= set(read("requirements-dev.txt").splitlines())


@pytest.mark.parametrize("name", ["requirements", "requirements-dev", "infra/requirements-checkov"])
def test_every_direct_dependency_has_its_reason_in_contributing(name: str) -> None:
    asked = {word(line) for line in read(f"{name}.in").splitlines() if re.match(r"[a-zA-Z]", line)}
    explained = set(re.findall(r"^\| ([a-z0-9-]+) \|", read("CONTRIBUTING.md"), re.MULTILINE))
    assert asked <= explained


def word(line: str) -> str:
    """The package's name in a line of requirements."""
    return re.split(r"[\s;<>=\[]", line.lower().replace("_", "-"))[0]
