"""Settings: read from an environment, refused with the variable's name."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from maintenance import settings
from maintenance.errors import SettingsError
from maintenance.settings import Settings, parse_duration
from maintenance.target import Target
from maintenance.variables import SETTINGS

DURATIONS = [setting.name for setting in SETTINGS if re.fullmatch(r"\d+[a-z]+", setting.default or "")]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("8m", 480),
        ("200ms", 0.2),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        (" 90s ", 90),
        ("1.5s", 1.5),
        ("0.5ms", 0.0005),
        ("180d", 180 * 86400),
        ("1d2h3m4s5ms", 93784.005),
    ],
)
def test_a_duration_is_numbers_with_units(text: str, seconds: float) -> None:
    assert math.isclose(parse_duration(text), seconds)


@pytest.mark.parametrize(
    "text",
    ["", " ", "8", "m", "0", "0s", "0h0m", "-1m", "8 min", "8M", "8x", "1e3s", "inf", "nan", "infs", "1,5s", ".5s",
     "5.s", "8m!", "five minutes", "1m-30s", "8m\0"],
)  # fmt: skip
def test_what_is_no_duration_above_zero_is_refused_and_shown(text: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse_duration(text)
    assert repr(text) in str(raised.value)
    assert "such as 8m" in str(raised.value)


@pytest.mark.parametrize("text", ["9" * 400 + "d", "9" * 5000 + "s"])
def test_a_duration_beyond_all_measure_is_refused_and_not_infinite(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_duration(text)


@pytest.mark.parametrize("name", DURATIONS)
def test_a_wrong_duration_names_its_variable(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: 'soon'"):
        settings.load({name: "soon"})


def test_an_empty_environment_gives_the_documented_defaults_and_no_database() -> None:
    loaded = settings.load({})
    assert loaded == Settings()
    assert loaded == settings.load({setting.name: setting.default or "" for setting in SETTINGS})


def test_every_setting_is_read() -> None:
    texts = {
        "MAINTENANCE_POLICY": "other.toml", "MAINTENANCE_POSTGRES_BIN": "/opt/pg/bin", "MAINTENANCE_AUTH": "entra",
        "MAINTENANCE_ALLOW_PLAINTEXT": "1", "MAINTENANCE_SLICES": "7", "MAINTENANCE_TARGETS": "fleet.toml",
        "MAINTENANCE_HTTP_ALLOWED_PRINCIPALS": "11111111-2222-3333-4444-555555555555",
    }  # fmt: skip
    for setting in SETTINGS:
        remote = {"PGHOST": "db.example.org"}
        if setting.name == "MAINTENANCE_ALLOW_PLAINTEXT":
            remote["PGSSLMODE"] = "prefer"
        assert outcome({**remote, setting.name: texts.get(setting.name, "77s")}) != outcome(remote), setting.name


def outcome(environment: dict[str, str]) -> Settings | str:
    try:
        return settings.load(environment)
    except SettingsError as error:
        return str(error)


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAINTENANCE_AUTH", "aad"), ("MAINTENANCE_ALLOW_PLAINTEXT", "yes"), ("MAINTENANCE_SLICES", "0"),
     ("MAINTENANCE_SLICES", "many"), ("MAINTENANCE_SLICES", "10000"), ("MAINTENANCE_SLICES", "-1"),
     ("MAINTENANCE_HTTP_ALLOWED_PRINCIPALS", "me"), ("MAINTENANCE_HTTP_ALLOWED_PRINCIPALS", ","),
     ("MAINTENANCE_HTTP_ALLOWED_PRINCIPALS", " ")],
)  # fmt: skip
def test_a_setting_of_few_words_takes_no_others(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is '{value}'"):
        settings.load({"PGHOST": "db.example.org", name: value})


def test_an_empty_variable_counts_as_unset() -> None:
    assert settings.load({"MAINTENANCE_BUDGET": "", "PGHOST": "", "PGDATABASE": "x"}) == Settings()


@pytest.mark.parametrize(
    ("name", "near"), [("MAINTENANCE_BUGDET", "MAINTENANCE_BUDGET"), ("MAINTENANCE_POLCY", "MAINTENANCE_POLICY")]
)
def test_an_unknown_variable_of_ours_names_the_nearest_known_one(name: str, near: str) -> None:
    with pytest.raises(SettingsError) as raised:
        settings.load({name: "x"})
    assert name in str(raised.value)
    assert f"did you mean {near}?" in str(raised.value)


def test_an_unknown_variable_like_no_other_lists_all_that_are_known() -> None:
    with pytest.raises(SettingsError) as raised:
        settings.load({"MAINTENANCE_QQQQQQQQQQQQQQQQQQQQ": "x"})
    assert all(setting.name in str(raised.value) for setting in SETTINGS)


def test_variables_of_others_are_none_of_our_business() -> None:
    assert settings.load({"PGAPPNAME": "x", "FUNCTIONS_WORKER_RUNTIME": "python", "maintenance_x": "1"}) == Settings()


def test_the_database_is_that_of_libpqs_variables() -> None:
    environment = {"PGHOST": "h", "PGPORT": "5433", "PGDATABASE": "d", "PGUSER": "u", "PGPASSWORD": "secret"}
    target = settings.load(environment).required_target()
    assert target == Target(host="h", port=5433, database="d", user="u", password="secret", sslmode="verify-full")
    assert str(target) == "h:5433/d"
    assert "secret" not in repr(target)


@pytest.mark.parametrize("port", ["abc", "0", "-1", "65536", "5432.0", "54 32", "५४३२", "²"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(SettingsError, match="PGPORT"):
        settings.load({"PGHOST": "h", "PGPORT": port})


def test_no_database_says_what_to_set_and_where_to_see_a_demo() -> None:
    with pytest.raises(SettingsError) as raised:
        settings.load({"PGDATABASE": "d"}).required_target()
    for word in ("PGHOST", "PGDATABASE", "PGUSER", "make run"):
        assert word in str(raised.value)


def test_paths_are_taken_as_written() -> None:
    assert settings.load({"MAINTENANCE_POLICY": "/etc/policy.toml"}).policy == Path("/etc/policy.toml")
