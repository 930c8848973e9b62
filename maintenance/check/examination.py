"""Examination: all looks, one after the other, each within its time; one that fails is said and stops no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg
from asyncpg import Connection
from asyncpg import exceptions as pg

from maintenance import policy_file
from maintenance.budget import Budget, spelled
from maintenance.check.access import ACCESS
from maintenance.check.autovacuum import AUTOVACUUM
from maintenance.check.bloat import BLOAT
from maintenance.check.constraints import CONSTRAINTS
from maintenance.check.deleters import DELETERS
from maintenance.check.horizon import HORIZON
from maintenance.check.indexes import INDEXES
from maintenance.check.kinds import finding
from maintenance.check.lateness import LATENESS
from maintenance.check.privileges import PRIVILEGES
from maintenance.check.retained import RETAINED
from maintenance.check.runs import RUNS
from maintenance.check.schedule import SCHEDULE
from maintenance.check.schema import SCHEMA
from maintenance.check.server import SERVER
from maintenance.check.thresholds import Thresholds
from maintenance.check.view import Look, Unseen, View
from maintenance.database import connected, fetch_one, limit_statements
from maintenance.errors import DatabaseError, MaintenanceError
from maintenance.findings import Finding, Severity
from maintenance.policy import Policy
from maintenance.refusals import first_line
from maintenance.settings import Settings
from maintenance.sql import statement

LOOKS: tuple[Look, ...] = (
    SERVER, ACCESS, PRIVILEGES, SCHEMA, RUNS, SCHEDULE, LATENESS, DELETERS, HORIZON, AUTOVACUUM, INDEXES, RETAINED,
    CONSTRAINTS, BLOAT,
)  # fmt: skip
"""Those that tell what keeps a run from working come first: the time may not suffice for all."""
_LEAST = 0.05
"""Seconds without which no look is begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found on a database, the worst first, and what nobody could look at."""

    database: str
    as_of: datetime | None
    """The server's clock; None where nobody could log in."""
    findings: tuple[Finding, ...]
    unseen: tuple[Unseen, ...] = ()
    looks: tuple[str, ...] = ()
    """Those that came to their end."""

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(one for one in self.findings if one.severity is severity)

    @property
    def failed(self) -> bool:
        """Whether something keeps the policy's work from being done, or nobody could look whether it does."""
        return bool(self.of(Severity.ERROR)) or not self.looks


async def examined_target(settings: Settings, thresholds: Thresholds | None = None) -> Examination:
    """The database of these settings, by a session of its own that cannot write. A login that fails is a finding.

    Raises:
        SettingsError, PolicyError: the settings or the policy file cannot be used.
    """
    target = settings.required_target()
    policy = policy_file.load(settings.policy)
    try:
        async with connected(settings, name="maintenance check", read_only=True) as connection:
            return await examined(connection, policy, settings, thresholds)
    except DatabaseError as error:
        return Examination(
            database=str(target),
            as_of=None,
            findings=(finding("connection.refused", str(target), str(error).rstrip(".")),),
            unseen=(Unseen(look="all", what="everything else", why="there was no connection"),),
        )


async def examined(
    connection: Connection,
    policy: Policy,
    settings: Settings,
    thresholds: Thresholds | None = None,
    looks: Sequence[Look] = LOOKS,
) -> Examination:
    """All looks at the database of a connection of `connected`. Reads only; bounded by the thresholds' seconds.

    Raises:
        InterfaceError: the connection was no good from the beginning.
    """
    limits = thresholds or Thresholds()
    within = Budget(limits.budget)
    row = await fetch_one(connection, statement("check/access", "whose"))
    view = View(
        connection=connection, policy=policy, settings=settings, thresholds=limits, as_of=row["as_of"],
        role=row["role"], database=row["database"], monitors=row["monitors"], budget=within,
    )  # fmt: skip
    found: list[Finding] = []
    done: list[str] = []
    for look in looks:
        seconds = min(limits.look, within.left)
        alone = replace(view, budget=Budget(seconds), found=[])
        if await _looked(look, alone, seconds):
            done.append(look.name)
        found += alone.found
    if connection.is_closed():
        found.append(finding("connection.lost", view.database, "the session ended while the check was looking"))
    order = list(Severity)
    return Examination(
        database=view.database, as_of=view.as_of, looks=tuple(done), unseen=tuple(dict.fromkeys(view.unseen)),
        findings=tuple(sorted(found, key=lambda one: (order.index(one.severity), one.code, one.subject))),
    )  # fmt: skip


async def _looked(look: Look, view: View, seconds: float) -> bool:
    """Whether a look came to its end, and else the view says why; the view has what was found by then."""
    why = None
    if view.connection.is_closed():
        why = "the session had ended"
    elif seconds < _LEAST:
        why = f"the {spelled(view.thresholds.budget)} for all looks were used up"
    else:
        try:
            await limit_statements(view.connection, seconds, local=False)
            async with asyncio.timeout(seconds + 1):
                view.found[:] = list(await look.find(view))
                return True
        except (TimeoutError, pg.QueryCanceledError):
            why = f"it took longer than {spelled(seconds)}"
        except asyncpg.PostgresError as error:
            why = f"the server refused it: {first_line(error)} [{error.sqlstate}]"
        except (asyncpg.InterfaceError, OSError) as error:
            said = "the session ended" if view.connection.is_closed() else "the driver refused it"
            why = f"{said}: {error}"
        except MaintenanceError as error:
            why = str(error)
    rest = "the rest of " if view.found else ""
    view.cannot_see(look.name, f"{rest}{look.what}", why)
    return False
