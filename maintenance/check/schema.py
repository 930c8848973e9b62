"""Schema: the policy against the tables: what the planner makes of each rule, and what stands in the rule's way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from maintenance.archive.store import required
from maintenance.budget import Budget
from maintenance.check.kinds import finding
from maintenance.check.view import Look, View
from maintenance.errors import PolicyError, SettingsError
from maintenance.findings import Finding
from maintenance.models import (
    StepStatus,
    StopReason,
)
from maintenance.names import quoted
from maintenance.obstacles import Obstacle, obstacles
from maintenance.planner import check, plan
from maintenance.steps import (
    Settled,
    Step,
)
from maintenance.tasks import TASKS
from maintenance.tasks.survey import Draft, Task


async def _find(view: View) -> list[Finding]:
    found = list(_placed(view))
    steps: list[Step] = []
    for task in TASKS:
        try:
            await check([task], view.survey())
        except PolicyError as error:
            found.append(finding("policy.misfit", task.name, str(error).rstrip(".")))
            continue
        if task.late:
            continue
        for draft in task.drafts(view.policy):
            try:
                steps += await _planned(task, draft, view)
            except PolicyError as error:
                found.append(
                    finding("policy.misfit", f"{draft.task} {draft.table or ''}".strip(), str(error).rstrip("."))
                )
    found += _settled(view, steps)
    try:
        await plan([task for task in TASKS if not task.late], view.survey(), None, Budget(view.budget.left))
    except PolicyError as error:
        # Rules that only together do not fit, such as two on one table by different names.
        told = str(error).rstrip(".")
        if told not in {one.fact for one in found}:
            found.append(finding("policy.misfit", "policy", told))
    at = {step.oid: step for step in steps if step.deletes and step.oid}
    standing = await obstacles(view.connection)
    for oid, obstacle in standing.items():
        if oid in at:
            found += _hindered(at[oid], obstacle)
    return found


def _placed(view: View) -> Iterator[Finding]:
    """An archive that the settings give no place."""
    try:
        required(view.policy, view.settings)
    except SettingsError as error:
        yield finding("policy.misfit", "archive", str(error).rstrip("."), remedy="set MAINTENANCE_ARCHIVE_URL")


async def _planned(task: Task, draft: Draft, view: View) -> list[Step]:
    alone = replace(task, drafts=lambda _: [draft])
    return await plan([alone], view.survey(), None, Budget(view.budget.left))


def _settled(view: View, steps: Iterable[Step]) -> Iterator[Finding]:
    settled = [step for step in steps if isinstance(step, Settled)]
    absent = [step for step in settled if step.verdict.status is StepStatus.ABSENT]
    if absent and len(absent) == len(list(steps)):
        yield finding("policy.elsewhere", view.database, "not one table of the policy is in this database")
        return
    tasks: dict[str, list[str]] = {}
    for step in absent:
        tasks.setdefault(str(step.table), []).append(step.task)
    for table, names in tasks.items():
        fact = f"this database has no such table, for {' and '.join(dict.fromkeys(names))}"
        yield finding("policy.absent", table, fact)
    for step in settled:
        message = step.verdict.message or step.summary
        # Who has the table at this moment tells nothing of tonight.
        if step.verdict.status is StepStatus.INTERRUPTED or step.verdict.stop_reason is StopReason.LOCK:
            view.cannot_see("schema", f"{step.task} {step.table}", message)
        elif step.verdict.status in (StepStatus.FAILED, StepStatus.BLOCKED):
            yield finding("policy.refused", f"{step.task} {step.table}", message)


def _hindered(step: Step, obstacle: Obstacle) -> Iterator[Finding]:
    table = str(step.table)
    if obstacle.rules:
        rule = obstacle.rules[0]
        cure = f"drop rule {quoted(rule)} on {step.table.sql};"
        fact = f"the rule {rule} rewrites every DELETE, and what it would do instead nobody can foresee"
        remedy = "drop the rule, or take the table out of the policy"
        yield finding("delete.blocked", table, fact, cure=cure, remedy=remedy, risky=True)
    if obstacle.anonymous:
        cure = f"alter table {step.table.sql} replica identity full;"
        fact = f"the publication {obstacle.anonymous[0]} replicates its deletes, and it has no replica identity"
        yield finding(
            "delete.blocked", table, fact, cure=cure, remedy="give it a primary key, or REPLICA IDENTITY FULL"
        )
    if obstacle.triggers:
        yield finding("delete.triggers", table, f"before each delete runs {', '.join(obstacle.triggers)}")
    if obstacle.children:
        yield finding("delete.inherited", table, f"{', '.join(obstacle.children)} inherit from it")


SCHEMA = Look(name="schema", what="the policy against the tables", find=_find)
