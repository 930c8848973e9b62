"""Plans and runs as JSON documents: the contract with schedulers and scripts."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from maintenance.grants import Grants
from maintenance.report.situation import Gauge, Situation
from maintenance.report.standing import standing
from maintenance.runs import Plan, Run, StepResult
from maintenance.steps import Settled, Step

Document = dict[str, Any]


def plan_document(plan: Plan) -> Document:
    """`{as_of, steps: [...]}`; `rows` is null where nobody could count, `exact` is false where it is an estimate."""
    return {"as_of": _instant(plan.as_of), "approve": plan.approve, "steps": [_planned(step) for step in plan.steps]}


def run_document(run: Run) -> Document:
    """`{id, name, status, ..., steps: [...]}`; instants are ISO 8601 in UTC, durations seconds, sizes bytes."""
    document = asdict(run)
    for instant in ("as_of", "started_at", "ended_at"):
        document[instant] = _instant(document[instant])
    document["steps"] = [_done(step) for step in run.steps]
    document["spent"] = round(run.spent, 3)
    return document


def history_document(runs: list[Run]) -> Document:
    """`{runs: [...]}`, newest first, without their steps."""
    return {"runs": [{key: value for key, value in run_document(run).items() if key != "steps"} for run in runs]}


def grants_document(grants: Grants) -> Document:
    """`{role, grants, memberships, monitoring, remarks}`; grants are `{sql, why}`, in running order."""
    return {
        "role": grants.role,
        "grants": [{"sql": str(grant), "why": grant.why} for grant in grants.grants],
        "memberships": [{"sql": str(grant), "why": grant.why} for grant in grants.memberships],
        "monitoring": [{"sql": str(grant), "why": grant.why} for grant in grants.monitoring],
        "remarks": list(grants.remarks),
    }


def situation_document(situation: Situation) -> Document:
    """`{state, reasons, as_of, ...}`: what the report tells, without its plots; `findings` is null if nobody looked."""
    found = standing(situation)
    return {
        "state": found.state.name.lower(),
        "reasons": list(found.reasons),
        "database": situation.database,
        "as_of": _instant(situation.as_of),
        "ledger": situation.ledger,
        "paused": situation.pause,
        "lags": [{**asdict(lag), "at": _instant(lag.at)} for lag in situation.lags],
        "health": [_gauge(gauge) for gauge in situation.gauges],
        "last_runs": history_document(list(situation.latest))["runs"],
        "next_runs": [{**asdict(run), "at": _instant(run.at), "due": _instant(run.due)} for run in situation.next_runs],
        "findings": None if situation.findings is None else [asdict(finding) for finding in situation.findings],
        "unseen": list(situation.unseen),
        "runs": [run_document(run) for run in situation.runs],
    }


def error_document(error: Exception) -> Document:
    """`{error: {type, message}}`, what `--json` prints where there is no plan or run to show."""
    return {"error": {"type": type(error).__name__, "message": str(error)}}


def _planned(step: Step) -> Document:
    verdict = step.verdict if isinstance(step, Settled) else None
    return {
        "task": step.task,
        "table": str(step.table),
        "strategy": step.strategy,
        "rows": step.rows,
        "updated": step.updated,
        "exact": step.exact,
        "expected": None if step.expected is None else round(step.expected, 3),
        "summary": step.summary,
        "status": verdict.status if verdict else "pending",
        "stop_reason": verdict.stop_reason if verdict else None,
        "error": verdict.message if verdict else None,
        "sqlstate": verdict.sqlstate if verdict else None,
    }


def _done(step: StepResult) -> Document:
    document = {**asdict(step), "seconds": round(step.seconds, 3), "paused": round(step.paused, 3)}
    del document["id"], document["rule"], document["cursor"]
    return document


def _gauge(gauge: Gauge) -> Document:
    return {**asdict(gauge), "band": gauge.band}


def _instant(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
