"""Settings from the environment: the one place where `os.environ` is read."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from maintenance.archive_url import ArchiveUrl, archive_url
from maintenance.errors import SettingsError
from maintenance.host import host_budget, scheduler_of
from maintenance.runs import Scheduler
from maintenance.target import Target, target_of
from maintenance.telemetry_settings import TelemetrySettings, telemetry
from maintenance.variables import PREFIX, SETTINGS, TIMERS

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 36_500 * 86_400.0
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_NO_TELEMETRY = TelemetrySettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that the environment says. Durations are seconds."""

    target: Target | None = None
    policy: Path = Path("maintenance.toml")
    budget: float = 480.0
    batch_target: float = 0.2
    lock_timeout: float = 2.0
    count_timeout: float = 10.0
    connect_timeout: float = 15.0
    ledger_keep: float = 180 * 86400.0
    archive_url: ArchiveUrl | None = None
    slices: int = 24
    """How many a run may have."""
    queue: bool = False
    """Whether the Functions app has a storage account, and with it a queue."""
    targets: Path | None = None
    principals: frozenset[str] = frozenset()
    """Who may use the HTTP functions; empty for whoever has a key."""
    vouched: bool = False
    """Whether App Service says that it authenticates who asks.
    https://learn.microsoft.com/azure/app-service/reference-app-settings#authentication--authorization"""
    postgres_bin: Path | None = None
    hosted: bool = False
    """Read for a function of the Functions app."""
    scheduler: Scheduler = Scheduler.CLI
    """Who has called the command line."""
    telemetry: TelemetrySettings = _NO_TELEMETRY
    schedules: tuple[tuple[str, str], ...] = ()
    """The timers of the Functions app as NCRONTAB expressions, by the name of the run; none where none is set."""
    time_zone: str | None = None
    """Of the timers, where it is not UTC. https://learn.microsoft.com/azure/azure-functions/functions-app-settings#website_time_zone"""

    def required_target(self) -> Target:
        """The database of this environment.

        Raises:
            SettingsError: none is configured.
        """
        if self.target is None:
            raise SettingsError(
                "No database is configured, so there is nothing to maintain. Set PGHOST, PGDATABASE and PGUSER "
                "(and PGPORT, PGPASSWORD or PGPASSFILE, PGSSLMODE as needed), or type `make run` to see a demo "
                "on a database of its own."
            )
        return self.target


def load(
    environment: Mapping[str, str] | None = None,
    *,
    hosted: bool = False,
    overlay: Mapping[str, str] | None = None,
    name: str | None = None,
) -> Settings:
    """Read the environment, or what is given in its place; `overlay` goes before it, for the target called `name`.

    `hosted` is for what the Functions host has called, whatever it says of itself in the environment.

    Raises:
        SettingsError: a value cannot be used, or a variable starts with MAINTENANCE_ and is none of ours.
    """
    if environment is None:
        _forget_empty()
    env = {**(os.environ if environment is None else environment), **(overlay or {})}
    _refuse_unknown(env)
    defaults = Settings()
    binaries = env.get("MAINTENANCE_POSTGRES_BIN")
    targets = env.get("MAINTENANCE_TARGETS")
    return Settings(
        target=target_of(env, name),
        policy=Path(env.get("MAINTENANCE_POLICY") or defaults.policy),
        budget=_duration(env, "MAINTENANCE_BUDGET", host_budget(env) if hosted else None),
        batch_target=_duration(env, "MAINTENANCE_BATCH_TARGET"),
        lock_timeout=_duration(env, "MAINTENANCE_LOCK_TIMEOUT"),
        count_timeout=_duration(env, "MAINTENANCE_COUNT_TIMEOUT"),
        connect_timeout=_duration(env, "MAINTENANCE_CONNECT_TIMEOUT"),
        ledger_keep=_duration(env, "MAINTENANCE_LEDGER_KEEP"),
        archive_url=archive_url(env),
        slices=_slices(env),
        queue=any(value for key, value in env.items() if key.startswith("AzureWebJobsStorage")),
        targets=Path(targets) if targets else None,
        principals=_principals(env),
        vouched=env.get("WEBSITE_AUTH_ENABLED", "").lower() == "true",
        postgres_bin=Path(binaries) if binaries else None,
        telemetry=telemetry(env, hosted=hosted),
        hosted=hosted,
        scheduler=scheduler_of(env),
        schedules=tuple((run, env[name]) for run, name in TIMERS.items() if env.get(name)),
        time_zone=env.get("WEBSITE_TIME_ZONE") or None,
    )


def _forget_empty() -> None:
    """An empty variable counts as unset, also for the driver, which reads those of libpq by itself."""
    for name in [name for name, value in os.environ.items() if name.startswith("PG") and not value]:
        del os.environ[name]


def parse_duration(text: str) -> float:
    """Seconds in a text such as `8m`, `200ms` or `1h30m`.

    Raises:
        SettingsError: not a duration, or not more than zero.
    """
    compact = text.strip().replace(" ", "")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(compact))
    if _DURATION.sub("", compact) or not 0 < seconds <= _LONGEST:
        shown = text if len(text) < 40 else f"{text[:40]}..."
        raise SettingsError(
            f"{shown!r} is not a duration above zero and up to {_LONGEST / 86400:.0f} days; "
            "write a number with ms, s, m, h or d, such as 8m."
        )
    return seconds


def _duration(env: Mapping[str, str], name: str, otherwise: float | None = None) -> float:
    text = env.get(name)
    if not text and otherwise is not None:
        return otherwise
    try:
        return parse_duration(text or _default(name))
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from error


def _default(name: str) -> str:
    return next(setting.default or "" for setting in SETTINGS if setting.name == name)


def _slices(env: Mapping[str, str]) -> int:
    text = env.get("MAINTENANCE_SLICES") or _default("MAINTENANCE_SLICES")
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0 and len(text) < 5):
        raise SettingsError(f"MAINTENANCE_SLICES is {text!r}; it must be a number from 1 to 9999.")
    return int(text)


def _principals(env: Mapping[str, str]) -> frozenset[str]:
    """Of these somebody must be named once there is anything: a list of nothing would admit everybody."""
    text = env.get("MAINTENANCE_HTTP_ALLOWED_PRINCIPALS")
    names = frozenset(name.strip().lower() for name in (text or "").split(",") if name.strip())
    wrong = sorted(name for name in names if not _GUID.fullmatch(name))
    if wrong or (text and not names):
        raise SettingsError(
            f"MAINTENANCE_HTTP_ALLOWED_PRINCIPALS is {text!r}; it must be object or application IDs such as "
            "11111111-2222-3333-4444-555555555555, with commas in between."
        )
    return names


def _refuse_unknown(env: Mapping[str, str]) -> None:
    known = [setting.name for setting in SETTINGS]
    for name in env:
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}."
            raise SettingsError(f"{name} is set, but there is no such setting; {hint}")
