"""Gathering: the situation of a database: ledger, catalogs, schedules, and what `check` finds. It reads, bounded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import datetime

import asyncpg
from asyncpg import Connection

from maintenance import policy_file, switch
from maintenance.catalog import database_bytes, find
from maintenance.check.examination import examined_target
from maintenance.check.thresholds import Thresholds
from maintenance.chronicle import Chronicle
from maintenance.database import clock, connected
from maintenance.errors import PolicyError
from maintenance.policy import Health, RowBounds
from maintenance.report.situation import (
    DAYS,
    MOST_RUNS,
    MOST_STEPS,
    Course,
    Curve,
    Gauge,
    RuleLag,
    Situation,
)  # fmt: skip
from maintenance.runs import Run
from maintenance.schedules import next_runs
from maintenance.settings import Settings
from maintenance.sql import statement
from maintenance.tasks.survey import span

_FILE = "report"
_RECENT = 30
"""Days after which a rule or a name that no run has seen is taken to be gone."""
_LOOK = 20.0
"""Seconds for all looks at the server: who waits for a page waits for less long than who asked for a check."""
_MOST_NAMES = 20
_MOST_LAGS = 200
_MOST_CURVES = 6
"""Of one plot: more cannot be told apart."""


async def situation(settings: Settings, thresholds: Thresholds | None = None) -> Situation:
    """The situation now, with what a look at the server finds: half a minute at most, where the thresholds do not say.

    Raises:
        MaintenanceError: as for a plan; LedgerError where this role may not read the ledger.
    """
    found = await gathered(settings)
    examination = await examined_target(settings, thresholds or Thresholds(budget=_LOOK, look=_LOOK / 3))
    unseen = tuple(f"{one.look}: {one.what}: {one.why}" for one in examination.unseen)
    return replace(found, findings=examination.findings, unseen=unseen)


async def gathered(settings: Settings) -> Situation:
    """The situation by ledger, catalogs and schedules alone.

    Raises:
        MaintenanceError: as for `situation`.
    """
    target = settings.required_target()
    policy = policy_file.load(settings.policy)
    objective = policy.guards.lag_objective
    async with connected(settings, name="maintenance report", read_only=True) as connection:
        as_of = await clock(connection)
        ledger = Chronicle(connection)
        known = await ledger.readable()
        latest = await ledger.last_of_each(as_of, _RECENT, _MOST_NAMES) if known else []
        scheduled = await next_runs(connection, settings, as_of)
        pause = await switch.found(connection) if known else None
        version = connection.get_server_version()
        return Situation(
            database=await connection.fetchval(statement(_FILE, "database")),
            server=f"PostgreSQL {version.major}.{version.minor} on {target.host}",
            as_of=as_of,
            ledger=known,
            budget=settings.budget,
            objective=None if objective is None else await span(connection, objective),
            pause=None if pause is None else str(pause),
            runs=tuple(await ledger.told(MOST_RUNS, MOST_STEPS)) if known else (),
            latest=tuple(latest),
            begun=await _begun(connection, {*(run.name for run in latest), *(run.name for run in scheduled)})
            if known
            else (),
            lags=await _lags(connection, as_of) if known else (),
            next_runs=scheduled,
            unscheduled=None
            if scheduled
            else "this machine has no schedule: neither the settings of the timers "
            "(DAILY_CLEANUP_SCHEDULE, WEEKLY_VACUUM_SCHEDULE) nor a job of pg_cron's is seen from here",
            gauges=tuple([gauge async for gauge in _gauges(connection, policy.health, latest)]),
            course=await _course(connection, as_of) if known else Course(),
        )


async def _begun(connection: Connection, names: set[str]) -> tuple[tuple[str, tuple[datetime, ...]], ...]:
    rows = await connection.fetch(statement(_FILE, "begun"), sorted(names))
    return tuple((row["name"], tuple(row["begun"])) for row in rows)


async def _lags(connection: Connection, as_of: datetime) -> tuple[RuleLag, ...]:
    rows = await connection.fetch(statement(_FILE, "lags"), as_of, _RECENT)
    found = [
        RuleLag(
            task=row["task"], table=row["table_name"], summary=row["summary"], seconds=row["seconds"], at=row["at"],
            run_id=row["run_id"],
        )
        for row in rows
    ]  # fmt: skip
    return tuple(
        sorted(found, key=lambda lag: (-lag.seconds, lag.task != "retention", lag.task, lag.table))[:_MOST_LAGS]
    )


async def _course(connection: Connection, as_of: datetime) -> Course:
    async def drawn(name: str, most: int = _MOST_CURVES) -> tuple[Curve, ...]:
        return _curves(await connection.fetch(statement(_FILE, name), as_of, DAYS), most)

    return Course(
        removed=await drawn("removed"),
        durations=await drawn("durations", 4),
        database_sizes=await drawn("database_sizes"),
        table_sizes=await drawn("table_sizes"),
        dead_rows=await drawn("dead_rows"),
        lags=await drawn("lags_over_time"),
    )


def _curves(rows: Iterable[asyncpg.Record], most: int) -> tuple[Curve, ...]:
    """Those with the largest figures; a curve that is nothing but zero tells that, if there is room."""
    points = defaultdict(list)
    for row in rows:
        points[row["name"]].append((row["day"], row["value"]))
    curves = [Curve(name=name, points=tuple(found)) for name, found in points.items()]

    def weight(curve: Curve) -> tuple[float, bool, str]:
        # Lags of one run differ by what its steps took; to two digits they are the same.
        most = float(f"{max(value for _, value in curve.points):.2g}")
        return -most, not curve.name.startswith("retention "), curve.name

    return tuple(sorted(curves, key=weight)[:most])


async def _gauges(connection: Connection, health: Health, latest: list[Run]) -> AsyncIterator[Gauge]:
    if health.database is not None:
        try:
            size: float | None = await database_bytes(connection)
            note = ""
        except asyncpg.InsufficientPrivilegeError:
            size, note = None, "this role may not ask for it; GRANT CONNECT on the database to it"
        yield Gauge(name="database", unit="bytes", value=size, limits=health.database.limits, note=note)
    for bounds in health.rows:
        rows, note = await _rows(connection, bounds)
        yield Gauge(name=f"rows of {bounds.table}", unit="rows", value=rows, limits=bounds.limits, note=note)
    if health.duration is not None:
        longest = max(latest, key=lambda run: run.spent, default=None)
        yield Gauge(
            name="duration", unit="seconds", value=longest.spent if longest else None, limits=health.duration.limits,
            note=f"run {longest.id}, {longest.name}: the longest of the last runs" if longest else "no run yet",
        )  # fmt: skip


async def _rows(connection: Connection, bounds: RowBounds) -> tuple[float | None, str]:
    """An estimate: to count a large table takes longer than anybody waits for a page."""
    try:
        relation = await find(connection, bounds.table)
    except PolicyError as error:
        return None, str(error)
    if relation is None:
        return None, "there is no such table here"
    oids = [leaf.oid for leaf in relation.leaves]
    rows: float | None = await connection.fetchval(statement(_FILE, "estimated_rows"), oids)
    return (
        (None, "it has never been analyzed; ANALYZE it")
        if rows is None
        else (rows, "an estimate, by the server's statistics")
    )
