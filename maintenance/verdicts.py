"""Verdicts: why a step ends, or does not begin, in the words that ledger, console and telemetry repeat."""

from __future__ import annotations

import math
import shlex

import asyncpg
from asyncpg import Connection
from asyncpg import exceptions as pg

from maintenance.budget import roughly, spelled
from maintenance.models import StepStatus, StopReason, Verdict
from maintenance.refusals import first_line
from maintenance.steps import Settled, Step, Stopped

ALMOST_OVER = 0.2
"""Seconds of budget below which a statement that was cut off was cut off by the budget."""
_MOST = 0.95
"""Of a whole budget, what a step may be expected to take if a later run is to have room for it: planning takes some."""
_REMEDIES: dict[type[asyncpg.PostgresError], str] = {
    pg.LockNotAvailableError: "; the application held what we wanted, three times: run again when it is quieter, "
    "or raise MAINTENANCE_LOCK_TIMEOUT",
    pg.InsufficientPrivilegeError: "; grant the role what `python -m maintenance sql grants --role NAME` prints",
    pg.ForeignKeyViolationError: "; rows of another table refer to what the rule would delete: give that table a rule, "
    "its foreign key ON DELETE CASCADE, or this rule a `where`",
    pg.RestrictViolationError: "; rows of another table refer to what the rule would delete: give this rule a `where`",
}
HELD = " rows were locked by other transactions and were passed over; the next run takes them"
"""What follows the number of rows that somebody held all along."""
_HIDDEN = (
    "; its policies hide rows from this role, and what is hidden cannot be judged, so nothing was deleted: let the "
    "owner run this, or ALTER ROLE ... BYPASSRLS"
)
OVERDUE = "{task} {table}: what the rule '{rule}' wants gone has been due for {lag}, and lag_objective allows {allowed}"
OUT_OF_BUDGET = Verdict(
    status=StepStatus.INTERRUPTED,
    stop_reason=StopReason.BUDGET,
    message="the budget is used up, or a signal ended the run; the next run goes on from here",
)
GONE = Verdict(
    status=StepStatus.ABSENT,
    stop_reason=StopReason.DONE,
    message="the table was dropped, renamed or replaced after it was planned",
)
PAUSED = Verdict(
    status=StepStatus.INTERRUPTED,
    stop_reason=StopReason.PAUSED,
    message="all runs of this database were paused; `python -m maintenance resume` lets the next run go on from here",
)


def remedies() -> dict[str, str]:
    """What to do about some of the server's refusals, by their SQLSTATE, to follow its own words."""
    return {str(kind.sqlstate): text for kind, text in _REMEDIES.items()}


def way_on(task: str) -> str:
    """What to do about a limit that has stopped a rule."""
    return (
        f"`python -m maintenance plan {task}` shows it and ends with the words that approve it; or raise the "
        "limit in the policy, or set ramp = so many rows a run"
    )


def failure(connection: Connection, error: asyncpg.PostgresError) -> Verdict:
    """The verdict on a step that the server refused.

    Raises:
        PostgresError: there is no connection any more, so nothing else can be done either.
    """
    if connection.is_closed():
        raise error
    reason = StopReason.LOCK if isinstance(error, pg.LockNotAvailableError) else StopReason.ERROR
    remedy = next((text for kind, text in _REMEDIES.items() if isinstance(error, kind)), "")
    if isinstance(error, pg.InsufficientPrivilegeError) and "row-level security" in str(error):
        remedy = _HIDDEN
    # Not the details: they quote the row.
    message = " ".join(f"{first_line(error)}{remedy}".split())
    return Verdict(status=StepStatus.FAILED, stop_reason=reason, message=message, sqlstate=error.sqlstate)


def put_off(step: Step, left: float, whole: float) -> Verdict:
    """The verdict on a step that is expected to take longer than what is left of the budget; it is not begun."""
    expected = step.expected or 0.0
    message = f"put off: {roughly(expected)} expected, "
    if expected > whole * _MOST:
        budget = f"{math.ceil(expected * 1.5 / 60)}m"
        words = shlex.join(["run", step.task, "--tables", str(step.table), "--budget", budget])
        message += (
            f"the whole budget is {spelled(whole)}, so no run would ever begin with it: raise MAINTENANCE_BUDGET, or "
            f"run it by itself, `python -m maintenance {words}`"
        )
    else:
        message += f"{spelled(left)} of the budget left; the next run takes it before other tables"
    return Verdict(status=StepStatus.INTERRUPTED, stop_reason=StopReason.BUDGET, message=message)


def by_guard(message: str) -> Verdict:
    """The verdict of a guard."""
    return Verdict(status=StepStatus.INTERRUPTED, stop_reason=StopReason.GUARD, message=message)


def blocked(message: str) -> Verdict:
    """The verdict on what somebody has to change before it can be done."""
    return Verdict(status=StepStatus.BLOCKED, stop_reason=StopReason.BLOCKED, message=message)


def guarded(step: Step, message: str) -> Settled:
    """The step, stopped by a guard before it began."""
    return ended(step, f"guard: {message}", by_guard(message))


def ended(step: Step, summary: str, verdict: Verdict) -> Settled:
    """The step, over before it began."""
    return Settled(
        task=step.task, strategy=step.strategy, table=step.table, oid=step.oid, subject=step.subject, rule=step.rule,
        rows=step.rows, exact=step.exact, summary=summary, verdict=verdict,
    )  # fmt: skip


def limited(step: Step, message: str, going: int) -> Stopped:
    """The step, stopped by a limit of its rule before it began."""
    return Stopped(
        task=step.task, strategy=step.strategy, table=step.table, oid=step.oid, subject=step.subject, rule=step.rule,
        rows=step.rows, exact=step.exact, summary=f"guard: {message}", verdict=by_guard(message), step=step,
        going=going,
    )  # fmt: skip


def held(rows: int) -> Verdict:
    """The verdict on a step that did all but what others held all along."""
    return Verdict(
        status=StepStatus.INTERRUPTED,
        stop_reason=StopReason.LOCK,
        message=f"{rows:,}{HELD}",
    )
