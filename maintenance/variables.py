"""Variables: the one list of what may be set in the environment, with defaults and meanings."""

from __future__ import annotations

from dataclasses import dataclass

PREFIX = "MAINTENANCE_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """An environment variable of ours: its default as one would write it, and what it does."""

    name: str
    default: str | None
    meaning: str


SETTINGS = (
    Setting(name="MAINTENANCE_POLICY", default="maintenance.toml", meaning="Path of the policy file."),
    Setting(
        name="MAINTENANCE_BUDGET",
        default="8m",
        meaning="How long a run may take. No batch starts that would not end in time; the rest waits for the next run. "
        "In the Functions app, where unset: functionTimeout of host.json less a fifth, at most two minutes.",
    ),
    Setting(
        name="MAINTENANCE_BATCH_TARGET",
        default="200ms",
        meaning="How long one transaction should take. The size of a batch follows the measured time.",
    ),
    Setting(
        name="MAINTENANCE_LOCK_TIMEOUT",
        default="2s",
        meaning="How long a statement waits for a lock before it gives way to the application.",
    ),
    Setting(
        name="MAINTENANCE_COUNT_TIMEOUT",
        default="10s",
        meaning="How long `plan` counts for one table before it falls back to the planner's estimate.",
    ),
    Setting(
        name="MAINTENANCE_CONNECT_TIMEOUT",
        default="15s",
        meaning="How long a connection attempt may take, and how much longer than its own time-out the answer to a "
        "statement.",
    ),
    Setting(
        name="MAINTENANCE_AUTH",
        default=None,
        meaning="How to log in: `entra` with a token of the identity that runs this, `password` as libpq does. Unset: "
        "`entra` where PGHOST is an Azure Flexible Server by its name, `password` elsewhere.",
    ),
    Setting(
        name="MAINTENANCE_ALLOW_PLAINTEXT",
        default=None,
        meaning="`1` allows PGSSLMODE disable, allow and prefer to a remote host, where others may read what is sent.",
    ),
    Setting(
        name="MAINTENANCE_LEDGER_KEEP",
        default="180d",
        meaning="How long finished runs stay in the ledger.",
    ),
    Setting(
        name="MAINTENANCE_ARCHIVE_URL",
        default=None,
        meaning='Where archive = "azure-blob" is: `https://ACCOUNT.blob.core.windows.net/CONTAINER`, with a folder '
        "behind it if you like. No key and no SAS: the identity of the login writes and reads it.",
    ),
    Setting(
        name="MAINTENANCE_SLICES",
        default="24",
        meaning="How many times the Functions app lets a run go on that its budget did not suffice for, the first "
        "time included; `1` leaves the rest to the next tick.",
    ),
    Setting(
        name="MAINTENANCE_TARGETS",
        default=None,
        meaning="Path of a TOML file with many databases, each with its own policy, in place of the one of PGHOST.",
    ),
    Setting(
        name="MAINTENANCE_HTTP_ALLOWED_PRINCIPALS",
        default=None,
        meaning="Entra object or application IDs, with commas in between, that may use the HTTP functions, on top of "
        "the function key; needs App Service Authentication in front. Unset: whoever has a function key.",
    ),
    Setting(
        name="MAINTENANCE_POSTGRES_BIN",
        default=None,
        meaning="Folder with `initdb` and `postgres` for the demo and the tests, instead of those of the pip wheel.",
    ),
)

LIBPQ = (
    "PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGSSLMODE", "PGSSLROOTCERT",
)  # fmt: skip
"""libpq's variables that choose the database. https://www.postgresql.org/docs/current/libpq-envars.html"""

AZURE = ("AZURE_CLIENT_ID",)
"""Of azure-identity's variables those that one sets by hand."""

TIMERS = {"daily-cleanup": "DAILY_CLEANUP_SCHEDULE", "weekly-vacuum": "WEEKLY_VACUUM_SCHEDULE"}
"""What the Functions app's timers are set by, by the run that each begins; the host reads them, and the report."""
