"""Generated policies and settings: exit 2 and a message that names the place, or a plan; no traceback, no write."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from maintenance.__main__ import main
from tests.databases import Database
from tests.faults.fragile import Fragile
from tests.faults.generated import Case, cases
from tests.faults.rounds import begun
from tests.faults.schedule import ROUNDS, SEED, count, of
from tests.faults.state import State
from tests.faults.tally import TALLY

_PLACE = re.compile(
    r"policy\.toml|PG[A-Z]+|MAINTENANCE_[A-Z]+|public\.\w+|--\w+|lag\.\w+|127\.0\.0\.1|vacuum|policy file|/nowhere"
)
"""A file, a variable, a table, a server."""
_WRITES = "select pg_snapshot_xmax(pg_current_snapshot())::text"
"""The next transaction that writes anything on this server: it moves with each one that does."""
_SUBPROCESS = 50
"""One in so many goes through a process of its own."""


@pytest.fixture
async def planned(fragile: Fragile, fragile_state: State, tmp_path: Path) -> AsyncIterator[Database]:
    async with begun(of("fuzz", 0), fragile_state, fragile.server, tmp_path) as round_:
        yield round_.database


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


async def _told(database: Database, environment: dict[str, str], *, apart: bool) -> tuple[int, str, str]:
    """Exit code, output and errors of `plan`."""
    if apart:
        done = await database.cli("plan", "--json", **environment)
        return done.returncode, done.stdout, done.stderr
    out, err = io.StringIO(), io.StringIO()
    with (
        _environment({**database.environment, **environment}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = await asyncio.to_thread(main, ["plan", "--json"])
    return code, out.getvalue(), err.getvalue()


def _refusals(case: Case, code: int, out: str, err: str) -> Iterator[str]:
    """What is wrong with an answer."""
    if "Traceback" in err or code not in (0, 1, 2):
        yield f"exit {code}"
    document = json.loads(out)
    if code == 2 and not (err.startswith("error: ") and _PLACE.search(err)):
        yield "the message names no place"
    if code == 1 and not any(step["status"] == "failed" and step["table"] for step in document.get("steps", [])):
        yield "exit 1 without a rule that could not be planned"
    if code != 2 and "steps" not in document:
        yield "no plan"
    if case.broken is None and code == 2:
        yield "what is right was refused"


@pytest.fixture
async def written(planned: Database) -> Callable[[], Awaitable[bool]]:
    """Whether anything was written since."""
    before = await planned.values(_WRITES)

    async def asked() -> bool:
        return await planned.values(_WRITES) != before

    return asked


@seed(SEED)
@settings(max_examples=count("fuzz"), deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(case=cases(), lot=st.integers(1, _SUBPROCESS))
async def test_a_generated_policy_is_refused_by_its_place_or_planned_and_nothing_is_written(
    planned: Database, written: Callable[[], Awaitable[bool]], case: Case, lot: int
) -> None:
    planned.policy_file.write_text(case.policy, encoding="utf-8", errors="surrogatepass", newline="")
    code, out, err = await _told(planned, case.environment, apart=lot == 1)
    wrong = [*_refusals(case, code, out, err), *(["something was written"] if await written() else [])]
    fault = "generated policy or settings, " + ("one thing broken" if case.broken else "right")
    TALLY.add(fault, refused=int(code == 2), planned=int(code != 2), wrong=len(wrong))
    assert not wrong, (
        f"make faults ROUNDS={ROUNDS} SEED={SEED} ONLY=generated; {wrong}: {case}\n{code} {err}{out[:2000]}"
    )
