"""The app and its queue: Microsoft's worker, Azurite, and a PostgreSQL. A run goes on, comes twice, is given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.databases import Database
from tests.host import hosted, needs_the_worker
from tests.storage import MOST_DEQUEUES, PROGRAM, Queues, Storage, azurite

pytestmark = [
    *needs_the_worker,
    pytest.mark.skipif(not PROGRAM.exists(), reason="Azurite is not installed: make azurite"),
]
RULE = '[[retention]]\ntable = "log"\ncolumn = "at"\nkeep = "30 days"\n'
SCHEMA = """
create table log (id int primary key, at timestamptz, filler char(7500));
alter table log alter filler set storage plain;
insert into log select n, now() + interval '1 hour' - n * interval '1 day', '' from generate_series(1, 500) n;
create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.001); return old; end $$;
create trigger slow before delete on log for each row execute function slow();
"""


@pytest.fixture(scope="module")
async def storage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Storage]:
    async with azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture
async def queues(storage: Storage) -> AsyncIterator[Queues]:
    async with storage.queues() as found:
        yield found


@pytest.fixture
async def logs(database: Database) -> Database:
    await database.execute(SCHEMA)
    database.write_policy(RULE)
    return database


def app(storage: Storage, **settings: str) -> dict[str, str]:
    return {"AzureWebJobsStorage": storage.connection_string, **settings}


async def states(database: Database) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await database.connection.fetch("select status, rows from maintenance.run")]


async def test_a_tick_goes_on_through_the_queue_until_it_is_done(
    logs: Database, storage: Storage, queues: Queues
) -> None:
    async with hosted(logs, app(storage, MAINTENANCE_BUDGET="400ms")) as host:
        await queues.send(*(await host.tick("daily_cleanup"))["sent"])
        assert await queues.deliver(host.deliver) >= 1
    assert await states(logs) == [("succeeded", 470)]


async def test_a_message_that_is_delivered_to_two_instances_is_done_by_one(
    logs: Database, storage: Storage, queues: Queues
) -> None:
    async with hosted(logs, app(storage)) as one, hosted(logs, app(storage)) as other:
        asked = await one.call("start_run", "POST", "/runs", {"name": "retention"})
        await queues.send(*asked["sent"], *asked["sent"])
        assert await queues.deliver(one.deliver) == 2
        again = await other.deliver(asked["sent"][0])
        assert (again["failed"], again["sent"]) == (None, [])
    assert await states(logs) == [("succeeded", 470)]


async def test_a_worker_that_is_killed_leaves_its_message_to_another(
    logs: Database, storage: Storage, queues: Queues
) -> None:
    async def killed(text: str) -> dict[str, Any]:
        """The host restarts a worker that ended; the message is not deleted, and comes again."""
        async with hosted(logs, app(storage)) as first:
            delivery = asyncio.create_task(first.deliver(text))
            await _at_work(logs)
            first.process.kill()
            with pytest.raises(AssertionError, match="the worker has ended"):
                await delivery
        return {"failed": "the worker ended", "sent": []}

    async with hosted(logs, app(storage)) as host:
        asked = await host.call("start_run", "POST", "/runs", {"name": "retention"})
        await queues.send(*asked["sent"])
        handlers = iter([killed])

        async def handle(text: str) -> Any:
            return await next(handlers, host.deliver)(text)

        assert await queues.deliver(handle) == 2
    assert await states(logs) == [("succeeded", 470)]


async def test_what_fails_five_times_is_given_up_and_its_run_is_failed(
    logs: Database, storage: Storage, queues: Queues
) -> None:
    async with hosted(logs, app(storage)) as host:
        await queues.send(*(await host.call("start_run", "POST", "/runs", {"name": "retention"}))["sent"])
        logs.write_policy("nonsense")
        assert await queues.deliver(host.deliver) == MOST_DEQUEUES
        assert await states(logs) == [("queued", 0)]

        async def given_up(text: str) -> Any:
            return await host.deliver(text, "give_up_run")

        assert await queues.deliver(given_up, poison=True) == 1
    assert await states(logs) == [("failed", 0)]


async def test_a_fleet_begins_side_by_side(logs: Database, storage: Storage, queues: Queues) -> None:
    server = logs.server
    place = f'host = "{server.host}"\nport = {server.port}\ndatabase = "{logs.name}"\npolicy = "policy.toml"\n'
    (logs.folder / "fleet.toml").write_text(f'[[target]]\nname = "north"\n{place}[[target]]\nname = "south"\n{place}')
    async with hosted(logs, app(storage, MAINTENANCE_TARGETS=str(logs.folder / "fleet.toml"))) as host:
        await queues.send(*(await host.tick("daily_cleanup"))["sent"])
        assert await queues.deliver(host.deliver) == 2
    assert [status for status, _ in await states(logs)] == ["succeeded", "succeeded"]


async def _at_work(database: Database) -> None:
    for _ in range(1000):
        if await database.values("select 1 from maintenance.step where batches > 0 and status = 'running'"):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("no run began")
