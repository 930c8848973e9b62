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
from maintenance.models import StepStatus, StopReason
from maintenance.names import quoted
from maintenance.obstacles import Obstacle, obstacles
from maintenance.planner import check, plan, refuse_twins
from maintenance.steps import Settled, Step
from maintenance.tasks import TASKS
from maintenance.tasks.survey import Draft, Task


async def _find(view: View) -> list[Finding]:
    found = view.found
    found += _placed(view)
    if not any(view.policy.tables()):
        fact = f"{view.settings.policy} has no rule that deletes anything"
        found.append(finding("policy.empty", "policy", fact))
    steps: list[Step] = []
    fit: list[Task] = []
    for task in TASKS:
        try:
            await check([task], view.survey())
        except PolicyError as error:
            found.append(_misfit(task.name, error))
            continue
        fit += [] if task.late else [task]
    for task in fit:
        own: list[Step] = []
        for draft in task.drafts(view.policy):
            try:
                own += await _planned(task, draft, view)
            except PolicyError as error:
                found.append(_misfit(f"{draft.task} {draft.table or ''}".strip(), error))
        try:
            refuse_twins(own)
        except PolicyError as error:
            found.append(_misfit("policy", error))
        steps += own
    found += _settled(view, steps)
    at = {step.oid: step for step in steps if step.deletes and step.oid}
    standing = await obstacles(view.connection)
    for oid, obstacle in standing.items():
        if oid in at:
            found += _hindered(at[oid], obstacle)
    return found


def _misfit(subject: str, error: PolicyError) -> Finding:
    return finding("policy.misfit", subject, str(error).rstrip("."))


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
