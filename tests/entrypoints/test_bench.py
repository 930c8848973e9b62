"""The benchmark works: every row gives its figures, and contenders that leave different rows are refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.contenders import BenchmarkError, peer
from benchmarks.measurement import Contender
from benchmarks.page import FIGURES, PAGE, README, rendered
from benchmarks.row import Row, run
from benchmarks.rows.states import events, without_index
from benchmarks.site import opened
from benchmarks.state import States
from maintenance.demo.server import Server
from maintenance.target import Target
from tests.databases import ROOT, connect

SLUGS = [
    "half-indexed", "half-plain", "sixtieth", "limit-50000", "catalog", "orphans", "duplicates", "duplicates-most",
    "nightly", "clean", "partitions", "vacuum", "checkins", "sizes", "memory",
]  # fmt: skip


def bench(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "MAINTENANCE_"))}
    binaries = os.environ.get("MAINTENANCE_POSTGRES_BIN")
    kept = {"MAINTENANCE_POSTGRES_BIN": binaries} if binaries else {}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words], env={**inherited, **kept, **environment}, cwd=ROOT,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_every_row_is_measured_and_all_its_contenders_left_the_same_rows(tmp_path: Path) -> None:
    file, plot = tmp_path / "bench.json", tmp_path / "bench.svg"
    done = bench("--scale", "0.002", "--rounds", "1", "--json", str(file), "--plot", str(plot))
    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text(encoding="utf-8"))
    found: dict[str, dict[str, Any]] = {row["slug"]: row for row in document["rows"]}
    assert list(found) == SLUGS
    for slug, row in found.items():
        assert row["absent"] is None, slug
        assert done.stdout.count(f"\n{slug} ") == 2, slug
        assert [one["name"] for one in row["contenders"] if one["rounds"] != 1 or one["capped"]] == [], slug
        assert [figure["what"] for figure in row["figures"] if figure["value"] is None] == [], slug
    for slug in ("half-indexed", "sixtieth", "catalog", "orphans", "duplicates", "nightly", "partitions"):
        ours, theirs = found[slug]["contenders"][:2]
        assert ours["rows_left"] == theirs["rows_left"], slug
        assert any(int(left.split()[0]) for left in ours["rows_left"].values()), slug
    # 3,000 events and the state of 20 devices, of which half and a sixtieth of the events go.
    assert found["half-indexed"]["contenders"][0]["rows_left"]["events"].split()[0] == "1520"
    assert found["nightly"]["contenders"][0]["rows_left"]["events"].split()[0] == "2970"
    assert "<svg" in plot.read_text(encoding="utf-8")


async def test_another_server_is_left_as_it_was(server: Server) -> None:
    names = (
        "select string_agg(datname, ' ' order by datname) from pg_database where datname ~ '^(maintenance|postgres)'"
    )
    admin = await connect(server, "postgres")
    try:
        before = await admin.fetchval(names)
        done = bench("--scale", "0.002", "--rounds", "1", "--only", "half-plain", **server.environment())
        assert done.returncode == 0, done.stderr
        assert "half-plain" in done.stdout
        assert await admin.fetchval(names) == before
    finally:
        await admin.close()


async def test_contenders_that_leave_different_rows_are_refused(server: Server, tmp_path: Path) -> None:
    state = events(1000, 0.2)
    contenders = tuple(
        Contender(name=cut, state=state, prepare=without_index, work=peer("one_delete", cut=cut))
        for cut in ("half", "sixtieth")
    )
    row = Row(slug="unfair", title="", contenders=contenders, figures=())
    target = Target(
        host=server.host, port=server.port, user=server.user, password=server.password, database="postgres",
        sslmode="disable",
    )  # fmt: skip
    told: list[str] = []
    async with opened(target, None) as site:
        with pytest.raises(
            BenchmarkError, match=r"'half' and 'sixtieth' did not leave the same rows.*events: 300 .* and 397 "
        ):
            await run(row, States(site, tmp_path), 1, told.append)
    assert told == ["unfair 1: half", "unfair 1: sixtieth"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--only", "retention"), "there is no row retention; the rows are half-indexed, "),
        (("--scale", "0"), "--scale must be above zero"),
        (("--page", "--only", "catalog"), "--page needs all rows"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_measured(words: tuple[str, ...], why: str) -> None:
    done = bench(*words)
    assert done.returncode in (1, 2)
    assert why in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("path", [PAGE, README])
def test_what_is_written_of_figures_is_what_was_measured(path: Path) -> None:
    document = json.loads(FIGURES.read_text(encoding="utf-8"))
    text = path.read_text(encoding="utf-8")
    assert "<!-- benchmark: " in text
    assert rendered(text, document) == text
