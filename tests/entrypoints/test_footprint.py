"""What the app costs: the time of a cold start, and the memory of a run however large the table is."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

from tests.databases import ROOT, Database

_OURS = "import function_app"
_FLOOR = "import azure.functions, asyncpg"
_MOST = 1.15
_LARGEST = 150 * 2**20
# What a run took at most, in bytes. On Linux ru_maxrss begins with what the process had that forked this one.
_MEASURED = """
import pathlib, re, resource, sys
from maintenance.__main__ import main
code = main(["run", "--json"])
status = pathlib.Path("/proc/self/status")
if status.exists():
    peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) * 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(peak, file=sys.stderr)
sys.exit(code)
"""


def seconds(script: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
    return time.perf_counter() - began


def test_a_cold_start_costs_hardly_more_than_the_packages_that_it_needs() -> None:
    for script in (_OURS, _FLOOR):
        seconds(script)
    pairs = [(seconds(_OURS), seconds(_FLOOR)) for _ in range(9)]
    ours, floor = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert ours <= _MOST * floor, f"{ours:.3f} s against {floor:.3f} s"


def test_a_cold_start_loads_nothing_that_waits_for_its_first_use() -> None:
    script = f"{_OURS}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    late = (
        "asyncpg",
        "azure.identity",
        "azure.core",
        "azure.monitor",
        "opentelemetry",
        "pydantic",
        "rich",
        "aiohttp",
        "pygal",
        "jinja2",
        "cronsim",
    )
    assert [name for name in json.loads(done.stdout) if name.startswith(late)] == []


async def test_a_run_stays_small_however_large_the_table_is(database: Database) -> None:
    await database.execute(
        "create table log (id int, device int, at timestamptz);"
        "insert into log select n, n % 60000, now() - n * interval '1 minute' from generate_series(1, 400000) n;"
        "create table device (id int); insert into device select generate_series(1, 30000)"
    )
    database.write_policy(
        '[[retention]]\ntable = "log"\ncolumn = "at"\nkeep = "200 days"\n'
        '[[duplicates]]\ntables = ["log"]\nkey = ["device"]\nnewest = ["at"]\n'
        '[[orphans]]\ntables = ["log"]\ncolumn = "device"\nparent = "device"\nparent_column = "id"\n'
    )
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED], env=database.environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] > 350_000
    assert int(done.stderr.split()[-1]) < _LARGEST
