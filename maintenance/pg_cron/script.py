"""The script: a compilation as SQL, for the database that is maintained and for the one that has pg_cron's jobs."""

from __future__ import annotations

from collections.abc import Iterable

from maintenance.database import milliseconds
from maintenance.names import Fragment, listed, literal, quoted
from maintenance.pg_cron.compiler import Compilation
from maintenance.pg_cron.jobs import Job, prefix
from maintenance.sql import script, statement

_FILE = "pg_cron"
_PARTS = ("tables", "catalog", "admission", "batch", "step", "run", "vacuum")
"""Of the procedures, in the order in which they know each other."""
_HEAD = """\
-- The policy with SHA-256 {digest},
-- compiled for database {database}. Run it as the role that is to maintain it: psql -v ON_ERROR_STOP=1 -f FILE.
-- Compile it anew after a change of the policy, of the tables that it names, or of the tables that are to be vacuumed.
-- The service's own [lag] (who waits, default 1) and [guards] clock have no counterpart here: docs/schedulers.md."""


def here(compilation: Compilation) -> str:
    """What is to be run in the database that is maintained, in one transaction."""
    rows = [
        statement(_FILE, "add_text", key=_value(name), body=_value(body)) for name, body in compilation.texts.items()
    ]
    settings = compilation.settings
    rows.append(
        statement(
            _FILE, "add_policy", digest=_value(compilation.digest), budget=_value(settings.budget),
            batch_target=_value(settings.batch_target), lock_timeout=_value(f"{milliseconds(settings.lock_timeout)}ms"),
            ledger_keep=_value(settings.ledger_keep),
        )
    )  # fmt: skip
    for place, (rule, fingerprint) in enumerate(compilation.rules, 1):
        row = rule.row(place, fingerprint)
        columns = listed([quoted(column) for column in row])
        values = listed([_value(value) for value in row.values()], ",\n    ")
        rows.append(statement(_FILE, "add_rule", columns=columns, values=values))
    rows += [
        statement(_FILE, "add_table", key=_value(str(one.table)), oid=_value(one.oid), sql=_value(one.table.sql))
        for one in compilation.tables
    ]
    return "\n\n".join([
        "set standard_conforming_strings = on;\nset client_min_messages = warning;", "begin;",
        script("install/ledger").strip(), f"{statement(_FILE, 'holds_lease')};",
        *(script(f"pg_cron/{part}").strip() for part in _PARTS), *(f"{row};" for row in rows), "commit;",
    ])  # fmt: skip


def there(compilation: Compilation, jobs: Iterable[Job]) -> str:
    """What is to be run in the database that has pg_cron's jobs, in one transaction; a second time replaces them."""
    own = compilation.cron_database == compilation.database
    database = literal(compilation.database)
    calls, names = [], []
    for job in jobs:
        names.append(literal(job.name))
        slots = {"job": literal(job.name), "schedule": literal(job.schedule), "command": literal(job.command)}
        calls.append(
            statement(_FILE, "schedule_here", **slots) if own
            else statement(_FILE, "schedule_there", database=database, **slots)
        )  # fmt: skip
    calls.append(removed(compilation.database, names))
    # pg_cron shows each role its own jobs.
    return "\n".join(["begin;", "set local row_security = on;", *(f"{call};" for call in calls), "commit;"])


def removed(database: str, but: Iterable[Fragment] = ()) -> str:
    """The statement that takes away a database's jobs, but for those of these names."""
    return statement(
        _FILE,
        "unschedule_others",
        database=literal(database),
        prefix=literal(prefix(database)),
        names=listed(list(but)),
    )


def rendered(compilation: Compilation, jobs: Iterable[Job]) -> str:
    """The whole script for psql."""
    head = _HEAD.format(digest=compilation.digest, database=" ".join(quoted(compilation.database).split()))
    cron = compilation.cron_database
    connect = [] if cron == compilation.database else [f"\\connect {quoted(cron)}"]
    return "\n\n".join([
        head, here(compilation), *connect, "-- The jobs. pg_cron's hours are GMT; a second run replaces them.",
        there(compilation, jobs),
    ]) + "\n"  # fmt: skip


def _value(value: object) -> Fragment:
    if value is None:
        return Fragment("null")
    if isinstance(value, list):
        return Fragment(f"array[{listed([_value(one) for one in value])}]::text[]")
    return literal(value) if isinstance(value, str) else Fragment(str(value))
