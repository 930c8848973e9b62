"""A TCP proxy that reads PostgreSQL's messages as they pass, and strikes at one of them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

_LINGER = struct.pack("ii", 1, 0)
_HEAD = 5
"""Bytes of a message's type and length. https://www.postgresql.org/docs/current/protocol-message-formats.html"""


class Blow(StrEnum):
    """What the proxy does to both sides."""

    RESET = "reset"
    HOLE = "black hole"
    LATENCY = "latency"
    REFUSED = "refused"


class Place(StrEnum):
    """Which message it strikes at."""

    ASKED = "in mid-batch, the statement lost"
    ANSWERED = "in mid-batch, the answer lost"
    COMMIT = "before the COMMIT of deletes"
    COMMITTED = "after the COMMIT of deletes, its answer lost"
    DETACHED = "after a DETACH, its answer lost"
    COPIED = "in mid-COPY"

    def is_at(self, message: bytes, *, to_server: bool, deleted: bool) -> bool:
        """Whether a message is one of these; `deleted`, rows went in its transaction."""
        kind, body = message[:1], message[_HEAD:]
        match self:
            case Place.ASKED:
                return to_server and kind == b"B"
            case Place.ANSWERED:
                return not to_server and kind == b"C"
            case Place.COMMIT:
                return deleted and to_server and kind == b"Q" and body.startswith(b"COMMIT")
            case Place.COMMITTED:
                return deleted and not to_server and kind == b"C" and body.startswith(b"COMMIT")
            case Place.DETACHED:
                return not to_server and kind == b"C" and body.startswith(b"ALTER TABLE")
            case Place.COPIED:
                return not to_server and kind == b"d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """A blow at the message of that number, counted from 1."""

    blow: Blow
    place: Place
    number: int
    delay: float = 0.0
    """Seconds by which all that comes from there on is held up."""


class Messages:
    """Whole messages from a stream; the first of a client has no type."""

    def __init__(self, *, from_client: bool) -> None:
        self._buffer = b""
        self._typed = not from_client

    def add(self, data: bytes) -> Iterator[bytes]:
        """The messages that are complete by now."""
        self._buffer += data
        while True:
            at = 1 if self._typed else 0
            if len(self._buffer) < at + 4:
                return
            size = at + int.from_bytes(self._buffer[at : at + 4], "big")
            if len(self._buffer) < size:
                return
            message, self._buffer = self._buffer[:size], self._buffer[size:]
            if not self._typed:
                self._typed = True
                yield b"\0" + message
            else:
                yield message


class Talk:
    """What has been said on one connection."""

    def __init__(self) -> None:
        self.deleted = False
        """Rows have gone in the transaction at hand."""

    def hear(self, message: bytes) -> None:
        """Learn from what the server says."""
        words = message[_HEAD:].rstrip(b"\0").split()
        if message[:1] != b"C" or not words:
            return
        if words[0] in (b"BEGIN", b"COMMIT", b"ROLLBACK"):
            self.deleted = False
        elif (words[0] in (b"DELETE", b"COPY") and words[-1] != b"0") or words[0] == b"DROP":
            self.deleted = True


class Proxy:
    """Passes all on to a server until a strike, and from there on does as it says, until it is healed."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._server_port = host, port
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._strike: Strike | None = None
        self._seen = 0
        self.passed: Counter[Place] = Counter()
        """Messages of each place so far."""
        self.port = 0
        self.struck = asyncio.Event()
        """A strike has met its message."""

    async def listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, self._host, self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    def aim(self, strike: Strike | None) -> None:
        """Wait for the message of a strike; None heals."""
        self._strike, self._seen = strike, 0
        self.struck.clear()

    async def refuse(self) -> None:
        """Refuse new connections, as a port that nobody listens at."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def heal(self) -> None:
        """Close what a black hole has left open, and pass all on again."""
        self.aim(None)
        self.reset()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener is None:
            await self.listen()

    def reset(self) -> None:
        """Tear all connections, without a farewell."""
        for writer in list(self._open):
            connection: socket.socket | None = writer.get_extra_info("socket")
            if connection is not None and connection.fileno() >= 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            writer.transport.abort()

    async def close(self) -> None:
        await self.refuse()
        self.reset()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            server_reader, server_writer = await asyncio.open_connection(self._host, self._server_port)
            self._open.add(server_writer)
            try:
                talk = Talk()
                await asyncio.gather(
                    self._pump(reader, server_writer, talk, to_server=True),
                    self._pump(server_reader, writer, talk, to_server=False),
                )
            finally:
                self._open.discard(server_writer)
                server_writer.transport.abort()
        except OSError:
            # One of the two is gone: so is the other one then.
            pass
        finally:
            self._open.discard(writer)
            self._tasks.discard(task)
            writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, talk: Talk, *, to_server: bool
    ) -> None:  # fmt: skip
        messages = Messages(from_client=to_server)
        while data := await reader.read(65536):
            if self.struck.is_set() and self._strike is not None:
                await asyncio.sleep(self._strike.delay)
            for message in messages.add(data):
                await self._pass(message, writer, talk, to_server=to_server)
        writer.close()

    async def _pass(self, message: bytes, writer: asyncio.StreamWriter, talk: Talk, *, to_server: bool) -> None:
        strike = self._strike
        places = [one for one in Place if one.is_at(message, to_server=to_server, deleted=talk.deleted)]
        self.passed.update(places)
        if not to_server:
            talk.hear(message)
        if strike is not None:
            if strike.place in places:
                self._seen += 1
                if self._seen == strike.number:
                    self.struck.set()
            if self.struck.is_set():
                match strike.blow:
                    case Blow.RESET | Blow.REFUSED:
                        if strike.blow is Blow.REFUSED:
                            await self.refuse()
                        self.reset()
                        return
                    case Blow.HOLE:
                        return
                    case Blow.LATENCY:
                        pass
        writer.write(message[1:] if message[:1] == b"\0" else message)
        await writer.drain()


@asynccontextmanager
async def proxied(host: str, port: int) -> AsyncIterator[Proxy]:
    """A proxy before that server."""
    proxy = Proxy(host, port)
    await proxy.listen()
    try:
        yield proxy
    finally:
        await proxy.close()
