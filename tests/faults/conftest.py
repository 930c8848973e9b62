"""The state, once for each server; the seed with each failure; the tally in the end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Generator

import pytest

from maintenance import settings
from maintenance.demo.server import Server, embedded_server
from tests.databases import connect
from tests.faults.fragile import Fragile, taken_over
from tests.faults.rounds import administer
from tests.faults.schedule import Schedule
from tests.faults.state import FILL, State, contents, judged
from tests.faults.tally import TALLY, named_file

_TEMPLATE = "faults_template"


async def seeded(server: Server, template: str = _TEMPLATE, *, options: str = "") -> State:
    """The state in a template of this server; a database that is made from it has the template's tablespace."""
    await administer(server, f"create database {template} {options}")
    connection = await connect(server, template)
    try:
        await connection.execute(FILL)
        rows = await contents(connection)
        left = await judged(connection, await connection.fetchval("select now()"))
        sizes = {table: len(found) for table, found in rows.items()}
        return State(template=template, seeded=sum(sizes.values()), sizes=sizes, left=left)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
async def state(server: Server) -> AsyncIterator[State]:
    """The state on the server that all tests share."""
    yield await seeded(server)
    await administer(server, f"drop database {_TEMPLATE} with (force)")


@pytest.fixture(scope="session")
async def fragile() -> AsyncIterator[Fragile]:
    """A server with few connections, that a test may crash."""
    with embedded_server(bin_directory=settings.load().postgres_bin) as server:
        async with taken_over(server, max_connections="12") as fragile:
            yield fragile


@pytest.fixture(scope="session")
async def fragile_state(fragile: Fragile) -> State:
    """The state on the fragile server."""
    return await seeded(fragile.server)


@pytest.fixture(scope="session", autouse=True)
async def written_tally(server: Server) -> AsyncIterator[None]:
    """What the rounds have come to, where somebody wants it in a file."""
    began = time.monotonic()
    yield
    path = named_file()
    if path is not None and TALLY.faults:
        connection = await connect(server, "postgres")
        version = await connection.fetchval("show server_version")
        await connection.close()
        TALLY.write(path, seconds=time.monotonic() - began, server=f"PostgreSQL {version}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure says how to have the same again."""
    report = yield
    schedule = getattr(item, "callspec", None) and item.callspec.params.get("schedule")
    if report.failed and isinstance(schedule, Schedule):
        report.sections.append(("To do this round again", schedule.replay))
    return report
