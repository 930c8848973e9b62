"""A network that swallows all bytes: the run ends by its own time-outs; where the server answers, its come first."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from asyncpg import exceptions as pg

from maintenance.database import connected, limit_statements
from maintenance.engine import performed
from maintenance.errors import ConnectionLost
from maintenance.runs import Request
from maintenance.session import Session
from tests.databases import Database
from tests.faults.proxy import Blow, Place, Strike, proxied

_POLICY = '[[retention]]\ntable = "t"\ncolumn = "at"\nkeep = "30 days"\n'
_LONG = 20.0
"""Seconds that are more than any of the time-outs here, and far less than those by default."""


@pytest.mark.parametrize("place", [Place.COMMIT, Place.COMMITTED])
async def test_a_run_whose_server_is_silent_gives_up_and_says_so(database: Database, place: Place) -> None:
    await database.execute("create table t as select now() - n * interval '1 day' as at from generate_series(0, 99) n")
    database.write_policy(_POLICY)
    async with proxied(database.server.host, database.server.port) as proxy:
        target = replace(database.settings.required_target(), port=proxy.port, sslmode="disable")
        settings = replace(database.settings, target=target, budget=0.7, connect_timeout=0.3)
        assert (await database.run("vacuum")).status == "succeeded"
        proxy.aim(Strike(blow=Blow.HOLE, place=place, number=1))
        began = time.monotonic()
        with pytest.raises(ConnectionLost, match="did not answer within 1 s, longer than the statement may take"):
            await performed(Request(names=("retention",)), settings)
        assert time.monotonic() - began < _LONG
        await proxy.heal()
    assert (await database.run("retention")).status == "succeeded"
    assert await database.values("select count(*)::int from t") == [30]
    assert await database.values("select sum(rows)::int from maintenance.step") == [70]


async def test_a_statement_that_takes_too_long_is_ended_by_the_server_and_the_session_goes_on(
    database: Database,
) -> None:
    async with connected(replace(database.settings, connect_timeout=5.0), name="maintenance run") as ours:
        await limit_statements(ours, 0.1, local=False)
        with pytest.raises(pg.QueryCanceledError):
            await ours.execute("select pg_sleep(60)")
        assert await ours.fetchval("select 1") == 1


async def test_a_copy_is_given_up_where_the_server_is_silent_and_not_where_its_reader_is_slow(
    database: Database,
) -> None:
    taken: list[bytes] = []

    async def slow(chunk: bytes) -> None:
        taken.append(chunk)
        await asyncio.sleep(1.5)

    async def copied(query: str) -> None:
        async with connected(database.settings, name="maintenance run") as ours:
            assert isinstance(ours, Session)
            await limit_statements(ours, 0.1, local=False)
            await ours.execute("set statement_timeout = 0")
            ours.patience = 1.0
            await ours.copy_from_query(query, output=slow, format="text")

    await copied("select 1")
    assert taken == [b"1\n"]
    with pytest.raises(ConnectionLost, match="did not answer within 1 s"):
        await copied("select pg_sleep(60)")
