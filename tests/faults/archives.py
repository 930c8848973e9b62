"""What lies in an archive after a round: every object that the ledger knows, opened and counted."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path

from tests.databases import Database


async def archived(database: Database, folder: Path) -> Counter[str]:
    """Rows by table of all objects whose deletes were committed; each is as it was written, and no row is in two."""
    rows: Counter[str] = Counter()
    seen: set[tuple[str, bytes]] = set()
    for line in await database.connection.fetch("select * from maintenance.archive"):
        path = folder / line["object"]
        text = gzip.decompress(path.read_bytes())
        table = line["table_name"].removeprefix("public.")
        found = text.splitlines()
        assert (len(found), hashlib.sha256(text).hexdigest()) == (line["rows"], line["sha256"]), path
        manifest = json.loads(path.with_name(path.name.replace(".copy.gz", ".json")).read_text(encoding="utf-8"))
        assert (manifest["state"], manifest["rows"]) == ("committed", line["rows"]), path
        rows[table] += len(found)
        seen |= {(table, row) for row in found}
    assert len(seen) == rows.total()
    return rows
