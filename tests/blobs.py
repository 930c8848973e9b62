"""Azurite's blob service by TLS, which takes the tokens of an identity and is given no key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from azure.identity.aio import ManagedIdentityCredential
from azure.storage.blob.aio import ContainerClient

from tests.identity import Endpoint, identity_endpoint
from tests.storage import ACCOUNT, service

RESOURCE = "https://storage.azure.com"
CONTAINER = "archives"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blobs:
    """An account with an empty container, and the endpoint whose tokens open it."""

    endpoint: Endpoint
    process: asyncio.subprocess.Process
    container: Any
    authority: Path
    url: str

    @property
    def environment(self) -> dict[str, Any]:
        """That of an app in Azure, with the account's certificate trusted as the system's are."""
        return {
            **self.endpoint.environment, "MAINTENANCE_ARCHIVE_URL": f"{self.url}/some folder",
            "SSL_CERT_FILE": str(self.authority),
        }  # fmt: skip

    async def contents(self) -> dict[str, bytes]:
        names = [name async for name in self.container.list_blob_names()]
        return {name: await (await self.container.download_blob(name)).readall() for name in names}


async def _nothing(_: str) -> None:
    return


@asynccontextmanager
async def blobs(folder: Path, monkeypatch: Any) -> AsyncIterator[Blobs]:
    """The service, until the block ends."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    files = {name: folder / f"{name}.pem" for name in ("authority", "chain", "key")}
    authority.cert_pem.write_to_path(files["authority"])
    files["chain"].write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(files["key"])
    words = ("--oauth", "basic", "--cert", str(files["chain"]), "--key", str(files["key"]))
    async with identity_endpoint(_nothing) as endpoint, service("blob", folder, *words) as (process, port):
        endpoint.resource = RESOURCE
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        account = f"https://127.0.0.1:{port}/{ACCOUNT}"
        async with (
            ManagedIdentityCredential() as credential,
            ContainerClient(
                account, CONTAINER, credential=credential, connection_verify=str(files["authority"])
            ) as container,
        ):
            await container.create_container()
            yield Blobs(
                endpoint=endpoint, process=process, container=container, authority=files["authority"],
                url=f"{account}/{CONTAINER}",
            )  # fmt: skip
