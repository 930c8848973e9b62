"""Archives of tests: a folder, a rule that stores what it deletes there, and what the command line says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.databases import Database

RULE = '[[retention]]\ntable = "{table}"\ncolumn = "at"\nkeep = "30 days"\nallow_empty = true\narchive = "{where}"\n'


def rule(folder: Path, *tables: str) -> str:
    """A policy of retention with an archive."""
    return "".join(RULE.format(table=table, where=folder.as_uri()) for table in tables or ("log",))


async def filled(database: Database, rows: int = 100) -> None:
    """A table whose rows but one are expired."""
    await database.execute(
        "create table log (id int primary key, at timestamptz, note text);"
        f"insert into log select n, now() - interval '40 days', 'ü' || n from generate_series(1, {rows}) n;"
        "insert into log values (0, now(), 'stays')"
    )


async def contents(database: Database, table: str = "log") -> list[str]:
    """Every row as text, which has each value byte for byte."""
    return await database.values(f"select t::text from {table} t order by 1")


async def restored(database: Database, run: int, *words: str, exit_code: int = 0, **more: Any) -> Any:
    """What `restore` says, table by table; or its error's message."""
    document = await database.cli_json("restore", "--run", str(run), *words, exit_code=exit_code, **more)
    return document["restored"] if exit_code == 0 else document["error"]["message"]


async def states(database: Database, *words: str, **more: Any) -> list[str]:
    """How the objects stand, by `archives`."""
    document = await database.cli_json("archives", *words, **more)
    return [entry["state"] for entry in document["archives"]]


def objects(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.copy.gz"))


def manifests(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.json"))
