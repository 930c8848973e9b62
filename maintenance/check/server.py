"""Server: its version and the end of that, its clock, and whether it has connections left."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

from maintenance.check.kinds import finding
from maintenance.check.view import Look, View
from maintenance.clock import astray
from maintenance.database import fetch_one
from maintenance.errors import PolicyError
from maintenance.findings import Finding
from maintenance.sql import statement

ENDS = {
    14: date(2026, 11, 12),
    15: date(2027, 11, 11),
    16: date(2028, 11, 9),
    17: date(2029, 11, 8),
    18: date(2030, 11, 14),
}
"""When each major version has its last release. https://www.postgresql.org/support/versioning/"""
_SOURCE = "https://www.postgresql.org/support/versioning/"


async def _find(view: View) -> list[Finding]:
    row = await fetch_one(view.connection, statement("check/server", "state"))
    found = list(_ended(view, row["version"]))
    if row["connections"] >= view.thresholds.connections * row["most"]:
        fact = f"{row['connections']} of the {row['most']} connections that this role may share are taken"
        found.append(finding("server.connections", "", fact))
    try:
        apart = await astray(view.connection, view.policy.guards.clock)
    except PolicyError as error:
        return [*found, finding("policy.misfit", "[guards]", str(error))]
    return found if apart is None else [*found, finding("server.clock", "", apart)]


def _ended(view: View, version: str) -> Iterator[Finding]:
    end = ENDS.get(view.major)
    if end is None:
        return
    left = (datetime(end.year, end.month, end.day, tzinfo=UTC) - view.as_of).total_seconds()
    if left < 0:
        yield finding("server.ended", "", f"PostgreSQL {version}: its major version ended on {end} ({_SOURCE})")
    elif left < view.thresholds.ending:
        yield finding("server.ending", "", f"PostgreSQL {version}: its major version ends on {end} ({_SOURCE})")


SERVER = Look(name="server", what="the server's version, clock and connections", find=_find)
