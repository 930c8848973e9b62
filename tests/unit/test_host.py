"""The budget inside Azure Functions: what the host allows, less what is not the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maintenance import settings
from maintenance.host import host_budget
from maintenance.runs import Scheduler

FUNCTIONS = {"FUNCTIONS_WORKER_RUNTIME": "python"}


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [("00:10:00", 480), ("00:05:00", 240), ("00:30:00", 1680), ("01:00:00", 3480), ("1.00:00:00", 86280),
     ("00:01:00", 48), ("-1", None), ("ten minutes", None), (10, None), (None, None)],
)  # fmt: skip
def test_a_fifth_but_at_most_two_minutes_is_left(tmp_path: Path, timeout: object, seconds: float | None) -> None:
    file = tmp_path / "host.json"
    file.write_text(json.dumps({"version": "2.0", "functionTimeout": timeout}))
    assert host_budget(FUNCTIONS, file) == seconds
    assert host_budget({}, file) == seconds


def test_an_app_setting_goes_before_the_file(tmp_path: Path) -> None:
    setting = {**FUNCTIONS, "AzureFunctionsJobHost__functionTimeout": "00:20:00"}
    assert host_budget(setting, tmp_path / "absent.json") == 1080
    assert host_budget(FUNCTIONS, tmp_path / "absent.json") is None


def test_what_somebody_has_set_goes_before_both() -> None:
    shorter = {"AzureFunctionsJobHost__functionTimeout": "00:05:00"}
    assert settings.load(shorter, hosted=True).budget == 240
    assert settings.load(shorter).budget == 480
    assert settings.load({**shorter, "MAINTENANCE_BUDGET": "3m"}, hosted=True).budget == 180
    assert settings.load({**shorter, "MAINTENANCE_BUDGET": ""}, hosted=True).budget == 240


@pytest.mark.parametrize(
    ("variables", "scheduler"),
    [
        ({}, Scheduler.CLI),
        ({"GITHUB_ACTIONS": "true"}, Scheduler.GITHUB_ACTIONS),
        ({"GITHUB_ACTIONS": ""}, Scheduler.CLI),
        ({"CONTAINER_APP_JOB_NAME": "nightly"}, Scheduler.CONTAINER_JOB),
        ({"CONTAINER_APP_NAME": "app"}, Scheduler.CLI),
        # A runner that is a container job itself.
        ({"GITHUB_ACTIONS": "true", "CONTAINER_APP_JOB_NAME": "runner"}, Scheduler.GITHUB_ACTIONS),
    ],
)
def test_who_called_the_command_line_is_told_by_the_platform(variables: dict[str, str], scheduler: Scheduler) -> None:
    assert settings.load(variables).scheduler is scheduler
