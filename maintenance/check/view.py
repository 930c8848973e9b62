"""View: what a look may use, and where it says what it could not see."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from asyncpg import Connection, Record

from maintenance.budget import Budget
from maintenance.check.thresholds import Thresholds
from maintenance.findings import Finding
from maintenance.names import Fragment
from maintenance.policy import Policy
from maintenance.settings import Settings
from maintenance.sql import statement
from maintenance.tasks.survey import Survey


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """What could not be looked at: nobody knows whether it is well."""

    look: str
    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The circumstances of the looks. Reading is all that they are for."""

    connection: Connection
    policy: Policy
    settings: Settings
    thresholds: Thresholds
    as_of: datetime
    role: str
    database: str
    monitors: bool
    """Whether the server shows this role what other roles' sessions do."""
    budget: Budget
    """Of the look at hand, no longer than what is left for all."""
    unseen: list[Unseen] = field(default_factory=list)
    found: list[Finding] = field(default_factory=list)
    """Of the look at hand: what a long one writes here as it goes is told, also where it does not come to its end."""

    @property
    def major(self) -> int:
        """Of the server's version."""
        return self.connection.get_server_version().major

    def survey(self, counting: float | None = None) -> Survey:
        """What the tasks plan with."""
        return Survey(connection=self.connection, policy=self.policy, as_of=self.as_of, counting=counting)

    async def rows(self, file: str, name: str, *values: object, **slots: Fragment) -> list[Record]:
        """The rows of a statement of sql/check; `{of_users}` in it stands for tables that are not the server's."""
        slots = {"of_users": Fragment(statement("check/tables", "of_users")), **slots}
        return list(await self.connection.fetch(statement(f"check/{file}", name, **slots), *values))

    def cannot_see(self, look: str, what: str, why: str) -> None:
        """Write down that something was not looked at."""
        self.unseen.append(Unseen(look=look, what=what, why=why))

    def needs_statistics(self, look: str, what: str) -> None:
        """Write down what only a reader of all statistics may see."""
        self.cannot_see(look, what, "the role may not see other sessions: GRANT pg_read_all_stats to it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One family of findings."""

    name: str
    what: str
    find: Callable[[View], Awaitable[Iterable[Finding]]]
