"""Entra ID: a token as the password of one login, fetched when a connection is opened and kept nowhere."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import TYPE_CHECKING

from maintenance.errors import IdentityError
from maintenance.target import Identity, Target

if TYPE_CHECKING:
    from azure.identity.aio import DefaultAzureCredential

_PATIENCE = 4
"""A token may take so many times as long as a connection: an endpoint that is asked too often answers 429 and says how
long to wait. https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token"""
_QUOTED = re.compile(r"Content: .*", re.IGNORECASE | re.DOTALL)
_SECRET = re.compile(r"""access_?token\W+[^\s"',}]+|eyJ[\w.-]+|[\w.+/=~-]{80,}""", re.IGNORECASE)
REMEDY = (
    "in Azure, give the app a managed identity (and set AZURE_CLIENT_ID if it is a user-assigned one); elsewhere type "
    "`az login`; or set MAINTENANCE_AUTH=password to log in with PGPASSWORD"
)


class Token:
    """The password of one connection attempt, for a driver that calls it; it remembers only when the token ends."""

    def __init__(self, target: Target, limit: asyncio.Timeout, connecting: float) -> None:
        """`limit` is moved as we go: for the token first, then `connecting` seconds for the server."""
        self._target = target
        self._limit = limit
        self._connecting = connecting
        self.fetching = False
        self.expires_on: float | None = None

    @property
    def patience(self) -> float:
        """Seconds that the token may take."""
        return _PATIENCE * self._connecting

    @property
    def expired(self) -> float | None:
        """Seconds since the token's end by this machine's clock; None while it is good."""
        late = None if self.expires_on is None else time.time() - self.expires_on
        return late if late is not None and late > 0 else None

    async def __call__(self) -> str:
        """The token.

        Raises:
            IdentityError: no identity gives one.
        """
        loop = asyncio.get_running_loop()
        self._limit.reschedule(loop.time() + self.patience)
        self.fetching = True
        token = await self._fetched()
        self.fetching = False
        self._limit.reschedule(loop.time() + self._connecting)
        return token

    async def _fetched(self) -> str:
        from azure.core.exceptions import AzureError

        try:
            async with _credential(self._target, self.patience) as credential:
                token = await credential.get_token(self._target.scope)
            # Typed as text, and None where the endpoint says so.
            if not isinstance(token.token or None, str):
                raise ValueError("the identity endpoint answered without a token")
        except (AzureError, ValueError) as error:
            told = said(error)
        else:
            self.expires_on = token.expires_on
            return token.token
        # Outside, so that no chain of errors has what azure-identity quotes of the answer.
        raise IdentityError(
            f"No identity gave a token to log in to {self._target} ({told}), so nothing was done; {REMEDY}."
        )


def storage_credential(target: Target, patience: float) -> DefaultAzureCredential:
    """What gives tokens for the archive's storage account, by the identity that would log in to the database.

    `patience` are the seconds that a token may take. Azure Storage's own client asks it, for its own scope only.
    """
    return _credential(target, patience)


def _credential(target: Target, patience: float) -> DefaultAzureCredential:
    """Narrowed to what is configured, so that a deployed app never logs in as somebody else than it says."""
    from azure.identity.aio import DefaultAzureCredential

    # It logs what an endpoint answered, token and all. Our own error says what went wrong.
    logging.getLogger("azure.identity").setLevel(logging.CRITICAL + 1)
    found = target.identity
    return DefaultAzureCredential(
        managed_identity_client_id=target.client_id,
        # Ended by itself, and not by our limit, which would leave `az` behind.
        process_timeout=max(1, int(patience / 2)),
        exclude_workload_identity_credential=found is not Identity.WORKLOAD,
        exclude_managed_identity_credential=found in (Identity.WORKLOAD, Identity.CLI),
        exclude_cli_credential=found not in (Identity.UNKNOWN, Identity.CLI),
        exclude_environment_credential=True,
        exclude_shared_token_cache_credential=True,
        exclude_visual_studio_code_credential=True,
        exclude_developer_cli_credential=True,
        exclude_powershell_credential=True,
    )


def said(error: Exception) -> str:
    """The error in one line of bearable length, without what it quotes: an odd answer may have the token in it."""
    text = " ".join(str(error).split())
    text = _SECRET.sub("***", _QUOTED.sub("", text))
    return text if len(text) <= 400 else f"{text[:400]}..."
