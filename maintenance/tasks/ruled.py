"""Ruled: what a rule says besides what goes: where its rows are stored first, and how late it may be."""

from __future__ import annotations

from dataclasses import replace

from maintenance.errors import PolicyError
from maintenance.models import StepStatus
from maintenance.rules import Rule
from maintenance.steps import Settled, Step
from maintenance.tasks.archiving import Plan, archived
from maintenance.tasks.survey import Survey, span


def ruled(rule: Rule, plan: Plan) -> Plan:
    """The plan of a rule, its steps with the archive and the objective that the policy names."""
    stored = archived(rule, plan)

    async def planned(survey: Survey) -> list[Step]:
        seconds = await objective(rule, survey)
        return [_with(step, seconds) for step in await stored(survey)]

    return planned


async def objective(rule: Rule, survey: Survey) -> float | None:
    """Seconds for which something that the rule wants gone may be left; None where the policy does not say.

    Raises:
        PolicyError: no interval of PostgreSQL's, or not one above zero.
    """
    wanted = rule.lag_objective or survey.policy.guards.lag_objective
    seconds = None if wanted is None else await span(survey.connection, wanted)
    if wanted is not None and seconds is None:
        raise PolicyError(
            f"lag_objective = {wanted!r} is not an interval above zero that PostgreSQL can use; write one such as "
            "'2 days'."
        )
    return seconds


def _with(step: Step, objective: float | None) -> Step:
    if isinstance(step, Settled):
        return replace(step, objective=objective, ruled=step.verdict.status is not StepStatus.ABSENT)
    return replace(step, objective=objective)
