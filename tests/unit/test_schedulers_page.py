"""docs/schedulers.md agrees with the ledger, the tests, the costs, the exit codes and the files that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from maintenance.__main__ import EXIT_CODES
from maintenance.runs import Scheduler
from tests.databases import ROOT

PAGE = (ROOT / "docs/schedulers.md").read_text(encoding="utf-8")


def table(head: str, text: str = PAGE) -> list[list[str]]:
    """The rows below the head that begins so."""
    lines = text[text.index(f"\n{head}") + 1 :].splitlines()
    rows = [line for line in lines[: lines.index("")] if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]]


WAYS = {row[0]: row for row in table("| Way |")}
BESIDE = "| | Azure Functions |"
HEAD = [cell.strip() for cell in PAGE[PAGE.index(BESIDE) :].splitlines()[0].strip("|").split(" | ")]


def test_the_ways_are_the_schedulers_that_the_ledger_can_name() -> None:
    named = [row[1].strip("`") for row in WAYS.values()]
    assert sorted(named) == sorted(str(one) for one in Scheduler if one is not Scheduler.CLI)
    assert f"`{Scheduler.CLI}`" in PAGE


@pytest.mark.parametrize("way", WAYS)
def test_each_way_has_a_test_that_looks_for_its_name_in_the_ledger(way: str) -> None:
    _, scheduler, _, link = WAYS[way]
    found = re.search(r"\]\((\.\./tests/\S+\.py)\)", link)
    assert found
    test = (ROOT / "docs" / found[1]).read_text(encoding="utf-8")
    assert f'"{scheduler.strip("`")}"' in test or f"'{scheduler.strip('`')}'" in test
    assert "maintenance.run" in test


def test_pg_cron_writes_its_own_name_as_the_enumeration_has_it() -> None:
    script = (ROOT / "maintenance/sql/pg_cron/run.sql").read_text(encoding="utf-8")
    assert f"'{Scheduler.PG_CRON}'" in script


def test_all_ways_are_compared_in_six_respects_and_each_has_its_chapter_of_answers() -> None:
    assert HEAD[1:] == list(WAYS)
    rows = table(BESIDE)
    assert [row[0].split(" ")[0] for row in rows] == ["Cost", "Set-up", "Logging", "Flexibility", "Security", "Upkeep"]
    assert all(len(row) == len(HEAD) and all(row) for row in rows)
    titles, texts = (re.findall(r"^## (.*)$", PAGE, re.MULTILINE), re.split(r"^## .*$", PAGE, flags=re.MULTILINE)[1:])
    chapters = dict(zip(titles, texts, strict=True))
    for way in WAYS:
        assert len(table("| What is held against it |", chapters[way])) >= 5, way
        assert "```bash" in chapters[way] or "deploy.md" in chapters[way]


def test_the_costs_are_those_of_the_page_of_costs() -> None:
    costs = table("| Way |", (ROOT / "docs/costs.md").read_text(encoding="utf-8"))
    listed = {{"Logic App over HTTP": "HTTP from outside"}.get(row[0], row[0]): row[1] for row in costs}
    assert {
        way: re.findall(r"\$[\d.]+", cell)[0] for way, cell in zip(HEAD[1:], table(BESIDE)[0][1:], strict=True)
    } == listed


def test_the_exit_codes_are_all_that_the_command_line_has() -> None:
    codes = {int(row[0]): row[1] for row in table("| Code |")}
    assert set(codes) == {*EXIT_CODES.values(), 2, 5}
    readme = (ROOT / "infra/README.md").read_text(encoding="utf-8")
    assert all(f"{code} " in readme[readme.index("Exit codes:") :][:250] for code in sorted(set(codes) - {5}))


def test_every_file_chapter_and_switch_that_it_names_exists() -> None:
    headings = {
        path: {
            re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-")
            for head in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        }
        for path, text in ((p, p.read_text(encoding="utf-8")) for p in (ROOT / "docs").glob("*.md"))
    }
    page = ROOT / "docs/schedulers.md"
    for link in re.findall(r"\]\(([^)\s]+)\)", PAGE):
        if "://" not in link:
            name, _, chapter = link.partition("#")
            path = Path(page.parent / name).resolve() if name else page
            assert path.exists(), link
            assert not chapter or chapter in headings[path], link
    variables = (ROOT / "infra/variables.tf").read_text(encoding="utf-8")
    for name in set(re.findall(r"\b((?:enable|container|github|http)_[a-z_]+)\b\s*(?:=|`)", PAGE)):
        assert f'variable "{name}"' in variables or name in tuple(Scheduler), name
    outputs = (ROOT / "infra/outputs.tf").read_text(encoding="utf-8")
    for name in re.findall(r"output (?:-raw )?(\w+)", PAGE):
        assert f'output "{name}"' in outputs, name
