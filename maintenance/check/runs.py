"""Runs: whether the ledger is there, and what it says of the runs: did they run, and did they get through?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
from maintenance.tasks import GROUPS

_CLEANUP = ("retention", "duplicates", "orphans", "unreferenced")
_VACUUM = ("vacuum",)
_FEW = 2
"""Steps of a failed run that are told; the ledger has all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """How the runs of some tasks went, which are called by one name."""

    name: str
    tasks: tuple[str, ...]
    row: Record


async def _find(view: View) -> list[Finding]:
    state = await fetch_one(view.connection, statement("ledger", "state"))
    if not state["made"]:
        if await view.connection.fetchval(statement("check/runs", "creatable")):
            return [finding("ledger.missing", "maintenance", "the ledger has never been made in this database")]
        fact = f"there is no ledger, and the role {view.role} may not make it"
        cure = f"grant create on database {quoted(view.database)} to {quoted(view.role)};"
        return [finding("ledger.forbidden", "maintenance", fact, cure=cure)]
    if not state["installed"]:
        view.cannot_see("runs", "the last runs", "the ledger is of an older version")
        return [await _old(view)]
    found = view.found
    if not state["writable"]:
        found.append(_unwritable(view))
    if not state["readable"]:
        view.cannot_see("runs", "the last runs", f"the role {view.role} may not read the ledger")
        return found
    return [*found, *await _ran(view)]


async def _old(view: View) -> Finding:
    fact = "the ledger is of an older version"
    row = await fetch_one(view.connection, statement("check/runs", "migratable"), list(TABLES))
    if row["may"]:
        return finding("ledger.old", "maintenance", fact)
    owners = " and ".join(row["owners"])
    return finding(
        "ledger.forbidden", "maintenance", f"{fact}, and the role {view.role} may not bring it up to date",
        remedy=f"`python -m maintenance install` as {owners}, who made it, then the grants of "
        "`python -m maintenance sql grants`",
    )  # fmt: skip


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
    cleanup = await _kept(view, _ruled(view), "clean-up")
    vacuum = await _kept(view, _VACUUM, "VACUUM")
    if cleanup[0].row["first"] is None:
        return [*found, finding("runs.never", "maintenance", "the ledger is there, and has no run")]
    for kept in cleanup:
        found += _late(view, kept, "runs.overdue", view.thresholds.cleanup)
    for kept in vacuum:
        found += _late(view, kept, "runs.vacuum_overdue", view.thresholds.vacuum)
    found += [await _failed(view, kept) for kept in (*cleanup, *vacuum) if kept.row["failures"]]
    last = [(kept.row["last"], task) for kept in cleanup for task in kept.tasks]
    for row in await view.rows("runs", "guarded", [id_ for id_, _ in last], [task for _, task in last]):
        fact = f"the last clean-up was stopped by a guard: {row['error']}"
        found.append(finding("runs.guarded", f"{row['task']} {row['table_name']}", fact))
    for kept in cleanup:
        if kept.row["unfinished"] >= view.thresholds.unfinished:
            fact = f"the last {kept.row['unfinished']} runs of it all ended with work left"
            found.append(finding("runs.unfinished", kept.name, fact))
    return found


def _ruled(view: View) -> tuple[str, ...]:
    """The tasks that the policy has rules for; each of them must be done, by whatever run."""
    return tuple(task for task in _CLEANUP if getattr(view.policy, task)) or _CLEANUP


async def _kept(view: View, tasks: tuple[str, ...], name: str) -> list[_Kept]:
    """How the runs of these tasks went; tasks that always went together are one."""
    groups = {task: [task, *(group for group, members in GROUPS.items() if task in members)] for task in tasks}
    patterns = [f"(^| )({'|'.join(groups[task])})( |$)" for task in tasks]
    together: dict[tuple[object, ...], list[Record]] = {}
    for row in await view.rows("runs", "kept", list(tasks), patterns):
        together.setdefault(tuple(row.values())[1:], []).append(row)
    return [
        _Kept(name=name if len(together) == 1 else ", ".join(row["task"] for row in rows),
              tasks=tuple(row["task"] for row in rows), row=rows[0])
        for rows in together.values()
    ]  # fmt: skip


def _late(view: View, kept: _Kept, code: str, most: float) -> Iterator[Finding]:
    last = kept.row["through_at"]
    since = last or kept.row["first"]
    late = (view.as_of - since).total_seconds()
    if late > most:
        how = f"was {spelled(late)} ago" if last else f"never came, and the first run was {spelled(late)} ago"
        yield finding(
            code,
            kept.name,
            f"the last {kept.name} that got through {how}, at most {spelled(most)} are to lie in between",
        )


async def _failed(view: View, kept: _Kept) -> Finding:
    row = kept.row
    said = await fetch_one(view.connection, statement("check/runs", "errors"), row["failed"])
    steps = "; ".join(said["steps"][:_FEW])
    more = f"; and {len(said['steps']) - _FEW} more" if len(said["steps"]) > _FEW else ""
    runs = "the last run" if row["failures"] == 1 else f"the last {row['failures']} runs"
    since = f"{row['failing_since']:%Y-%m-%d %H:%M} UTC"
    return finding(
        "runs.failed", kept.name, f"{runs} failed, since {since}: {(steps + more) or said['error']}",
        remedy=f"`python -m maintenance history --run {row['failed']}` has the messages",
    )  # fmt: skip


RUNS = Look(name="runs", what="the ledger, and the last runs", find=_find)
