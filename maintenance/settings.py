"""Settings from the environment: the one place where `os.environ` is read, and the one list of what may be set."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from maintenance.errors import SettingsError
from maintenance.target import MAY_BE_PLAIN, Auth, Identity, SslMode, Target, is_flexible_server, is_local
from maintenance.telemetry_settings import TelemetrySettings, telemetry

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 36_500 * 86_400.0
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
PREFIX = "MAINTENANCE_"
_NO_TELEMETRY = TelemetrySettings()


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
        meaning="How long a run may take. No batch starts that would not end in time; the rest waits for the next run.",
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
        meaning="How long a connection attempt may take.",
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
    postgres_bin: Path | None = None
    telemetry: TelemetrySettings = _NO_TELEMETRY

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


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the environment, or what is given in its place.

    Raises:
        SettingsError: a value cannot be used, or a variable starts with MAINTENANCE_ and is none of ours.
    """
    env = os.environ if environment is None else environment
    _refuse_unknown(env)
    _refuse_missing_certificate(env)
    defaults = Settings()
    binaries = env.get("MAINTENANCE_POSTGRES_BIN")
    return Settings(
        target=_target(env),
        policy=Path(env.get("MAINTENANCE_POLICY") or defaults.policy),
        budget=_duration(env, "MAINTENANCE_BUDGET"),
        batch_target=_duration(env, "MAINTENANCE_BATCH_TARGET"),
        lock_timeout=_duration(env, "MAINTENANCE_LOCK_TIMEOUT"),
        count_timeout=_duration(env, "MAINTENANCE_COUNT_TIMEOUT"),
        connect_timeout=_duration(env, "MAINTENANCE_CONNECT_TIMEOUT"),
        ledger_keep=_duration(env, "MAINTENANCE_LEDGER_KEEP"),
        postgres_bin=Path(binaries) if binaries else None,
        telemetry=telemetry(env),
    )


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


def _duration(env: Mapping[str, str], name: str) -> float:
    text = env.get(name) or next(setting.default for setting in SETTINGS if setting.name == name)
    try:
        return parse_duration(text or "")
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from error


def _target(env: Mapping[str, str]) -> Target | None:
    host = env.get("PGHOST")
    if not host:
        return None
    port = env.get("PGPORT")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise SettingsError(f"PGPORT is {port!r}; it must be a number from 1 to 65535.")
    return Target(
        host=host,
        port=int(port) if port else None,
        database=env.get("PGDATABASE") or None,
        user=env.get("PGUSER") or None,
        password=env.get("PGPASSWORD") or None,
        auth=_auth(env, host),
        identity=_identity(env),
        client_id=env.get("AZURE_CLIENT_ID") or None,
        sslmode=_sslmode(env, host),
        root_certificate=env.get("PGSSLROOTCERT") or None,
    )


def _auth(env: Mapping[str, str], host: str) -> Auth:
    text = env.get("MAINTENANCE_AUTH")
    if not text:
        return Auth.ENTRA if is_flexible_server(host) else Auth.PASSWORD
    if text not in tuple(Auth):
        raise SettingsError(f"MAINTENANCE_AUTH is {text!r}; it must be entra or password, or unset.")
    return Auth(text)


def _identity(env: Mapping[str, str]) -> Identity:
    if env.get("IDENTITY_ENDPOINT") or env.get("MSI_ENDPOINT"):
        return Identity.MANAGED
    return Identity.WORKLOAD if env.get("AZURE_FEDERATED_TOKEN_FILE") else Identity.UNKNOWN


def _refuse_missing_certificate(env: Mapping[str, str]) -> None:
    path = env.get("PGSSLROOTCERT")
    if path and path != "system" and not Path(path).is_file():
        raise SettingsError(
            f"PGSSLROOTCERT is {path!r}, but there is no such file; name the file with the root certificates."
        )


def _sslmode(env: Mapping[str, str], host: str) -> SslMode | None:
    """What libpq leaves open is closed: a remote server must prove who it is, unless somebody says otherwise."""
    plain = env.get("MAINTENANCE_ALLOW_PLAINTEXT")
    if plain not in (None, "", "0", "1"):
        raise SettingsError(f"MAINTENANCE_ALLOW_PLAINTEXT is {plain!r}; it must be 1 or unset.")
    text = env.get("PGSSLMODE")
    if not text:
        return None if is_local(host) else "verify-full"
    if text not in get_args(SslMode):
        raise SettingsError(f"PGSSLMODE is {text!r}; it must be one of {', '.join(get_args(SslMode))}.")
    if text in MAY_BE_PLAIN and plain != "1" and not is_local(host):
        raise SettingsError(
            f"PGSSLMODE is {text!r} and {host} is another machine, so the login and the data could be read on their "
            "way; unset it (verify-full is the default), or set MAINTENANCE_ALLOW_PLAINTEXT=1 if the network is yours."
        )
    return cast(SslMode, text)


def _refuse_unknown(env: Mapping[str, str]) -> None:
    known = [setting.name for setting in SETTINGS]
    for name in env:
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}."
            raise SettingsError(f"{name} is set, but there is no such setting; {hint}")
