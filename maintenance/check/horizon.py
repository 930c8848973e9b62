"""Horizon: what keeps VACUUM from removing rows: transactions, prepared ones, slots and standbys, and for how long."""

from __future__ import annotations

from collections.abc import Iterator

from asyncpg import Record

from maintenance.amounts import size
from maintenance.budget import spelled
from maintenance.check.kinds import finding
from maintenance.check.view import Look, View
from maintenance.findings import Finding
from maintenance.horizon import Holder, Kind, holders
from maintenance.names import literal

_LOOK = "horizon"


async def _find(view: View) -> list[Finding]:
    found = [one for holder in await holders(view.connection) for one in _held(view, holder)]
    for row in await view.rows(_LOOK, "slots"):
        found += _slot(view, row)
    if not view.monitors:
        if (await view.rows(_LOOK, "any_standby"))[0]["one"]:
            view.needs_statistics(_LOOK, "what standbys hold back")
        if (await view.rows(_LOOK, "hidden"))[0]["count"]:
            view.needs_statistics(_LOOK, "other roles' transactions")
    return found


def _held(view: View, holder: Holder) -> Iterator[Finding]:
    """What pins rows of this database, for longer than it should; slots are looked at for their WAL too, and apart."""
    if holder.age is None and holder.catalog_age is None:
        return
    old = holder.seconds is not None and holder.seconds >= view.thresholds.held
    if holder.kind in (Kind.SESSION, Kind.AUTOVACUUM) and old and holder.database == view.database:
        yield _found("horizon.transaction", f"pid {holder.pid}", holder)
    if holder.kind is Kind.PREPARED and old and holder.database == view.database:
        yield _found("horizon.prepared", holder.name, holder)
    if holder.kind is Kind.STANDBY and (holder.age or holder.catalog_age or 0) >= view.thresholds.pinned:
        yield _found("horizon.standby", holder.name, holder)


def _found(code: str, subject: str, holder: Holder) -> Finding:
    """The standby's statement is for the standby, and autovacuum ends by itself, so neither is a cure here."""
    cure = None if holder.kind in (Kind.STANDBY, Kind.AUTOVACUUM) else f"{holder.cure};"
    return finding(code, subject, str(holder), cure=cure, risky=True)


def _slot(view: View, row: Record) -> Iterator[Finding]:
    behind = row["transactions"] or 0
    wal = max(row["wal"] or 0, 0)
    idle = None if row["active"] else row["seconds"]
    left = idle is not None and idle >= view.thresholds.held and (behind > 0 or wal > 0)
    keeps = not row["active"] and wal >= view.thresholds.kept_wal
    if not (left or keeps or behind >= view.thresholds.pinned):
        return
    told = ["somebody reads it" if row["active"] else "nobody reads it"]
    if not row["active"]:
        told[0] += f" since {spelled(idle)}" if idle is not None else ", since when the server does not tell"
    if behind:
        told.append(f"it pins rows of {behind:,} transactions ago")
    if wal:
        told.append(f"it keeps {size(wal)} of WAL")
    cure = None if row["active"] else f"select pg_catalog.pg_drop_replication_slot({literal(row['name'])});"
    yield finding("horizon.slot", row["name"], f"the {row['type']} slot: {', '.join(told)}", cure=cure, risky=True)


HORIZON = Look(name=_LOOK, what="what pins the horizon", find=_find)
