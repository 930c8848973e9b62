"""Azurite, Microsoft's emulator of Azure Storage, and a queue in it as the Functions host uses it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azure.storage.queue import TextBase64DecodePolicy, TextBase64EncodePolicy
from azure.storage.queue.aio import QueueServiceClient

from maintenance.messages import POISON, QUEUE

PROGRAM = Path(__file__).parent / "azurite" / "node_modules" / ".bin" / "azurite-queue"
# Azurite's own, the same for everybody. https://learn.microsoft.com/azure/storage/common/storage-use-azurite
ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
MOST_DEQUEUES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A storage account with a queue service on loopback."""

    port: int

    @property
    def connection_string(self) -> str:
        endpoint = f"http://127.0.0.1:{self.port}/{ACCOUNT}"
        return f"AccountName={ACCOUNT};AccountKey={_KEY};DefaultEndpointsProtocol=http;QueueEndpoint={endpoint};"

    @asynccontextmanager
    async def queues(self) -> AsyncIterator[Queues]:
        """The app's two queues, empty."""
        async with QueueServiceClient.from_connection_string(self.connection_string) as service:
            clients = [
                service.get_queue_client(
                    name, message_encode_policy=TextBase64EncodePolicy(), message_decode_policy=TextBase64DecodePolicy()
                )
                for name in (QUEUE, POISON)
            ]
            for client in clients:
                await client.create_queue()
            try:
                yield Queues(*clients)
            finally:
                for client in clients:
                    await client.delete_queue()


class Queues:
    """What the host does with them: sends, delivers at least once, gives up after so many attempts."""

    def __init__(self, main: Any, poison: Any) -> None:
        self.main = main
        self.poison = poison

    async def send(self, *texts: str) -> None:
        for text in texts:
            await self.main.send_message(text)

    async def deliver(self, handle: Callable[[str], Awaitable[Any]], *, poison: bool = False) -> int:
        """Hand over each message until the queue is empty; returns how often. One that fails comes again at once."""
        client = self.poison if poison else self.main
        count = 0
        while True:
            messages = [message async for message in client.receive_messages(visibility_timeout=30, max_messages=1)]
            if not messages:
                return count
            for message in messages:
                count += 1
                answer = await handle(message.content)
                if answer["failed"] is None:
                    await self.send(*answer["sent"])
                    await client.delete_message(message)
                elif message.dequeue_count < MOST_DEQUEUES:
                    await client.update_message(message, visibility_timeout=0)
                else:
                    await self.poison.send_message(message.content)
                    await client.delete_message(message)


@asynccontextmanager
async def azurite(folder: Path) -> AsyncIterator[Storage]:
    """Azurite's queue service, until the block ends."""
    async with service("queue", folder) as (_, port):
        yield Storage(port=port)


@asynccontextmanager
async def service(name: str, folder: Path, *more: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """One of Azurite's services and its port, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    words = (f"--{name}Host", "127.0.0.1", f"--{name}Port", str(port), "--skipApiVersionCheck", "--inMemoryPersistence")
    process = await asyncio.create_subprocess_exec(
        str(PROGRAM.with_name(f"azurite-{name}")), *words, "--silent", "--disableTelemetry", *more, cwd=folder,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await _listening(port)
        yield process, port
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _listening(port: int) -> None:
    for _ in range(600):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise AssertionError("Azurite does not listen")
