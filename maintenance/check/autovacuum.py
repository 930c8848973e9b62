"""Autovacuum: whether it is on, keeps up and has workers left; how old the oldest transaction number is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from asyncpg import Record

from maintenance import past
from maintenance.check.kinds import finding
from maintenance.check.view import Look, View
from maintenance.database import fetch_one
from maintenance.findings import Finding
from maintenance.ledger import Ledger
from maintenance.names import Table
from maintenance.sql import statement

_LOOK = "autovacuum"
_OWN_WORK = timedelta(hours=1)
"""Since our own run has deleted, autovacuum may still have its turn to come: it looks once a minute."""


async def _find(view: View) -> list[Finding]:
    row = await fetch_one(view.connection, statement("check/autovacuum", "settings"))
    found = list(_off(row))
    for table in map(_table, await view.rows(_LOOK, "off")):
        cure = f"alter table {table.sql} reset (autovacuum_enabled);"
        found.append(finding("autovacuum.table_off", str(table), "autovacuum_enabled is off", cure=cure))
    if row["autovacuum"] and row["counts"]:
        found += await _behind(view, row["workers"])
    return [*found, *await _ages(view)]


def _off(row: Record) -> Iterator[Finding]:
    if not row["counts"]:
        cure = "alter system set track_counts = on;\nselect pg_catalog.pg_reload_conf();"
        yield finding("autovacuum.blind", "", "track_counts is off", cure=cure)
    if not row["autovacuum"]:
        cure = "alter system set autovacuum = on;\nselect pg_catalog.pg_reload_conf();"
        yield finding("autovacuum.off", "", "autovacuum is off on this server", cure=cure)


async def _behind(view: View, workers: int) -> list[Finding]:
    limits = view.thresholds
    rows = await view.rows(_LOOK, "behind", limits.dead, limits.behind, limits.behind_after)
    known = await Ledger(view.connection).installed(writable=False)
    changed = await past.changed_at(view.connection) if known else {}
    late = []
    for row in rows:
        table = _table(row)
        ours = changed.get(str(table))
        if ours is not None and ours > view.as_of - _OWN_WORK:
            continue
        last = f"last vacuumed {row['last']:%Y-%m-%d %H:%M} UTC" if row["last"] else "never vacuumed"
        fact = f"{row['dead']:,} dead rows, where autovacuum begins at {row['threshold']:,}; {last}"
        late.append(finding("autovacuum.behind", str(table), fact, cure=f"vacuum (analyze) {table.sql};"))
    if late and not view.monitors:
        view.needs_statistics(_LOOK, "whether autovacuum has workers left")
    elif late and (busy := (await view.rows(_LOOK, "busy"))[0]["count"]) >= workers:
        fact = f"all {workers} of its workers are busy ({busy} at work), and {len(late)} tables wait for one"
        late.append(finding("autovacuum.starved", "", fact))
    return late


async def _ages(view: View) -> list[Finding]:
    row = (await view.rows(_LOOK, "ages"))[0]
    age, what = max((row["transactions"], "transactions"), (row["multixacts"], "multixacts"))
    if age < view.thresholds.xid_warning:
        return []
    oldest = [(_table(one), one["age"]) for one in await view.rows(_LOOK, "oldest")]
    fact = f"the oldest row version of database {row['name']} is {age:,} {what} old, of 2.1 billion that there are"
    own = row["name"] == view.database
    if own and oldest:
        fact += f"; here {', '.join(f'{table} has {years:,}' for table, years in oldest)}"
    cure = "\n".join(f"vacuum (freeze, verbose) {table.sql};" for table, _ in oldest) if own and oldest else None
    code = "xid.exhausted" if age >= view.thresholds.xid_error else "xid.age"
    return [finding(code, row["name"], fact, cure=cure)]


def _table(row: Record) -> Table:
    return Table(schema=row["schema"], name=row["name"])


AUTOVACUUM = Look(name=_LOOK, what="autovacuum and the age of transactions", find=_find)
