"""Archiving: what a rule that names an archive means for its steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from maintenance.models import Archive, StepStatus, StopReason, Verdict
from maintenance.rules import Rule
from maintenance.sql import statement
from maintenance.steps import Settled, Step
from maintenance.tasks.survey import Survey, cutoff

Plan = Callable[[Survey], Awaitable[list[Step]]]


def archived(rule: Rule, plan: Plan) -> Plan:
    """The plan of a rule, its steps with the archive that the rule names."""
    if rule.archive is None:
        return plan
    where = rule.archive

    async def planned(survey: Survey) -> list[Step]:
        before = None if rule.archive_keep is None else await cutoff(survey, rule.archive_keep, "archive_keep")
        archive = Archive(where=where, before=before)
        return [await _archived(step, archive, survey) for step in await plan(survey)]

    return planned


async def _archived(step: Step, archive: Archive, survey: Survey) -> Step:
    """The step with its archive; or one that is blocked, where its deletes would take rows that no archive sees."""
    if isinstance(step, Settled):
        return step
    row = await survey.connection.fetchrow(statement("archive", "cascade"), step.oid)
    if row is None:
        return replace(step, archive=archive, summary=f"{step.summary}; archived first, in {archive.where}")
    message = (
        f"the foreign key {row['name']} of {row['child']} is {row['action']}, so what goes from {step.table} would "
        f"change rows there that no archive has, and nothing was deleted; make the key ON DELETE NO ACTION and give "
        f"{row['child']} a rule of its own, or take `archive` out of this rule"
    )
    verdict = Verdict(status=StepStatus.BLOCKED, stop_reason=StopReason.BLOCKED, message=message)
    return Settled(
        task=step.task, strategy=step.strategy, table=step.table, oid=step.oid, subject=step.subject, rule=step.rule,
        rows=step.rows, exact=step.exact, summary=f"blocked: {message}", verdict=verdict,
    )  # fmt: skip
