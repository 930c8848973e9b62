"""The load: check-ins at a fixed rate, each at its time whether or not those before it are done. A process of its own.

`python -m benchmarks.load RATE DEVICES` writes a line when it is under way, goes on until its standard input ends, and
writes one line of JSON: for each check-in the instant at which it was due, and the seconds from then until it was done.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time

import asyncpg
from asyncpg import Pool

SESSIONS = 8
WARM = 1.0
"""Seconds of check-ins that nobody counts."""
_EVENT = """
insert into events (device_id, event_type, message, details, timestamp)
values ($1, 'info', 'Check-in complete', '{"modules": 12, "client": "2025.4.0"}', now())
"""
_MODULE = """
insert into {module} (device_id, data, collected_at, updated_at) values ($1, $2, now(), now())
on conflict (device_id) do update
set data = excluded.data, collected_at = excluded.collected_at, updated_at = excluded.updated_at
"""
_MODULES = tuple(_MODULE.replace("{module}", name) for name in ("identity", "management", "system"))
_DEVICE = "update devices set last_seen = now(), updated_at = now() where id = $1"
_DOCUMENT = json.dumps({"module": "x", "document": "0123456789abcdef" * 64})


async def check_in(pool: Pool, device: str) -> None:
    """What the API does when a device reports: one transaction."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(_EVENT, device)
        for statement in _MODULES:
            await connection.execute(statement, device, _DOCUMENT)
        await connection.execute(_DEVICE, device)


async def loaded(rate: float, devices: int) -> list[tuple[float, float]]:
    """Check in until standard input ends.

    Raises:
        PostgresError: one of them was refused.
    """
    done: list[tuple[float, float]] = []
    tasks: list[asyncio.Task[None]] = []
    ended = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(ended,), daemon=True).start()
    async with asyncpg.create_pool(min_size=SESSIONS, max_size=SESSIONS) as pool:

        async def one(number: int, due: float) -> None:
            await check_in(pool, f"D{number * 48271 % 2147483647 % devices + 1:08d}")
            done.append((due, time.time() - due))

        began = time.time()
        while not ended.is_set():
            number = len(tasks)
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.time()))
            tasks.append(asyncio.create_task(one(number, due)))
            if number == round(rate * WARM):
                print("under way", flush=True)
        await asyncio.gather(*tasks)
    return done


def _wait_for_the_end(ended: threading.Event) -> None:
    while os.read(0, 1):
        pass
    ended.set()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(loaded(float(sys.argv[1]), int(sys.argv[2])))))
