"""A store in a container of Azure Storage, written and read by the identity of the login; no key, no signature."""

from __future__ import annotations

import logging
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob import BlobBlock, BlobPrefix
from azure.storage.blob.aio import BlobClient, ContainerClient, LinearRetry

from maintenance.archive.store import CHUNK
from maintenance.archive_url import ArchiveUrl
from maintenance.entra import said, storage_credential
from maintenance.errors import ArchiveError
from maintenance.target import Target

_ATTEMPTS = 2
_PAUSE = 1
"""How often a request is made again, and after how many seconds: while we wait, the rows of a batch are locked."""
_ANSWER = 20
"""Seconds that one request may take."""
_TOKEN = 20.0
"""Seconds that a token may take."""


@asynccontextmanager
async def blobs(url: ArchiveUrl, target: Target) -> AsyncIterator[Blobs]:
    """The container, as long as the block goes on; it is not made where it is missing."""
    # Its records of each request would be as many as our batches.
    logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)
    async with storage_credential(target, _TOKEN) as credential:
        client = ContainerClient(
            url.account, url.container, credential=credential, connection_timeout=_ANSWER, read_timeout=_ANSWER,
            retry_policy=LinearRetry(backoff=_PAUSE, retry_total=_ATTEMPTS, random_jitter_range=0),
            max_single_get_size=CHUNK, max_chunk_get_size=CHUNK,
        )  # fmt: skip
        async with client:
            yield Blobs(client, url)


class Blobs:
    """Objects are block blobs: staged block by block, and there once the list of blocks is committed."""

    def __init__(self, client: ContainerClient, url: ArchiveUrl) -> None:
        self._client = client
        self._folder = f"{url.folder}/" if url.folder else ""
        self.where = str(url)

    async def create(self, path: str) -> _Blob:
        """Nothing is sent before the first block."""
        return _Blob(self._blob(path))

    async def put(self, path: str, content: bytes) -> None:
        """One request."""
        with _told():
            await self._blob(path).upload_blob(content, overwrite=True)

    async def read(self, path: str) -> AsyncIterator[bytes]:
        """Requests of 4 MiB, one after the other."""
        with _told():
            stream = await self._blob(path).download_blob(max_concurrency=1)
            async for chunk in stream.chunks():
                yield chunk

    async def paths(self, folder: str) -> list[str]:
        """In the order of their names."""
        with _told():
            names = [name async for name in self._client.list_blob_names(name_starts_with=f"{self._folder}{folder}/")]
        return [name.removeprefix(self._folder) for name in names]

    async def folders(self, folder: str) -> list[str]:
        """In the order of their names."""
        start = f"{self._folder}{folder}".strip("/")
        prefix = f"{start}/" if start else ""
        with _told():
            found = [item async for item in self._client.walk_blobs(name_starts_with=prefix, delimiter="/")]
        return [item.name.removeprefix(prefix).strip("/") for item in found if isinstance(item, BlobPrefix)]

    async def remove(self, path: str) -> None:
        """A container with soft delete keeps it for a while."""
        with _told():
            try:
                await self._blob(path).delete_blob()
            except ResourceNotFoundError:
                return

    def _blob(self, path: str) -> BlobClient:
        return self._client.get_blob_client(f"{self._folder}{path}")


class _Blob:
    def __init__(self, client: BlobClient) -> None:
        self._client = client
        self._blocks: list[BlobBlock] = []

    async def write(self, chunk: bytes) -> None:
        block = b64encode(f"{len(self._blocks):08}{secrets.token_hex(4)}".encode()).decode()
        with _told():
            await self._client.stage_block(block, chunk)
        self._blocks.append(BlobBlock(block_id=block))

    async def seal(self) -> None:
        with _told():
            await self._client.commit_block_list(self._blocks, match_condition=MatchConditions.IfMissing)

    async def abandon(self) -> None:
        """Blocks that nobody commits are removed by the service, after a week."""


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except AzureError as error:
        message = said(error)
    else:
        return
    # Outside, so that no chain of errors has what azure-identity quotes of an answer.
    raise ArchiveError(message)
