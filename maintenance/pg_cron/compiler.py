"""The compiler: a policy, on the database that it is for, becomes the rules, sentences and tables of the procedures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from asyncpg import Connection

from maintenance import lease, policy_file, verdicts
from maintenance.catalog import bytes_of
from maintenance.database import clock, fetch_one
from maintenance.errors import PolicyError
from maintenance.names import Fragment, Table
from maintenance.pg_cron import rules
from maintenance.pg_cron.beyond import beyond, beyond_here
from maintenance.pg_cron.compiled import CompiledRule
from maintenance.policy import Policy
from maintenance.rules import Rule
from maintenance.settings import Settings
from maintenance.sql import statement
from maintenance.tasks import duplicates, vacuum
from maintenance.tasks.ruled import objective
from maintenance.tasks.survey import Survey
from maintenance.tasks.upkeep import chosen, upkeep

_LEDGER = (
    "close_dead", "close_dead_steps", "begin_run", "skip_run", "add_step", "checkpoint", "end_step", "remark_step",
    "end_run", "prune", "prune_archives",
)  # fmt: skip
USUAL = "postgres"
"""Where pg_cron keeps its jobs unless cron.database_name says otherwise."""
_GB = 1 << 30
_CHANGED = (
    "%s, or what its rule looks at, is not what the policy was compiled for, so nothing was deleted; "
    "`python -m maintenance install --pg-cron` compiles it anew"
)
_PASSED_OVER = (
    "%s was skipped by the server, so nothing was done to it; make this role its owner, or, from PostgreSQL 17, "
    "GRANT MAINTAIN ON %s to it"
)
_NOT_VACUUMED = (
    "%s was not vacuumed within %s (last: %s): its job did not run, failed, or the server skipped the table; see "
    "cron.job_run_details, and whether this role owns the table or may GRANT MAINTAIN ON %s"
)
"""What the procedures alone have to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuumed:
    """A table with a job of its own."""

    table: Table
    oid: int
    command: str
    minutes: int
    """What is between its job and the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """A policy in the words of the server."""

    database: str
    cron_database: str
    """Where pg_cron keeps its jobs."""
    digest: str
    """SHA-256 of the policy file."""
    settings: Settings
    texts: dict[str, str]
    rules: tuple[tuple[CompiledRule, str], ...]
    """Each with the fingerprint of what it was compiled for."""
    tables: tuple[Vacuumed, ...]


async def compiled(connection: Connection, settings: Settings, cron_database: str | None = None) -> Compilation:
    """Compile the policy of the settings for the database of this connection. Reads only.

    `cron_database` says where pg_cron keeps its jobs, if the server would not tell.

    Raises:
        PolicyError: the policy does not fit the database, or has what no procedure could do: all of it, by name.
    """
    policy = policy_file.load(settings.policy)
    survey = Survey(connection=connection, policy=policy, as_of=await clock(connection))
    refused = [*beyond(policy), *await beyond_here(policy, survey)]
    if refused:
        listed = "".join(f"\n  - {one}" for one in refused)
        raise PolicyError(
            f"pg_cron cannot do all that this policy says, so nothing was compiled:{listed}\nTake it out of the policy "
            "that MAINTENANCE_POLICY names, or let another scheduler run it (docs/schedulers.md)."
        )
    where = await fetch_one(connection, statement("pg_cron", "cron_database"))
    found = await _rules(policy, survey)
    fingerprint = statement("pg_cron", "fingerprint")
    return Compilation(
        database=where["own"], cron_database=cron_database or where["cron"] or USUAL,
        digest=hashlib.sha256(settings.policy.read_bytes()).hexdigest(), settings=settings, texts=_texts(),
        rules=tuple([
            (rule, await connection.fetchval(fingerprint, *map(list, zip(*rule.named, strict=True)))) for rule in found
        ]),
        tables=await _tables(policy, survey),
    )  # fmt: skip


async def _rules(policy: Policy, survey: Survey) -> list[CompiledRule]:
    """In the order of the tasks, which is that of a run."""
    found: list[tuple[Rule, CompiledRule]] = [
        *[(rule, await rules.retained(rule, survey)) for rule in policy.retention],
        *[(rule, await rules.rivalling(rule, table, survey)) for rule in policy.duplicates for table in rule.tables],
        *[(rule, await rules.orphaned(rule, table, survey)) for rule in policy.orphans for table in rule.tables],
        *[(rule, await rules.unreferred(rule, survey)) for rule in policy.unreferenced],
    ]
    for rule, _ in found:
        await objective(rule, survey)
    return [replace(made, lag_objective=rule.lag_objective or policy.guards.lag_objective) for rule, made in found]


async def _tables(policy: Policy, survey: Survey) -> tuple[Vacuumed, ...]:
    """Every table that the policy lets be vacuumed, smallest first."""
    rows = [row for row in await upkeep(survey) if not row["partitioned"]]
    sizes = {
        row["oid"]: row["bytes"] or 0
        for row in await survey.connection.fetch(statement("upkeep", "sizes"), [row["oid"] for row in rows])
    }
    options = vacuum.options(policy.vacuum, survey.connection.get_server_version().major, aged=False, alone=True)
    found = []
    for row in sorted(rows, key=lambda row: (sizes.get(row["oid"], 0), row["schema"], row["name"])):
        table = Table(schema=row["schema"], name=row["name"])
        if chosen(table, policy.vacuum.tables):
            command = statement("upkeep", "vacuum", options=options, table=table.sql)
            minutes = 1 + sizes.get(row["oid"], 0) // _GB
            found.append(Vacuumed(table=table, oid=row["oid"], command=command, minutes=minutes))
    return tuple(found)


def _texts() -> dict[str, str]:
    """Statements and sentences that the service and the procedures have in common."""
    begin = statement("ledger", "begin_step", bytes=bytes_of(Fragment("$2::oid")))
    sentences = {
        "budget": verdicts.OUT_OF_BUDGET.message, "paused": verdicts.PAUSED.message, "gone": verdicts.GONE.message,
        "held": verdicts.HELD, "missed": duplicates.MISSED,
        "limit": f", so nothing was deleted; {verdicts.way_on('%s')}",
        "skipped": lease.SKIPPED.format(holder="%s, process %s"), "changed": _CHANGED, "passed_over": _PASSED_OVER,
        "not_vacuumed": _NOT_VACUUMED,
        "overdue": verdicts.OVERDUE.format(task="%s", table="%s", rule="%s", lag="%s", allowed="%s"),
    }  # fmt: skip
    return {
        **{name: statement("ledger", name) for name in _LEDGER},
        "begin_step": begin,
        "holder": statement("lease", "holder"),
        "obstacles": statement("guards", "obstacles"),
        "leaves": statement("catalog", "leaves"),
        "fingerprint": statement("pg_cron", "fingerprint"),
        "sorted": statement("duplicates", "sorted"),
        **{name: str(text) for name, text in sentences.items()},
        **{f"remedy {state}": text for state, text in verdicts.remedies().items()},
    }
