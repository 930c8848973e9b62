"""The verb `report`: text, JSON and a page, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.databases import Database


async def test_the_text_tells_the_state_lag_health_and_runs(fleet: Database) -> None:
    before = await fleet.cli("report")
    assert (before.returncode, before.stderr) == (0, "")
    assert "Nothing has run yet." in before.stdout
    await fleet.run("daily-cleanup")
    told = " ".join((await fleet.cli("report", DAILY_CLEANUP_SCHEDULE="0 0 2 * * *")).stdout.split())
    assert "All well." in told
    assert "Retention lag: nothing overdue by" in told
    assert "rows of events" in told
    assert "daily-cleanup 1" in told
    assert "(DAILY_CLEANUP_SCHEDULE)" in told
    assert re.search(r"Findings: \d+ advice\. `check` has the remedies\.", told)


async def test_the_document_has_the_same(fleet: Database) -> None:
    run = await fleet.run("daily-cleanup")
    document = await fleet.cli_json("report")
    assert (document["state"], document["reasons"], document["ledger"]) == ("well", [], True)
    assert [one["id"] for one in document["last_runs"]] == [run.id]
    assert len(document["runs"][0]["steps"]) == len(run.steps)
    assert {gauge["name"]: gauge["band"] for gauge in document["health"]} == {
        "database": "good", "rows of events": "good", "duration": "good",
    }  # fmt: skip
    assert all(lag["seconds"] == 0 for lag in document["lags"])
    assert {finding["severity"] for finding in document["findings"]} <= {"advice"}
    assert (document["unseen"], document["next_runs"]) == ([], [])


async def test_the_page_goes_to_a_file_or_to_standard_output(fleet: Database) -> None:
    done = await fleet.cli("report", "--out", "report.html")
    assert (done.returncode, done.stdout) == (0, "")
    page = (fleet.folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert (await fleet.cli("report", "--out", "-")).stdout.startswith("<!doctype html>")
    document = await fleet.cli_json("report", "--out", "again.html")
    assert document["state"] == "nothing"
    assert (fleet.folder / "again.html").exists()


def test_what_cannot_be_written_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "cannot be written (No such file or directory)" in refused(
        "report", "--out", str(tmp_path / "no" / "x.html")
    )


async def test_two_documents_on_one_output_are_refused(fleet: Database) -> None:
    done = await fleet.cli("report", "--out", "-", "--json")
    assert done.returncode == 2
    assert "would both go to standard output" in done.stderr


async def test_a_role_without_rights_is_told_what_to_grant(fleet: Database) -> None:
    await fleet.run("retention")
    await fleet.execute("drop role if exists reader; create role reader login password 'x'")
    try:
        done = await fleet.cli("report", PGUSER="reader", PGPASSWORD="x")
    finally:
        await fleet.execute("drop role reader")
    assert done.returncode == 2
    assert "GRANT USAGE ON SCHEMA maintenance TO reader" in done.stderr
