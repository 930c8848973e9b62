"""docs/check.md has every kind of finding, the code has each of them somewhere, and a test finds it."""

from __future__ import annotations

import re
import tomllib

import pytest

from maintenance.check.examination import LOOKS
from maintenance.check.kinds import KINDS
from maintenance.check.server import ENDS
from maintenance.check.thresholds import Thresholds
from maintenance.database import OLDEST_MAJOR
from maintenance.findings import Severity
from tests.databases import ROOT

_CODE = re.compile(r'"((?:' + "|".join(sorted({code.split(".")[0] for code in KINDS})) + r')\.[a-z_]+)"')
PAGE = (ROOT / "docs/check.md").read_text("utf-8")


def test_the_page_has_exactly_the_kinds_of_the_code() -> None:
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| `")]
    assert rows == [[f"`{k.code}`", k.severity.value, k.consequence, k.remedy] for k in KINDS.values()]


def test_the_code_finds_exactly_these_kinds() -> None:
    found: set[str] = set()
    for path in (ROOT / "maintenance/check").glob("*.py"):
        if path.name != "kinds.py":
            found |= set(_CODE.findall(path.read_text("utf-8")))
    assert found == set(KINDS)


def test_each_kind_is_found_in_a_test() -> None:
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests/integration").glob("test_check*.py"))
    assert set(KINDS) - set(_CODE.findall(tests)) == set()


@pytest.mark.parametrize("severity", Severity)
def test_the_kinds_of_a_severity_stand_together(severity: Severity) -> None:
    order = [kind.severity for kind in KINDS.values()]
    assert order == sorted(order, key=list(Severity).index)
    assert severity in order


def test_the_words_of_a_kind_end_as_parts_of_a_sentence() -> None:
    for kind in KINDS.values():
        for words in (kind.consequence, kind.remedy):
            assert words, kind.code
            assert not words.endswith((".", ";")), kind.code
            assert "|" not in words


def test_the_page_has_the_seconds_of_the_thresholds() -> None:
    limits = Thresholds()
    assert f"a look may take {limits.look:g} s, all together {limits.budget:g} s" in PAGE


def test_a_clean_up_is_overdue_after_as_many_hours_as_for_the_alert() -> None:
    alerts = (ROOT / "infra/alerts.tf").read_text("utf-8")
    assert f"ago({Thresholds().cleanup / 3600:.0f}h)" in alerts


def test_the_ends_of_all_supported_majors_are_known_and_in_order() -> None:
    assert list(ENDS) == list(range(OLDEST_MAJOR, OLDEST_MAJOR + len(ENDS)))
    assert sorted(ENDS.values()) == list(ENDS.values())


def test_each_look_has_a_name_of_its_own() -> None:
    assert len({look.name for look in LOOKS}) == len(LOOKS)


def test_the_verb_is_told_where_operators_look() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "docs/check.md" in readme.split("## Operate")[1]
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0][
        "layers"
    ]
    assert "check" in layers
