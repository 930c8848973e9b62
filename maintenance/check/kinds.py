"""Kinds: every finding that there can be, by its code: how bad it is, what it leads to, what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from maintenance.findings import Finding, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What all findings of one code have in common."""

    code: str
    severity: Severity
    consequence: str
    remedy: str


_REWRITE = (
    "a rule of `[[shrink]]`, which rewrites it within limits; pg_repack; or VACUUM FULL while nobody needs the table: "
    "it locks it, and needs its size on the disk"
)
_ERRORS = (
    ("connection.refused", "nothing can be done on this database", "see the message"),
    ("connection.lost", "what was not looked at by then is unknown, and a run would have ended there too",
     "look into the server's log, then check again"),
    ("privilege.missing", "a rule of the policy is refused by the server, and its step fails",
     "grant it; `python -m maintenance sql grants` prints all that the role needs"),
    ("privilege.ownership", "VACUUM and ANALYZE skip the table with a warning, and the step is `blocked`",
     "before PostgreSQL 17 only a table's owner may: make the role a member of it, or run the four other tasks only"),
    ("rls.active", "the policy's rules are refused there: with rows hidden, a parent might seem to be gone",
     "let a role with BYPASSRLS or the table's owner run it"),
    ("server.pooled", "the lease, time-outs and prepared statements of a session do not hold, so two runs may overlap",
     "let PGPORT be that of the server itself (5432)"),
    ("server.clock", "no rule deletes anything, as nobody can tell what is old", "set the clocks right"),
    ("ledger.forbidden", "no run can begin, as it could not be written down",
     "`install` as the database's owner, then the grants of `python -m maintenance sql grants`"),
    ("policy.misfit", "a run fails before anything is touched", "mend the rule, or the table"),
    ("policy.elsewhere", "a run fails, as there is nothing that it could do",
     "check MAINTENANCE_POLICY, PGDATABASE and the role's search_path"),
    ("policy.refused", "the step fails in each run", "see the message"),
    ("delete.blocked", "nothing can be deleted there, and the step is `blocked`", "see the message"),
    ("runs.overdue", "what should be gone stays, and becomes more every day",
     "look at the schedule, the app and the pause switch; `python -m maintenance run` does the work now"),
    ("runs.failed", "the work that failed is not done", "`python -m maintenance history --run ID` has the messages"),
    ("schedule.missed", "what should be gone stays, and becomes more every day",
     "look whether the app, or pg_cron, is running and can log in; `python -m maintenance run` does the work now"),
    ("schedule.inactive", "pg_cron does not call it", "activate the job, or take it out with `install --remove`"),
    ("schedule.failed", "pg_cron called it, and it was not done", "look into cron.job_run_details"),
    ("autovacuum.blind", "nobody counts rows, so neither autovacuum nor the policy's VACUUM and ANALYZE find any work",
     "turn track_counts on (on Azure: the server parameter)"),
    ("xid.exhausted", "VACUUM gives up all else to freeze; at 2.1 billion the server takes no more writes",
     "find what pins the horizon, then VACUUM the oldest tables"),
)  # fmt: skip
_WARNINGS = (
    ("connection.plain", "who can read the network reads the login and the data", "unset PGSSLMODE (verify-full)"),
    ("connection.unverified", "the login goes to whoever answers by this name", "unset PGSSLMODE (verify-full)"),
    ("login.weak", "who reaches the server may log in as this role",
     "let pg_hba.conf ask for scram-sha-256, or use Entra ID"),
    ("role.expiring", "from then on no run can log in", "ALTER ROLE ... VALID UNTIL, or a login without a password"),
    ("server.ended", "holes in it are not mended any more, and Azure upgrades it when it likes", "upgrade the server"),
    ("server.connections", "a run may not get a connection", "raise max_connections, or look who holds so many"),
    ("lag.unseen", "the limit is off in every run", "grant what the message says, or take it out of the policy"),
    ("delete.inherited", "rows of the tables that inherit from it are not judged",
     "name those tables in the policy too"),
    ("policy.empty", "runs end well and delete nothing, as a file that was cut off would have it",
     "write its rules, or set MAINTENANCE_POLICY to the file that has them"),
    ("ledger.missing", "no run has ever been here, so nothing of the policy was done",
     "`python -m maintenance run`, or `install`; then a schedule"),
    ("runs.never", "nothing of the policy was ever done here", "`python -m maintenance run`, then a schedule"),
    ("runs.paused", "no run does anything", "`python -m maintenance resume`"),
    ("runs.dead", "its work is not done; the next run writes that down and goes on", "look what ended it, then run"),
    ("runs.unfinished", "what comes is more than what is done", "raise MAINTENANCE_BUDGET, or run more often"),
    ("retention.late", "a run that ends well is not enough: what should be gone is still there",
     "docs/operations.md, A rule is late: the rule's last steps say what stopped it"),
    ("runs.guarded", "these rows stay, whatever the schedule, until somebody decides",
     "mend the rule or its table, or let it pass with --approve, as the plan says"),
    ("runs.vacuum_overdue", "dead rows stay, and tables and indexes grow", "look at the weekly schedule"),
    ("deleter.cron", "two rules of age on one table: what the archive or the guards of one keep, the other deletes",
     "keep one of them"),
    ("deleter.unknown", "two rules of age on one table: what the archive or the guards of one keep, the other deletes",
     "find it, and keep one of them"),
    ("index.invalid", "each write keeps it up to date, and no query can use it",
     "drop it, or REINDEX INDEX CONCURRENTLY where it is wanted"),
    ("foreign_key.unindexed", "each row that the policy deletes from the parent reads all of this table",
     "an index that leads with the key's columns"),
    ("autovacuum.off", "between our runs nobody vacuums, and nobody keeps statistics fresh",
     "turn autovacuum on (on Azure: the server parameter)"),
    ("autovacuum.table_off", "between our runs nobody vacuums this table", "let autovacuum have it"),
    ("autovacuum.behind", "the table and its indexes grow by what could be used again",
     "look what pins the horizon; lower autovacuum_vacuum_scale_factor for it"),
    ("autovacuum.starved", "tables wait for their turn while they grow",
     "more workers, or a lower autovacuum_vacuum_cost_delay"),
    ("xid.age", "autovacuum's forced VACUUM does not get through; without it the server stops writes in the end",
     "find what pins the horizon, then VACUUM the oldest tables"),
    ("horizon.transaction", "VACUUM cannot remove what was deleted since",
     "end the session, or have its application commit"),
    ("horizon.prepared", "VACUUM cannot remove what was deleted since, and its locks stay",
     "commit it or roll it back"),
    ("horizon.slot", "VACUUM cannot remove what was deleted since, or WAL piles up on the disk",
     "bring its reader back, or drop the slot"),
    ("horizon.standby", "VACUUM cannot remove what a query there might still see",
     "end that query, or turn hot_standby_feedback off there"),
)  # fmt: skip
_ADVICE = (
    ("login.password", "a password can be copied, and lives until somebody changes it",
     "log in with Entra ID: MAINTENANCE_AUTH=entra"),
    ("login.hashed",
     "a password that is still stored as an MD5 hash may be used by whoever has the hash; one stored for SCRAM is safe",
     "let pg_hba.conf ask for scram-sha-256"),
    ("role.mighty", "a mistake or a leak of this login costs all that it may do",
     "a role of its own; `python -m maintenance sql grants --role NAME` prints its grants"),
    ("server.ending", "after that holes in it are not mended any more", "plan the upgrade"),
    ("ledger.old", "the next run brings it up to date",
     "nothing, where its owner runs it; else `install` as its owner"),
    ("policy.absent", "the rule does nothing here",
     "nothing, where the policy is for several installations; else check the name"),
    ("delete.triggers", "it may keep rows that the policy deletes, or make each delete slow",
     "see that it lets them go"),
    ("index.missing", "each run reads all of it", "an index that leads with the rule's column"),
    ("index.unfit", "each run reads all of it", "an index that leads with the rule's column and has all its rows"),
    ("index.redundant", "each write keeps both, and the other one serves every query of it", "drop it"),
    ("index.unused", "each write keeps it for nobody on this server; scans on standbys are not counted here",
     "drop it, if no standby reads it"),
    ("index.hot", "each update writes to every index of the table, and leaves dead entries in them",
     "drop it, or leave the column that each update changes out of it"),
    ("unique.missing", "duplicates come back, and every run looks for them",
     "a unique constraint: the rule then has nothing left to do"),
    ("foreign_key.missing", "orphans come back, and every run looks for them",
     "a foreign key, if each row comes after its parent; one that comes before is then refused"),
    ("foreign_key.unvalidated", "orphans from before it stay possible, so every run looks for them", "validate it"),
    ("foreign_key.slow", "each row deleted from the parent reads all of this table",
     "an index that leads with the key's columns"),
    ("table.partitions", "rows are deleted one by one and vacuumed, where a partition is dropped at once",
     "partition it by the rule's column; the rule then drops whole partitions"),
    ("bloat.table", "the space is paid for, and read; VACUUM gives it back to the table only",
     _REWRITE),
    ("bloat.toast", "the space is paid for; VACUUM gives it back to the table only",
     _REWRITE),
    ("bloat.index", "the space is paid for, and read", "rebuild it without locking its table"),
)  # fmt: skip


def _kinds(severity: Severity, rows: Iterable[tuple[str, str, str]]) -> dict[str, Kind]:
    return {
        code: Kind(code=code, severity=severity, consequence=consequence, remedy=remedy)
        for code, consequence, remedy in rows
    }


KINDS = {
    **_kinds(Severity.ERROR, _ERRORS),
    **_kinds(Severity.WARNING, _WARNINGS),
    **_kinds(Severity.ADVICE, _ADVICE),
}


def finding(
    code: str,
    subject: str,
    fact: str,
    *,
    cure: str | None = None,
    remedy: str | None = None,
    risky: bool = False,
) -> Finding:
    """A finding of a known kind; `remedy` where this one has another than its kind."""
    kind = KINDS[code]
    return Finding(
        severity=kind.severity,
        code=code,
        subject=subject,
        fact=fact,
        consequence=kind.consequence,
        remedy=remedy or kind.remedy,
        cure=cure,
        risky=risky,
    )
