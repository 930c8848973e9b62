"""Bloat: room in heaps, TOAST and indexes that nothing lies in; measured by pgstattuple, or estimated and said so."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import asyncpg

from maintenance.amounts import size
from maintenance.check.kinds import finding
from maintenance.check.view import Look, View
from maintenance.database import limit_statements
from maintenance.findings import Finding
from maintenance.names import Fragment, Table, quoted
from maintenance.refusals import first_line

_LOOK = "bloat"
_LEAST = 0.05


async def _find(view: View) -> list[Finding]:
    rows = await view.rows(_LOOK, "pgstattuple")
    ruler = _Ruler(view, quoted(rows[0]["schema"]) if rows else None)
    found = view.found
    unknown = 0
    for row in await view.rows(_LOOK, "heaps", view.thresholds.wasted):
        table = Table(schema=row["schema"], name=row["name"])
        known = row["known"] and row["counted"]
        unknown += not known and ruler.schema is None
        heap = row["bytes"] - row["needed"] if known else None
        ruler.waiting = row["dead"] if row["dead"] > view.thresholds.waiting_share * row["rows"] else 0
        found += await ruler.judged("bloat.table", table, "its heap", row["oid"], (row["bytes"], heap))
        toast = row["toast_bytes"] - row["toast_needed"] if row["toast_counted"] else None
        if row["toast"] is not None:
            found += await ruler.judged("bloat.toast", table, "its TOAST", row["toast"], (row["toast_bytes"], toast))
    ruler.waiting = 0
    for row in await view.rows(_LOOK, "trees", view.thresholds.wasted):
        table = Table(schema=row["schema"], name=row["table_name"])
        guess = row["bytes"] - row["needed"] if row["known"] else None
        cure = f"reindex index concurrently {quoted(row['schema'])}.{quoted(row['name'])};"
        what = f"the index {row['name']}"
        found += await ruler.judged("bloat.index", table, what, row["oid"], (row["bytes"], guess), cure)
    if unknown:
        why = "their columns have no statistics that the role may read, and pgstattuple is not there for it"
        view.cannot_see(_LOOK, f"the heaps of {unknown} tables", why)
    return found


class _Ruler:
    """Measures where that is possible and still needed: what an estimate shows to be in order is not read."""

    def __init__(self, view: View, schema: Fragment | None) -> None:
        self._view = view
        self.schema = schema
        self.waiting = 0
        """Dead rows of the table at hand, where a VACUUM has so many to take that it comes first."""

    async def judged(
        self, code: str, table: Table, what: str, oid: int, amounts: tuple[int, int | None], cure: str | None = None
    ) -> Iterator[Finding]:
        """What there is to say of a relation of these bytes, of which so many are thought to be wasted."""
        total, guess = amounts
        if total < self._view.thresholds.wasted or (guess is not None and not self._much(guess, total)):
            return iter(())
        measured = await self._measured(code, oid)
        how = "measured by pgstattuple"
        if measured is None:
            measured, how = (guess, total), "estimated by its statistics"
        wasted, total = measured
        if wasted is None or not self._much(wasted, total):
            return iter(())
        fact = f"{size(wasted)} of the {size(total)} of {what} are empty ({wasted / max(total, 1):.0%}, {how})"
        if self.waiting:
            fact += f"; {self.waiting:,} dead rows wait for VACUUM"
            remedy = f"first `python -m maintenance run vacuum --tables {shlex.quote(str(table))}`, then check again"
            return iter([finding(code, str(table), fact, remedy=remedy)])
        return iter([finding(code, str(table), fact, cure=cure)])

    def _much(self, wasted: int, total: int) -> bool:
        limits = self._view.thresholds
        return wasted >= limits.wasted and wasted >= limits.wasted_share * total

    async def _measured(self, code: str, oid: int) -> tuple[int | None, int] | None:
        if self.schema is None:
            return None
        name = "measured_tree" if code == "bloat.index" else "measured_heap"
        connection, seconds = self._view.connection, self._view.thresholds.measure
        try:
            async with connection.transaction():
                await limit_statements(connection, min(seconds, max(self._view.budget.left, _LEAST)), local=True)
                rows = await self._view.rows(_LOOK, name, oid, schema=self.schema)
        except asyncpg.PostgresError as error:
            if self._view.connection.is_closed():
                raise
            # The estimate stands in, and says that it is one.
            if not isinstance(error, asyncpg.QueryCanceledError):
                self._view.cannot_see(_LOOK, f"relation {oid} by pgstattuple", first_line(error))
            return None
        return rows[0]["wasted"], rows[0]["bytes"]


BLOAT = Look(name=_LOOK, what="bloat of heaps, TOAST and indexes", find=_find)
