"""`--summary`: what a workflow's page shows of plans, runs and refusals, read by a real reader of Markdown."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from maintenance import summary
from maintenance.documents import Document
from maintenance.errors import SettingsError
from maintenance.models import StepStatus
from tests.databases import Database
from tests.situations import RUN, STEP

ODD = "a|b <img src=x> & *d* (f) ~~g~~ @h #1 $i$ \\ _j_"
POLICY = f"""
[[retention]]
table = '{ODD}'
column = "at"
keep = "30 days"

[[retention]]
table = "log"
column = "at"
keep = "30 days"

[[retention]]
table = "gone"
column = "at"
keep = "30 days"
"""
SCHEMA = f"""
create table "{ODD}" (id int primary key, at timestamptz);
create table log (id int primary key, at timestamptz);
insert into "{ODD}" select n, now() + interval '1 hour' - n * interval '1 day' from generate_series(1, 100) n;
insert into log select n, now() + interval '1 hour' - n * interval '1 day' from generate_series(1, 40) n;
"""
REFUSING = """
create function refuse() returns trigger language plpgsql as
$$ begin raise exception 'not | <b>this</b> # one `x`'; end $$;
create trigger refuse before delete on log for each row execute function refuse();
"""


class Page(HTMLParser):
    """What a reader sees: headings, the cells of tables, and all text; tags are what is not."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.text = ""
        self.inside = False
        self.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(path.read_text(encoding="utf-8")))

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.inside:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.inside = False


@pytest.fixture
async def shelf(database: Database) -> Database:
    await database.execute(SCHEMA)
    database.write_policy(POLICY)
    return database


def page(database: Database) -> Page:
    return Page(database.folder / "summary.md")


def plain(text: str) -> str:
    return " ".join(text.split())


async def test_a_run_is_a_table_whose_cells_are_the_names_and_figures_of_the_run(shelf: Database) -> None:
    run: Document = await shelf.cli_json("run", "--summary", "summary.md")
    shown = page(shelf)
    head, *rows = shown.rows
    assert head == ["task", "table", "strategy", "rows", "before", "after", "time", "ended"]
    done = [step for step in run["steps"] if step["rows"]]
    assert [row[:4] for row in rows] == [
        [step["task"], plain(step["table"].removeprefix("public.")), step["strategy"], str(step["rows"])]
        for step in done
    ]
    assert [row[-1] for row in rows] == ["done", "done"]
    assert plain(ODD) in [row[1] for row in rows]
    assert f"Run {run['id']} daily-cleanup: succeeded" in shown.text
    assert f"{run['rows']} rows deleted." in shown.text
    assert "Absent here: retention gone" in shown.text
    assert re.search(r"Statistics \(analyze\): statistics .*log", shown.text)


async def test_a_plan_is_a_table_and_nothing_is_changed(shelf: Database) -> None:
    plan: Document = await shelf.cli_json("plan", "--summary", "summary.md")
    shown = page(shelf)
    assert shown.rows[0] == ["task", "table", "strategy", "rows", "what"]
    assert {(row[1], row[3]) for row in shown.rows[1:]} == {(plain(ODD), "70"), ("log", "10")}
    assert {plain(step["summary"]) for step in plan["steps"] if step["rows"]} == {row[4] for row in shown.rows[1:]}
    assert await shelf.values("select count(*) from log") == [40]


async def test_no_name_and_no_message_becomes_markup(shelf: Database) -> None:
    await shelf.execute(REFUSING)
    for words in (["plan"], ["run"]):
        await shelf.cli(*words, "--summary", "summary.md")
    shown = page(shelf)
    assert shown.tags == {"h3", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    assert all(len(row) in (5, 8) for row in shown.rows)
    assert "not | <b>this</b> # one `x`" in shown.text
    assert "P0001" in shown.text
    source = (shelf.folder / "summary.md").read_text()
    assert not re.search(r"@h|[*`$<>]", source.replace("> ", ""))


async def test_what_the_file_has_stays_and_each_comes_behind(shelf: Database) -> None:
    file = shelf.folder / "summary.md"
    file.write_text("# Before\n\n")
    for _ in range(2):
        assert (await shelf.cli("run", "retention", "--summary", "summary.md")).returncode == 0
    assert re.findall(r"^#+ .*", file.read_text(), re.MULTILINE) == [
        "# Before", "### Run 1 retention: succeeded", "### Run 2 retention: succeeded",
    ]  # fmt: skip


async def test_a_plan_that_a_limit_stops_ends_with_the_word_that_lets_it_pass(database: Database) -> None:
    await database.execute(
        "create table log (id int primary key, at timestamptz);"
        "insert into log select n, now() - n * interval '1 day' from generate_series(1, 100) n"
    )
    database.write_policy('[[retention]]\ntable = "log"\ncolumn = "at"\nkeep = "30 days"\nmax_rows = 5\n')
    plan = await database.cli_json("plan", "--summary", "summary.md")
    assert plan["approve"]
    assert f"--approve {plan['approve']}" in page(database).text
    run = await database.cli_json("run", "--summary", "summary.md", exit_code=3)
    assert "interrupted (guard)" in page(database).text
    assert plain(run["steps"][0]["error"]) in page(database).text


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [(["run", "nonsense"], {}, "'nonsense'"), (["plan"], {"MAINTENANCE_BUDGET": "soon"}, "MAINTENANCE_BUDGET"),
     (["run"], {"PGHOST": "127.0.0.1", "PGPORT": "9"}, "127.0.0.1:9")],
)  # fmt: skip
async def test_a_refusal_is_in_the_summary_too(
    shelf: Database, words: list[str], environment: dict[str, str], said: str
) -> None:
    done = await shelf.cli(*words, "--summary", "summary.md", **environment)
    assert done.returncode in (1, 2)
    assert "Maintenance did not begin" in page(shelf).text
    assert said in page(shelf).text


@pytest.mark.parametrize("path", ["", ".", "nowhere/summary.md"])
async def test_a_file_that_cannot_be_written_is_told_before_anything_is_done(shelf: Database, path: str) -> None:
    done = await shelf.cli("run", "--summary", path)
    assert (done.returncode, done.stdout, done.stderr.count("error: ")) == (2, "", 1)
    assert f"--summary: {path!r} cannot be written" in done.stderr
    assert await shelf.values("select count(*) from log") == [40]


async def test_many_tables_leave_the_summary_small(database: Database) -> None:
    names = [f"t{number}" for number in range(400)]
    await database.execute("".join(f"create table {n} as select now() - interval '9 days' as at;" for n in names))
    database.write_policy("".join(f'[[retention]]\ntable = "{n}"\ncolumn = "at"\nkeep = "1 day"\n' for n in names))
    assert (await database.cli("plan", "retention", "--summary", "summary.md")).returncode == 0
    assert "And 100 more" in page(database).text
    assert (database.folder / "summary.md").stat().st_size < 2**17


def test_a_summary_of_long_messages_is_one_that_github_still_shows(tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    file.write_text("# Before\n\n")
    step = replace(STEP, status=StepStatus.FAILED, error="_" * 1500, summary="`" * 1500)
    for _ in range(3):
        summary.append(str(file), summary.of(replace(RUN, steps=(step,) * 300)))
    assert 2**19 < file.stat().st_size <= 2**20
    shown = Page(file)
    assert all(len(row) in (1, 8) for row in shown.rows)
    assert "The rest is left out" in shown.text


@pytest.mark.parametrize(
    "text", ["https://evil.example/x", "HTTP://evil.example", "ftp://a.b/c", "www.evil.example", "WWW.x.yz"]
)
def test_an_address_is_no_link(tmp_path: Path, text: str) -> None:
    file = tmp_path / "summary.md"
    summary.append(str(file), summary.of(replace(RUN, steps=(), error=f"see {text} ({text})")))
    shown = Page(file).text
    # What GitHub looks for, before and after it has resolved entities.
    for told in (shown, file.read_text(encoding="utf-8")):
        assert not re.search(r"\w://|www\.", told, re.IGNORECASE)
    assert f"see {text} ({text})" in shown.replace("\u2060", "")


@pytest.mark.parametrize("character", [chr(number) for number in (*range(1, 128), 0xAD, 0x202E, 0x2028, 0xFEFF)])
def test_every_character_is_shown_as_itself_or_as_a_blank(tmp_path: Path, character: str) -> None:
    file = tmp_path / "summary.md"
    file.write_text(summary.of(SettingsError(f"x{character}y {character}z{character * 2} {character}")))
    shown = Page(file)
    visible = character if character.isprintable() else " "
    assert shown.tags == {"h3", "p"}
    said = shown.text.removeprefix("Maintenance did not begin\n")
    assert said.strip("\n") == plain(f"x{visible}y {visible}z{visible * 2} {visible}")


async def test_an_objective_that_is_missed_is_told_with_what_is_overdue(shelf: Database) -> None:
    rule = '[[retention]]\ntable = "log"\ncolumn = "at"\nkeep = "30 days"\nmax_rows = 1\nlag_objective = "1 day"\n'
    shelf.write_policy(rule)
    await shelf.execute("create index on log (at)")
    run: Document = await shelf.cli_json("run", "retention", "--summary", "summary.md", exit_code=1)
    assert run["stop_reason"] == "objective"
    assert "failed (objective)" in page(shelf).text
    assert "should have been gone for" in page(shelf).text
