"""Places: where a rule may want its rows archived."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

BLOBS = "azure-blob"
"""The archive in the storage account of MAINTENANCE_ARCHIVE_URL."""


def place_of(value: str) -> str:
    """The archive that a rule names: the word for the storage account, or the URL of a folder of this machine.

    Raises:
        ValueError: it is neither.
    """
    if value == BLOBS:
        return value
    parts = urlsplit(value)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc or parts.query or parts.fragment or not path.startswith("/"):
        raise ValueError(f"is neither '{BLOBS}' nor the URL of a folder such as 'file:///var/archives'")
    if path.strip("/") == "" or "\0" in path or ".." in path.split("/"):
        raise ValueError("is the URL of no folder that an archive can have: name one such as 'file:///var/archives'")
    return value
