"""Runs: whether the ledger is there, and what it says of the runs: did they run, and did they get through?"""

from __future__ import annotations

from collections.abc import Iterator

from asyncpg import Record

from maintenance import switch
from maintenance.budget import spelled
from maintenance.check.kinds import finding
from maintenance.check.view import Look, View
from maintenance.database import fetch_one
from maintenance.findings import Finding
from maintenance.ledger import TABLES
from maintenance.names import Table, listed, quoted
from maintenance.sql import statement

_CLEANUP = r"(^| )(daily-cleanup|retention|duplicates|orphans|unreferenced)( |$)"
_VACUUM = r"(^| )(weekly-vacuum|vacuum)( |$)"
_FEW = 2
"""Steps of a failed run that are told; the ledger has all of them."""


async def _find(view: View) -> list[Finding]:
    state = await fetch_one(view.connection, statement("ledger", "state"))
    if not state["made"]:
        if await view.connection.fetchval(statement("check/runs", "creatable")):
            return [finding("ledger.missing", "maintenance", "the ledger has never been made in this database")]
        fact = f"there is no ledger, and the role {view.role} may not make it"
        cure = f"grant create on database {quoted(view.database)} to {quoted(view.role)};"
        return [finding("ledger.forbidden", "maintenance", fact, cure=cure)]
    if not state["installed"]:
        return [finding("ledger.old", "maintenance", "the ledger is of an older version")]
    found: list[Finding] = []
    if not state["writable"]:
        found.append(_unwritable(view))
    if not state["readable"]:
        view.cannot_see("runs", "the last runs", f"the role {view.role} may not read the ledger")
        return found
    return [*found, *await _ran(view)]


def _unwritable(view: View) -> Finding:
    role, tables = quoted(view.role), listed([Table(schema="maintenance", name=name).sql for name in TABLES])
    cure = (
        f"grant usage on schema maintenance to {role};\n"
        f"grant select, insert, update, delete on table {tables} to {role};"
    )
    return finding(
        "ledger.forbidden", "maintenance", f"the role {view.role} may not write the ledger", cure=cure,
        remedy="grant it, as the ledger's owner",
    )  # fmt: skip


async def _ran(view: View) -> list[Finding]:
    found: list[Finding] = []
    paused = await switch.found(view.connection)
    if paused is not None:
        found.append(finding("runs.paused", "", str(paused).split(";", maxsplit=1)[0]))
    for row in await view.rows("runs", "dead"):
        since = f"{row['started_at']:%Y-%m-%d %H:%M} UTC"
        fact = f"{row['name']} is 'running' since {since}, and its session is gone"
        found.append(finding("runs.dead", f"run {row['id']}", fact))
    cleanup = await fetch_one(view.connection, statement("check/runs", "kept"), _CLEANUP)
    vacuum = await fetch_one(view.connection, statement("check/runs", "kept"), _VACUUM)
    if cleanup["first"] is None:
        return [*found, finding("runs.never", "maintenance", "the ledger is there, and has no run")]
    found += _late(view, cleanup, "clean-up", "runs.overdue", view.thresholds.cleanup)
    found += _late(view, vacuum, "VACUUM", "runs.vacuum_overdue", view.thresholds.vacuum)
    for name, row in (("clean-up", cleanup), ("VACUUM", vacuum)):
        if row["failures"]:
            found.append(await _failed(view, name, row))
    for row in await view.rows("runs", "guarded", cleanup["last"]):
        fact = f"the last clean-up was stopped by a guard: {row['error']}"
        found.append(finding("runs.guarded", f"{row['task']} {row['table_name']}", fact))
    if cleanup["unfinished"] >= view.thresholds.unfinished:
        fact = f"the last {cleanup['unfinished']} clean-ups all ended with work left"
        found.append(finding("runs.unfinished", "clean-up", fact))
    return found


def _late(view: View, row: Record, name: str, code: str, most: float) -> Iterator[Finding]:
    last = row["through_at"]
    since = last or row["first"]
    late = (view.as_of - since).total_seconds()
    if late > most:
        how = f"was {spelled(late)} ago" if last else f"never came, and the first run was {spelled(late)} ago"
        yield finding(
            code, name, f"the last {name} that got through {how}, at most {spelled(most)} are to lie in between"
        )


async def _failed(view: View, name: str, row: Record) -> Finding:
    said = await fetch_one(view.connection, statement("check/runs", "errors"), row["failed"])
    steps = "; ".join(said["steps"][:_FEW])
    more = f"; and {len(said['steps']) - _FEW} more" if len(said["steps"]) > _FEW else ""
    runs = "the last run" if row["failures"] == 1 else f"the last {row['failures']} runs"
    since = f"{row['failing_since']:%Y-%m-%d %H:%M} UTC"
    return finding(
        "runs.failed", name, f"{runs} failed, since {since}: {(steps + more) or said['error']}",
        remedy=f"`python -m maintenance history --run {row['failed']}` has the messages",
    )  # fmt: skip


RUNS = Look(name="runs", what="the ledger, and the last runs", find=_find)
