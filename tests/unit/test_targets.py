"""The fleet's file: what it must say, and what it is told when it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from maintenance import settings as environment
from maintenance import targets
from maintenance.errors import SettingsError, UsageError
from maintenance.target import Auth

NORTH = '[[target]]\nname = "north"\nhost = "n.postgres.database.azure.com"\ndatabase = "a"\npolicy = "north.toml"\n'
SOUTH = (
    '[[target]]\nname = "south"\nhost = "localhost"\nport = 5433\ndatabase = "b"\nuser = "u"\npolicy = "/p/s.toml"\n'
)


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PGUSER", "everybody")
    file = tmp_path / "fleet.toml"
    monkeypatch.setenv("MAINTENANCE_TARGETS", str(file))
    file.write_text(NORTH + SOUTH)
    return file


def test_each_target_has_its_database_login_and_policy(fleet: Path) -> None:
    assert targets.names(environment.load()) == ["north", "south"]
    north, south = (targets.one(environment.load(), name) for name in ("north", "south"))
    assert (str(north.target), north.required_target().user) == ("n.postgres.database.azure.com/a", "everybody")
    assert (north.required_target().auth, north.required_target().sslmode) == (Auth.ENTRA, "verify-full")
    assert north.policy == fleet.parent / "north.toml"
    assert (str(south.target), south.required_target().user) == ("localhost:5433/b", "u")
    assert (south.required_target().auth, south.policy) == (Auth.PASSWORD, Path("/p/s.toml"))
    assert [one.required_target().name for one in (north, south)] == ["north", "south"]


def test_without_a_file_there_is_the_one_database(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(environment.load({"PGHOST": "h"}), targets=None)
    assert targets.names(settings) == [None]
    assert targets.one(settings, None) is settings
    with pytest.raises(UsageError, match="MAINTENANCE_TARGETS"):
        targets.one(settings, "north")


def test_a_target_that_is_not_there_is_told_the_nearest(fleet: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'north'"):
        targets.one(environment.load(), "nroth")
    with pytest.raises(UsageError, match=r"Which target\? Name one of north, south"):
        targets.one(environment.load(), None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "target"),
        ("[[target", "is not TOML"),
        ("\0", "is not TOML"),
        (NORTH + NORTH, "two targets 'north'"),
        (NORTH.replace("north", "no rth", 1), "name"),
        (NORTH.replace('database = "a"\n', ""), "database"),
        (NORTH + "port = 0\n", "port"),
        (NORTH + 'port = "5432"\n', "port"),
        (NORTH + 'password = "s3cret"\n', "password"),
        (NORTH.replace('"n.postgres.database.azure.com"', '""'), "host"),
    ],
)
def test_a_file_that_does_not_say_what_is_needed_is_refused(fleet: Path, text: str, said: str) -> None:
    fleet.write_text(text)
    with pytest.raises(SettingsError, match="MAINTENANCE_TARGETS") as raised:
        targets.names(environment.load())
    assert said in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_a_file_that_is_not_there_is_refused(fleet: Path) -> None:
    fleet.unlink()
    with pytest.raises(SettingsError, match="No such file"):
        targets.names(environment.load())
