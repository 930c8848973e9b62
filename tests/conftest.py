"""One real server for all tests, one database for each."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from maintenance import settings
from maintenance.demo.fleet import build
from maintenance.demo.server import Server, embedded_server
from tests.databases import Database, Spares, connect, opened

MAY_SKIP_IN_CI = ("needs Python ", "needs an ordinary user", "needs root")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with embedded_server(bin_directory=settings.load().postgres_bin) as running:
        yield running


@pytest.fixture(scope="session")
async def spares(server: Server) -> AsyncIterator[Spares]:
    spares = Spares(server)
    yield spares
    await spares.close()


@pytest.fixture
async def database(server: Server, spares: Spares, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database."""
    async with opened(server, spares, await spares.taken(), tmp_path) as database:
        yield database


@pytest.fixture(scope="session")
async def fleet_template(server: Server) -> str:
    """A small demo fleet, to be copied."""
    admin = await connect(server, "postgres")
    await admin.execute("create database fleet_template")
    await admin.close()
    connection = await connect(server, "fleet_template")
    await build(connection, devices=60, events=3000)
    await connection.close()
    return "fleet_template"


@pytest.fixture
async def fleet(server: Server, spares: Spares, fleet_template: str, tmp_path: Path) -> AsyncIterator[Database]:
    """A database with the small demo fleet and ReportMate's policy."""
    async with opened(server, spares, await spares.made(fleet_template), tmp_path) as database:
        database.write_policy(
            (Path(__file__).parents[1] / "maintenance.toml").read_text(encoding="utf-8"), guarded=True
        )
        yield database


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one: CI installs every part that a test may need."""
    report = yield
    if report.skipped and os.environ.get("CI") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(MAY_SKIP_IN_CI):
            report.outcome = "failed"
            report.longrepr = f"skipped in CI, where it must run: {reason}"
    return report
