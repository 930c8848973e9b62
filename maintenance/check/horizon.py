"""Horizon: what keeps VACUUM from removing rows: transactions, prepared ones, slots and standbys, and for how long."""

from __future__ import annotations

from collections.abc import Iterator

from asyncpg import Record

from maintenance.amounts import size
from maintenance.budget import spelled
from maintenance.check.kinds import finding
from maintenance.check.view import Look, View
from maintenance.findings import Finding
from maintenance.names import literal

_LOOK = "horizon"


async def _find(view: View) -> list[Finding]:
    held = view.thresholds.held
    found = [_transaction(row) for row in await view.rows(_LOOK, "transactions", held)]
    found += [_prepared(row) for row in await view.rows(_LOOK, "prepared", held)]
    for row in await view.rows(_LOOK, "slots"):
        found += _slot(view, row)
    found += [_standby(row) for row in await view.rows(_LOOK, "standbys", view.thresholds.pinned)]
    if not view.monitors:
        if (await view.rows(_LOOK, "any_standby"))[0]["one"]:
            view.needs_statistics(_LOOK, "what standbys hold back")
        if (await view.rows(_LOOK, "hidden"))[0]["count"]:
            view.needs_statistics(_LOOK, "other roles' transactions")
    return found


def _transaction(row: Record) -> Finding:
    who = f"pid {row['pid']} ({row['application'] or 'without a name'}, role {row['role']})"
    fact = f"{who} has a transaction open since {spelled(row['seconds'])}, {row['state'] or 'at work'}{_behind(row)}"
    cure = f"select pg_catalog.pg_terminate_backend({row['pid']});"
    return finding("horizon.transaction", f"pid {row['pid']}", fact, cure=cure, risky=True)


def _prepared(row: Record) -> Finding:
    fact = f"{row['gid']!r} is prepared since {spelled(row['seconds'])}, by {row['role']}{_behind(row)}"
    cure = f"rollback prepared {literal(row['gid'])};"
    return finding("horizon.prepared", row["gid"], fact, cure=cure, risky=True)


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


def _standby(row: Record) -> Finding:
    at = f" at {row['host']}" if row["host"] else ""
    fact = f"the standby{at} holds back the horizon by {row['transactions']:,} transactions; for how long, nobody tells"
    return finding("horizon.standby", row["name"] or str(row["pid"]), fact)


def _behind(row: Record) -> str:
    return f", {row['transactions']:,} transactions ago" if row["transactions"] else ""


HORIZON = Look(name=_LOOK, what="what pins the horizon", find=_find)
