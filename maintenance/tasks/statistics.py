"""statistics: ANALYZE where enough rows have changed since the planner last looked, or where a run deleted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from asyncpg import Connection, Record

from maintenance.models import Batch, Cursor
from maintenance.names import Fragment, Table
from maintenance.policy import Policy
from maintenance.sql import statement
from maintenance.steps import Step
from maintenance.tasks.stamp import stamped
from maintenance.tasks.survey import Draft, Survey, Task
from maintenance.tasks.upkeep import chosen, upkeep

NAME = "statistics"
ANALYZE_ONLY = 18
"""Major from which ANALYZE takes ONLY. https://www.postgresql.org/docs/18/sql-analyze.html"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsStep(Step):
    """One ANALYZE, done when its time stamp has moved."""

    transactional = False

    task: str = NAME
    strategy: str = "analyze"
    only: Fragment
    """`only` for a partitioned parent where the server can leave its partitions alone."""

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """ANALYZE the table, and look whether the server really did.

        Raises:
            Blocked: the server skipped the table.
        """
        command = statement("upkeep", "analyze", only=self.only, table=self.table.sql)
        await stamped(connection, self.table, self.oid, command, statement("upkeep", "last_analyze"))
        return Batch(done=True)


def drafts(policy: Policy) -> list[Draft]:
    """One for the whole database: what needs it, its statistics tell."""
    return [Draft(task=NAME, table=None, plan=_plan)]


async def _plan(survey: Survey) -> list[Step]:
    major = survey.connection.get_server_version().major
    steps: list[Step] = []
    rows = await upkeep(survey)
    for row in sorted(rows, key=lambda row: bool(row["partitioned"])):
        table = Table(schema=row["schema"], name=row["name"])
        reason = _reason(survey, row, table)
        if row["partitioned"] and not survey.only_changed:
            reason = _parent_reason(row, major, {step.oid for step in steps})
        if reason is None or not (survey.only_changed or chosen(table, survey.policy.vacuum.tables)):
            continue
        need, why = reason
        only = Fragment("only" if row["partitioned"] and major >= ANALYZE_ONLY else "")
        steps.append(
            StatisticsStep(
                table=table, oid=row["oid"], rows=0, exact=True, summary=why, need=need, only=only,
                # A parent reads its partitions, which must have been analyzed by then, and before 18 locks them.
                jobs=1 if row["partitioned"] else survey.policy.vacuum.jobs,
            )
        )  # fmt: skip
    return steps


def _parent_reason(row: Record, major: int, planned: set[int]) -> tuple[float, str] | None:
    """Autovacuum never analyzes a partitioned parent: the planner's view of the whole ages unseen."""
    analyzed, leaves = row["last_analyze"], row["leaf_analyzed"]
    # Before 18, ANALYZE of the parent goes on to its partitions, whose stamps are then younger by as long as it took.
    slack = timedelta(0) if major >= ANALYZE_ONLY else timedelta(hours=1)
    stale = leaves is not None and (analyzed is None or analyzed + slack < leaves)
    if stale or not planned.isdisjoint(row["leaves"]):
        return 0.0, "its partitions have been analyzed since"
    return None


def _reason(survey: Survey, row: Record, table: Table) -> tuple[float, str] | None:
    analyzed = row["last_analyze"]
    changed = survey.changed_at.get(str(table))
    if changed and (analyzed is None or analyzed < changed):
        return 1.0, "a run deleted from it"
    if survey.only_changed:
        return None
    if row["partitioned"]:
        return None
    rule = survey.policy.vacuum
    limit = rule.analyze_rows + rule.analyze_fraction * max(row["rows"], 0)
    if row["modified"] > limit:
        return row["modified"] / max(limit, 1), f"{row['modified']:,} rows changed since the last analyze"
    if analyzed is None and row["live"] > 0:
        return 1.0, "never analyzed"
    return None


TASK = Task(name=NAME, drafts=drafts, late=True)
