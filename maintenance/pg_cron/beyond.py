"""Beyond: what of a policy no procedure in the database could do. It is refused by name, never dropped silently."""

from __future__ import annotations

from collections.abc import Iterator

from maintenance.catalog import Relation
from maintenance.names import TableName
from maintenance.policy import Policy
from maintenance.rules import Rule
from maintenance.sql import statement
from maintenance.tasks import expired, retention
from maintenance.tasks.partitions import parts
from maintenance.tasks.survey import Survey, located

_NEEDS = ("dead_rows", "dead_fraction", "insert_rows", "insert_fraction", "xid_age", "analyze_rows", "analyze_fraction")


def beyond(policy: Policy) -> Iterator[str]:
    """What the policy itself says that cannot be compiled, one sentence each."""
    rules: tuple[tuple[str, Rule], ...] = (
        *((f"retention of {rule.table}", rule) for rule in policy.retention),
        *((f"duplicates of {', '.join(map(str, rule.tables))}", rule) for rule in policy.duplicates),
        *((f"orphans of {', '.join(map(str, rule.tables))}", rule) for rule in policy.orphans),
        *((f"unreferenced of {rule.table}", rule) for rule in policy.unreferenced),
    )
    for name, rule in rules:
        if rule.archive is not None:
            yield f"{name}: archive = {rule.archive!r}, as the server has no way to store files or blobs"
    for key in sorted(policy.lag.model_fields_set):
        yield f"[lag] {key}: a procedure cannot see how far replicas are behind, or who waits, while it works"
    if "clock" in policy.guards.model_fields_set:
        yield "[guards] clock: inside the server there is no other clock to compare its own with"
    for shrink in policy.shrink:
        yield f"[[shrink]] of {', '.join(shrink.tables)}: VACUUM FULL cannot be made, nor timed, by a procedure"
    if policy.vacuum.window is not None:
        yield f"[vacuum] window = {str(policy.vacuum.window)!r}: jobs run at the minutes that they are scheduled for"
    named = policy.vacuum.model_fields_set
    for key in _NEEDS:
        if key in named:
            yield f"[vacuum] {key}: a job is one fixed VACUUM, and cannot ask whether its table needs it"
    if policy.vacuum.jobs > 1:
        yield f"[vacuum] jobs = {policy.vacuum.jobs}: jobs run at the minutes that they are scheduled for"


async def beyond_here(policy: Policy, survey: Survey) -> list[str]:
    """What cannot be compiled for this database, as its tables are."""
    found = []
    for rule in policy.retention:
        relation = await located(survey, expired.NAME, rule.table)
        if not isinstance(relation, Relation) or rule.partitions == "rows":
            continue
        plain = rule.where is None and rule.keep_per_key is None
        if plain and await parts(survey.connection, relation, await retention.expired_of(rule, relation, survey)):
            found.append(
                f"retention of {relation.table}: whole partitions are detached concurrently, which no procedure may "
                'do; partitions = "rows" empties them row by row'
            )
    ruled: list[tuple[str, TableName, Rule]] = [
        *(("retention", rule.table, rule) for rule in policy.retention),
        *(("duplicates", table, rule) for rule in policy.duplicates for table in rule.tables),
        *(("orphans", table, rule) for rule in policy.orphans for table in rule.tables),
        *(("unreferenced", rule.table, rule) for rule in policy.unreferenced),
    ]
    for task, table, limited in ruled:
        relation = await located(survey, task, table)
        if isinstance(relation, Relation) and limited.reach.limited:
            key = await survey.connection.fetchval(statement("pg_cron", "cascading"), relation.oid)
            if key is not None:
                found.append(
                    f"{task} of {relation.table}: its limits would have to count what the foreign key {key} takes "
                    "along; set max_fraction = 1 and no max_rows, or let the service run this policy"
                )
    return found
