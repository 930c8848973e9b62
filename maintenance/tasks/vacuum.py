"""vacuum: tables with dead rows, new inserts or old transaction IDs, neediest first, one VACUUM (ANALYZE) a table."""

from __future__ import annotations

from dataclasses import dataclass

from asyncpg import Connection, Record

from maintenance.models import Batch, Cursor, Step
from maintenance.names import Fragment, Table, listed
from maintenance.policy import Policy, Vacuum
from maintenance.sql import statement
from maintenance.tasks.stamp import stamped
from maintenance.tasks.survey import Draft, Survey, Task
from maintenance.tasks.upkeep import chosen, upkeep

NAME = "vacuum"


@dataclass(frozen=True, slots=True, kw_only=True)
class VacuumStep(Step):
    """One VACUUM, which cannot run inside a transaction and is done when its time stamp has moved."""

    transactional = False

    task: str = NAME
    strategy: str = "vacuum"
    options: Fragment

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """VACUUM the table, and look whether the server really did.

        Raises:
            Blocked: the server skipped the table, as it does with no more than a warning where a privilege is missing.
        """
        before = int(await connection.fetchval(statement("upkeep", "dead_rows"), self.oid))
        command = statement("upkeep", "vacuum", options=self.options, table=self.table.sql)
        await stamped(connection, self.table, self.oid, command, statement("upkeep", "last_vacuum"))
        after = int(await connection.fetchval(statement("upkeep", "dead_rows"), self.oid))
        note = f"{max(before - after, 0):,} dead rows removed"
        if after > before * 0.5 and after > 0:
            note += f", {after:,} could not be: an old transaction, a replication slot or a standby may still need them"
        return Batch(done=True, note=note)


def drafts(policy: Policy) -> list[Draft]:
    """One for the whole database: what needs it, its statistics tell."""
    return [Draft(task=NAME, table=None, plan=_plan)]


async def _plan(survey: Survey) -> list[Step]:
    rule = survey.policy.vacuum
    major = survey.connection.get_server_version().major
    needy: list[tuple[float, str, Table, Record]] = []
    for row in await upkeep(survey):
        table = Table(schema=row["schema"], name=row["name"])
        reasons = _reasons(rule, row, survey)
        if reasons and not row["partitioned"] and chosen(table, rule.tables):
            why = ", ".join(text for _, text in sorted(reasons, reverse=True))
            needy.append((max(score for score, _ in reasons), why, table, row))
    needy.sort(key=lambda one: -one[0])
    return [
        VacuumStep(
            table=table, rows=0, exact=True, summary=why, need=need, oid=row["oid"],
            options=_options(rule, major, aged=_is_aged(rule, row), last=place == len(needy)),
        )
        for place, (need, why, table, row) in enumerate(needy, start=1)
    ]  # fmt: skip


def _reasons(rule: Vacuum, row: Record, survey: Survey) -> list[tuple[float, str]]:
    """Why a table needs VACUUM, each with a score of 1 where a threshold is just reached."""
    rows = max(row["rows"], 0)
    measures = (
        (row["dead"], rule.dead_rows + rule.dead_fraction * rows, "dead rows"),
        (row["inserted"], rule.insert_rows + rule.insert_fraction * rows, "rows inserted since the last vacuum"),
        (row["xid_age"], rule.xid_age, "transactions since the last freeze"),
        (row["multixact_age"], rule.xid_age, "multixacts since the last freeze"),
    )
    reasons = [(float(is_ / max(limit, 1)), f"{is_:,} {what}") for is_, limit, what in measures if is_ > limit]
    table = Table(schema=row["schema"], name=row["name"])
    changed = survey.changed_at.get(str(table))
    vacuumed = row["last_vacuum"]
    if changed and (vacuumed is None or vacuumed < changed):
        reasons.append((1.0, f"a run deleted from it, {row['dead']:,} dead rows"))
    return reasons


def _is_aged(rule: Vacuum, row: Record) -> bool:
    return bool(max(row["xid_age"], row["multixact_age"]) > rule.xid_age)


def _options(rule: Vacuum, major: int, *, aged: bool, last: bool) -> Fragment:
    options = [Fragment("analyze"), Fragment(f"truncate {'true' if rule.truncate else 'false'}")]
    if aged:
        options.append(Fragment("freeze"))
    if major >= 16 and not last:
        # Every VACUUM looks through pg_class for the database-wide horizon; once, at the end, is enough.
        options.append(Fragment("skip_database_stats"))
    return listed(options)


TASK = Task(name=NAME, drafts=drafts, late=True)
