"""Deleters: who else takes rows from a table of the policy."""

from __future__ import annotations

from collections.abc import Iterator

from maintenance import past
from maintenance.catalog import find
from maintenance.check.kinds import finding
from maintenance.check.view import Look, View
from maintenance.database import fetch_one
from maintenance.errors import PolicyError
from maintenance.findings import Finding
from maintenance.ledger import Ledger
from maintenance.names import Table, TableName
from maintenance.other_deleters import OtherDeleters, cron_jobs
from maintenance.sql import statement


async def _find(view: View) -> list[Finding]:
    known = await Ledger(view.connection).installed(writable=False)
    others = OtherDeleters(
        jobs=await cron_jobs(view.connection), before=await past.deletions(view.connection) if known else {}
    )
    found = view.found
    for name in dict.fromkeys(view.policy.tables()):
        for oid, table in await _leaves(view, name):
            found += await _others(view, others, oid, table)
    return found


async def _leaves(view: View, name: TableName) -> list[tuple[int, Table]]:
    try:
        relation = await find(view.connection, name)
    except PolicyError:
        # The look at the schema says so.
        return []
    return [] if relation is None else [(leaf.oid, leaf.table) for leaf in relation.leaves]


async def _others(view: View, others: OtherDeleters, oid: int, table: Table) -> Iterator[Finding]:
    scheduled = others.scheduled(table)
    row = await fetch_one(view.connection, statement("ledger", "deleted"), oid)
    told = others.unknown(table, row[0])
    return iter([
        *([] if scheduled is None else [finding("deleter.cron", str(table), scheduled)]),
        *([] if told is None else [finding("deleter.unknown", str(table), told)]),
    ])  # fmt: skip


DELETERS = Look(name="deleters", what="who else deletes from the policy's tables", find=_find)
