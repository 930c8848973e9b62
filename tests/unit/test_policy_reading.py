"""Reading the policy file: what is no file, no text or no TOML is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from maintenance import policy_file
from maintenance.errors import PolicyError
from maintenance.names import TableName


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("[[retention]]\ntable = = 3\n", 2, 9),
        ("[[retention]]\ntable = 'x'\ntable = 'y'\nkeep = '1 day'\n", 3, 12),
        ("[[retention]\n", 1, 12),
        ('[[retention]]\ntable = "events', 2, 16),
        ("[[retention]]\ntables = [", 2, 11),
    ],
)
def test_unreadable_toml_names_line_and_column(text: str, line: int, column: int) -> None:
    with pytest.raises(PolicyError, match=r"^policy.toml is not valid TOML") as raised:
        policy_file.parse(text, "policy.toml")
    assert f"line {line}, column {column}" in str(raised.value)


def load_refused(path: Path) -> str:
    with pytest.raises(PolicyError) as raised:
        policy_file.load(path)
    message = str(raised.value)
    assert str(path) in message
    return message


def test_a_missing_file_names_its_path_and_the_setting(tmp_path: Path) -> None:
    assert "MAINTENANCE_POLICY" in load_refused(tmp_path / "none.toml")


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in load_refused(tmp_path)


def test_a_path_that_leads_through_a_file_or_has_a_nul_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    load_refused(tmp_path / "file" / "policy.toml")
    load_refused(tmp_path / "a\0b")


@pytest.mark.parametrize("content", [b"# \xff\xfe\n", "# ä\n".encode("latin-1"), "a = 1\n".encode("utf-16")])
def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "policy.toml"
    file.write_bytes(content)
    assert "UTF-8" in load_refused(file)


def test_the_projects_own_policy_is_good() -> None:
    policy = policy_file.load(Path(__file__).parents[2] / "maintenance.toml")
    assert TableName(schema=None, name="events") in set(policy.tables())


def test_a_file_with_windows_line_ends_is_read(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_bytes(b'[[retention]]\r\ntable = "a"\r\ncolumn = "b"\r\nkeep = "30 days"\r\n')
    assert policy_file.load(file).retention[0].keep == "30 days"
