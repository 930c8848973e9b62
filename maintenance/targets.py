"""The fleet's file: many databases for one app, each with its own policy."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maintenance.errors import SettingsError, UsageError
from maintenance.settings import Settings, load

_EXAMPLE = "write [[target]] tables with name, host, database, user and policy"


class Entry(BaseModel):
    """One database. Whatever is left out comes from the environment, as for a single one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    database: Annotated[str, Field(min_length=1)]
    user: Annotated[str, Field(min_length=1)] | None = None
    policy: Annotated[str, Field(min_length=1)]

    def environment(self, folder: Path) -> Mapping[str, str]:
        """The variables that stand for this database; its policy's path is relative to `folder`."""
        given = {"PGHOST": self.host, "PGDATABASE": self.database, "MAINTENANCE_POLICY": str(folder / self.policy)}
        if self.port is not None:
            given["PGPORT"] = str(self.port)
        if self.user is not None:
            given["PGUSER"] = self.user
        return given


def names(settings: Settings) -> list[str | None]:
    """The names of all databases, in the file's order; without a file the one of the environment, as None.

    Raises:
        SettingsError: the file cannot be used.
    """
    return [None] if settings.targets is None else list(_read(settings.targets))


def one(settings: Settings, name: str | None) -> Settings:
    """The settings for the database of that name.

    Raises:
        UsageError: there is none of that name, or a name is needed.
        SettingsError: the file or a setting cannot be used.
    """
    if settings.targets is None:
        if name is not None:
            raise UsageError(f"There is no target {name!r}: one database is configured, and no MAINTENANCE_TARGETS.")
        return settings
    entries = _read(settings.targets)
    if name is None or name not in entries:
        near = difflib.get_close_matches(name or "", entries, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"name one of {', '.join(entries)}."
        raise UsageError(f"There is no target {name!r}; {hint}" if name else f"Which target? {hint.capitalize()}")
    return _of(entries[name], settings.targets, settings)


def _of(entry: Entry, file: Path, settings: Settings) -> Settings:
    return load(hosted=settings.hosted, overlay=entry.environment(file.parent), name=entry.name)


class _Fleet(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    target: Annotated[tuple[Entry, ...], Field(min_length=1, strict=False)]


def _read(path: Path) -> dict[str, Entry]:
    """The databases of the file by name, in its order.

    Raises:
        SettingsError: it cannot be read, or does not say what is needed.
    """
    try:
        fleet = _Fleet.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError(
            f"MAINTENANCE_TARGETS: {path} cannot be read ({error.strerror}); nothing was done."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"MAINTENANCE_TARGETS: {path} is not TOML ({error}); {_EXAMPLE}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"MAINTENANCE_TARGETS: {path}: {place}: {first['msg']}; {_EXAMPLE}.") from error
    names = [entry.name for entry in fleet.target]
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        raise SettingsError(f"MAINTENANCE_TARGETS: {path} has two targets {twice[0]!r}; give each a name of its own.")
    return {entry.name: entry for entry in fleet.target}
