"""statistics: ANALYZE where enough rows have changed since the planner last looked, or where a run deleted."""

from __future__ import annotations

from dataclasses import dataclass

from asyncpg import Connection, Record

from maintenance.models import Batch, Cursor, Step
from maintenance.names import Table
from maintenance.policy import Policy
from maintenance.sql import statement
from maintenance.tasks.stamp import stamped
from maintenance.tasks.survey import Draft, Survey, Task
from maintenance.tasks.upkeep import chosen, upkeep

NAME = "statistics"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsStep(Step):
    """One ANALYZE, done when its time stamp has moved."""

    transactional = False

    task: str = NAME
    strategy: str = "analyze"

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """ANALYZE the table, and look whether the server really did.

        Raises:
            Blocked: the server skipped the table.
        """
        command = statement("upkeep", "analyze", table=self.table.sql)
        await stamped(connection, self.table, self.oid, command, statement("upkeep", "last_analyze"))
        return Batch(done=True)


def drafts(policy: Policy) -> list[Draft]:
    """One for the whole database: what needs it, its statistics tell."""
    return [Draft(task=NAME, table=None, plan=_plan)]


async def _plan(survey: Survey) -> list[Step]:
    steps: list[Step] = []
    for row in await upkeep(survey):
        table = Table(schema=row["schema"], name=row["name"])
        reason = _reason(survey, row, table)
        if reason is None or not (survey.only_changed or chosen(table, survey.policy.vacuum.tables)):
            continue
        need, why = reason
        steps.append(StatisticsStep(table=table, rows=0, exact=True, summary=why, need=need, oid=row["oid"]))
    return steps


def _reason(survey: Survey, row: Record, table: Table) -> tuple[float, str] | None:
    analyzed = row["last_analyze"]
    changed = survey.changed_at.get(str(table))
    if changed and (analyzed is None or analyzed < changed):
        return 1.0, "a run deleted from it"
    if survey.only_changed:
        return None
    if row["partitioned"]:
        # Autovacuum never analyzes a partitioned parent: the planner's view of the whole ages unseen.
        leaves = row["leaf_analyzed"]
        stale = leaves is not None and (analyzed is None or analyzed < leaves)
        return (1.0, "its partitions have been analyzed since") if stale else None
    rule = survey.policy.vacuum
    limit = rule.analyze_rows + rule.analyze_fraction * max(row["rows"], 0)
    if row["modified"] > limit:
        return row["modified"] / max(limit, 1), f"{row['modified']:,} rows changed since the last analyze"
    if analyzed is None and row["live"] > 0:
        return 1.0, "never analyzed"
    return None


TASK = Task(name=NAME, drafts=drafts, late=True)
