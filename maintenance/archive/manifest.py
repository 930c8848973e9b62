"""Manifests: a JSON document beside each object, by which an archive is understood without the database."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote, unquote

from maintenance.errors import ArchiveError
from maintenance.names import Table

ROWS = ".copy.gz"
MANIFEST = ".json"
_VERSION = 1
_PARTS = 5
"""Folders that a run's objects are in: server, database, run, schema, table."""


class Unreadable(ArchiveError):
    """A manifest that cannot be understood."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"the manifest {path} cannot be understood ({why})")
        self.path = path


class State(StrEnum):
    """Whether the rows of an object are gone from their table."""

    STORED = "stored"
    """Nobody knows by the manifest alone; the ledger does."""
    COMMITTED = "committed"
    """Their deletion is committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which database of which server an archive is of."""

    server: str
    """The cluster's system identifier, or its host where the role may not read that."""
    database: str

    def __str__(self) -> str:
        return f"{_encoded(self.server)}/{_encoded(self.database)}"

    @classmethod
    def parse(cls, text: str) -> Origin:
        """The origin of a path that begins with it."""
        server, database = text.split("/")[:2]
        return cls(server=unquote(server), database=unquote(database))

    def run(self, run_id: int) -> str:
        """The folder of a run."""
        return f"{self}/run-{run_id}"


def folder_of(origin: Origin, run_id: int, table: Table) -> str:
    """The folder of a table's objects; whatever characters the names have, no other table's is the same."""
    return f"{origin.run(run_id)}/{_encoded(table.schema)}/{_encoded(table.name)}"


def _encoded(name: str) -> str:
    """A name that is a single, ordinary part of a path."""
    return quote(name, safe="").replace(".", "%2E")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A column as it was when its values were stored."""

    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an object has in it, where it comes from, and whether its rows are gone."""

    object: str
    """Path of the rows, which the manifest lies beside."""
    state: State
    run: int
    step: int
    task: str
    rule: str
    summary: str
    schema: str
    table: str
    columns: tuple[Stored, ...]
    """In the order of the rows' values."""
    key: tuple[str, ...]
    """Columns of the primary key; none where there is none."""
    first_key: tuple[str, ...] | None
    last_key: tuple[str, ...] | None
    database: str
    server: str
    server_version: str
    as_of: str
    created_at: str
    rows: int
    sha256: str
    """Of the rows' text, not compressed."""
    size: int
    """Bytes of the object."""

    @property
    def path(self) -> str:
        """Where the manifest itself is."""
        return manifest_of(self.object)

    @property
    def whole(self) -> Table:
        """The table by schema and name."""
        return Table(schema=self.schema, name=self.table)

    def text(self) -> bytes:
        """As it is stored."""
        document = {"version": _VERSION, "format": "PostgreSQL COPY text, gzip", **asdict(self)}
        return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def parse(text: bytes, path: str) -> Manifest:
    """The manifest that lies at `path`; where it says that it lies elsewhere, it is not believed.

    Raises:
        Unreadable: it is none, or of a version that is yet to come.
    """
    try:
        document: dict[str, Any] = json.loads(text)
        if document.pop("version") != _VERSION:
            raise ValueError("it is of another version; a newer one of ours may")
        document.pop("format")
        columns = tuple(Stored(**column) for column in document.pop("columns"))
        first, last = _tuple(document.pop("first_key")), _tuple(document.pop("last_key"))
        state, key = State(document.pop("state")), tuple(document.pop("key"))
        found = Manifest(**document, columns=columns, key=key, state=state, first_key=first, last_key=last)
        datetime.fromisoformat(found.created_at)
        if found.path != path or len(found.object.split("/")) != _PARTS + 1 or not isinstance(found.rows, int):
            raise ValueError("it lies elsewhere than it says")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Unreadable(path, str(error)) from error
    return found


def manifest_of(object_: str) -> str:
    """Path of the manifest of an object."""
    return object_.removesuffix(ROWS) + MANIFEST


def _tuple(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
