"""What VACUUM and ANALYZE are judged by: the server's counters of all tables that are not its or ours."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from asyncpg import Record

from maintenance.names import Table
from maintenance.sql import statement
from maintenance.tasks.survey import Survey


async def upkeep(survey: Survey) -> list[Record]:
    """The counters of all tables, with what this session has done already counted in (from PostgreSQL 15)."""
    if survey.connection.get_server_version().major >= 15:
        await survey.connection.execute(statement("upkeep", "flush"))
    return list(await survey.connection.fetch(statement("upkeep", "tables")))


def chosen(table: Table, patterns: Iterable[str]) -> bool:
    """Whether the patterns (`*`, `?`; `!` in front excludes) take the table, by its name or by schema and name."""
    names = (table.name, str(table))
    included = [p for p in patterns if not p.startswith("!")] or ["*"]
    excluded = [p[1:] for p in patterns if p.startswith("!")]
    return any(fnmatchcase(n, p) for n in names for p in included) and not any(
        fnmatchcase(n, p) for n in names for p in excluded
    )
