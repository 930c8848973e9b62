"""What a task may look at while it plans, and the questions that every task asks of the server."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg
from asyncpg import Connection
from asyncpg import exceptions as pg

from maintenance.catalog import Leaf, Relation, find
from maintenance.database import fetch_one, limit_statements
from maintenance.errors import PolicyError
from maintenance.models import StepStatus, StopReason, Took, Verdict
from maintenance.names import Fragment, Table, TableName, quoted
from maintenance.policy import Policy
from maintenance.sql import statement
from maintenance.steps import Settled, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The circumstances of a plan. Reading is all that it is for."""

    connection: Connection
    policy: Policy
    as_of: datetime
    counting: float | None = None
    """Seconds that a count may take; None where nobody asks for numbers, as in a run."""
    changed_at: Mapping[str, datetime] = field(default_factory=dict)
    """When a run last deleted or rewrote rows, by table."""
    took: Mapping[tuple[str, str], Took] = field(default_factory=dict)
    """How long the last turn of a step took, by task and table."""
    only_changed: bool = False
    """Statistics of the tables in `changed_at` and no others."""

    async def count(self, sql: str, *args: object) -> tuple[int | None, bool]:
        """Rows that `sql` counts, and whether that is exact: None and False where it took too long."""
        if self.counting is None:
            return None, False
        try:
            async with self.connection.transaction():
                await limit_statements(self.connection, self.counting, local=True)
                return int(await self.connection.fetchval(sql, *args) or 0), True
        except pg.QueryCanceledError:
            return None, False

    async def estimate(self, sql: str, *args: object) -> int:
        """Rows that the planner expects of a query, without running it."""
        root, *_ = await nodes(self.connection, sql, *args)
        return int(str(root["Plan Rows"]))


async def nodes(connection: Connection, sql: str, *args: object) -> list[Mapping[str, object]]:
    """The nodes of the plan that the planner makes of a query, from the top, without running it."""
    plan = await connection.fetchval("explain (format json) " + sql, *args)
    found: list[Mapping[str, object]] = []
    ahead = [json.loads(plan)[0]["Plan"]]
    while ahead:
        node = ahead.pop(0)
        found.append(node)
        ahead += node.get("Plans", [])
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One rule on one table, not yet looked at; a failure in one does not touch the others."""

    task: str
    table: TableName | None
    plan: Callable[[Survey], Awaitable[list[Step]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A kind of work: the drafts that it makes of a policy."""

    name: str
    drafts: Callable[[Policy], list[Draft]]
    late: bool = False
    """Planned when its turn comes, since it looks at what the tasks before it changed."""
    check: Callable[[Survey], Awaitable[None]] | None = None
    """Whether the server takes the policy's values, of a late task too: asked before anything is written."""


async def located(survey: Survey, task: str, name: TableName) -> Relation | Settled:
    """The table that a rule names, or the step that says it is absent.

    Raises:
        PolicyError: the name is that of a view or a foreign table.
    """
    relation = await find(survey.connection, name)
    if relation is not None:
        return relation
    return Settled(
        task=task,
        strategy="absent",
        table=Table(schema=name.schema or "", name=name.name),
        rows=0,
        exact=True,
        summary="this database has no such table",
        verdict=Verdict(status=StepStatus.ABSENT, stop_reason=StopReason.DONE),
    )


def proven(task: str, leaf: Leaf, subject: str, rule: str, why: str) -> Settled:
    """The step that has nothing to do, by the word of the catalogs: no row was read for it."""
    return Settled(
        task=task, strategy="catalog", table=leaf.table, oid=leaf.oid, subject=subject, rule=rule, rows=0, exact=True,
        summary=why, verdict=Verdict(status=StepStatus.SUCCEEDED, stop_reason=StopReason.DONE),
    )  # fmt: skip


async def accepted(survey: Survey, sql: str, what: str) -> None:
    """Let the server judge a statement without running it.

    Raises:
        PolicyError: it does not parse, or its types do not fit.
    """
    try:
        await survey.connection.prepare(sql)
    except pg.InsufficientPrivilegeError:
        raise
    except (pg.SyntaxOrAccessError, asyncpg.DataError, pg.FeatureNotSupportedError) as error:
        raise PolicyError(f"{what}: {error}.") from error


async def condition(survey: Survey, relation: Relation, where: str | None) -> Fragment:
    """The policy's extra condition as a fragment, in brackets, once the server has taken it for one boolean expression.

    It must parse bare and in brackets: what closes our bracket fails bare, what runs past it (a comment, a clause)
    fails in brackets, and a second statement fails in both.

    Raises:
        PolicyError: it is not one self-contained boolean expression over the table's columns.
    """
    if where is None:
        return Fragment("true")
    what = f"{relation.table}: where = {where!r} is not one boolean expression over the table's columns"
    if "\0" in where:
        raise PolicyError(f"{what}: it has a NUL character in it.")
    for name in ("where_bare", "where_bracketed"):
        sql = statement(
            "survey", name, table=relation.table.sql, alias=quoted(relation.table.name), where=Fragment(where)
        )
        await accepted(survey, sql, what)
        if (await survey.connection.prepare(sql)).get_parameters():
            raise PolicyError(f"{what}: it has a parameter such as $1 in it.")
    return Fragment(f"({where})")


async def span(connection: Connection, interval: str) -> float | None:
    """Seconds of an interval; None where PostgreSQL cannot use it, or it is not above zero, or beyond all measure."""
    try:
        row = await fetch_one(connection, statement("survey", "span"), interval)
    except (asyncpg.DataError, asyncpg.InternalServerError, OverflowError):
        return None
    seconds: float | None = row["seconds"]
    return seconds


async def cutoff(survey: Survey, interval: str, what: str) -> datetime:
    """The instant `interval` before the run's, in UTC.

    Raises:
        PolicyError: not an interval of PostgreSQL's, or not one above zero.
    """
    try:
        row = await fetch_one(survey.connection, statement("survey", "cutoff"), survey.as_of, interval)
    except (asyncpg.DataError, asyncpg.InternalServerError, OverflowError) as error:
        raise PolicyError(
            f"{what} = {interval!r} is not an interval that PostgreSQL can use ({error}); write one such as '30 days'."
        ) from error
    if not row["usable"]:
        raise PolicyError(
            f"{what} = {interval!r} is not between zero and the year 1; write an interval such as '30 days'."
        )
    instant: datetime = row["cutoff"]
    return instant
