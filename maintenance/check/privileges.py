"""Privileges: what the policy needs of the server, and this role does not have; rows that it would not see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import asyncpg

from maintenance.budget import Budget
from maintenance.check.kinds import finding
from maintenance.check.view import Look, View
from maintenance.errors import PolicyError
from maintenance.findings import Finding
from maintenance.grants import MAINTAIN_SINCE, Grant, on_tables
from maintenance.lag import fitted, judged
from maintenance.names import Fragment, quoted
from maintenance.needs import Need, Operators, Privilege, Remark, needs
from maintenance.policy import Policy
from maintenance.refusals import first_line

_SECTIONS = ("retention", "duplicates", "orphans", "unreferenced")
_Needed: TypeAlias = Need | Operators | Remark


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One privilege on one table or on one of its columns, and the need that it is of."""

    need: Need
    column: str | None


async def _find(view: View) -> list[Finding]:
    found = view.found
    all_of_it = await _needed(view)
    needed = list(dict.fromkeys(one for one in all_of_it if isinstance(one, Need)))
    schemas = {one.table.schema for one in needed} | {one.schema for one in all_of_it if isinstance(one, Operators)}
    for row in await view.rows("access", "closed_schemas", sorted(schemas)):
        grant = Grant(what=Fragment(f"usage on schema {quoted(row['schema'])}"), role=view.role, about="", why="")
        fact = f"the role {view.role} may not use the schema"
        found.append(finding("privilege.missing", row["schema"], fact, cure=str(grant)))
    found += _missing(view, await _lacking(view, needed))
    found += await _hidden(view, needed)
    try:
        brake = await fitted(view.connection, await judged(view.connection, view.policy.lag), Budget(view.budget.left))
    except PolicyError as error:
        return [*found, finding("policy.misfit", "[lag]", str(error))]
    if brake.unseen is not None:
        found.append(finding("lag.unseen", "[lag]", brake.unseen))
    return found


async def _needed(view: View) -> list[_Needed]:
    """What all rules need; where one of them cannot be judged, what the others need."""
    try:
        return list(await needs(view.survey()))
    except (PolicyError, asyncpg.InsufficientPrivilegeError):
        if view.connection.is_closed():
            raise
    found: list[_Needed] = []
    for what, policy in _alone(view.policy):
        try:
            found += await needs(replace(view.survey(), policy=policy))
        except PolicyError as error:
            view.cannot_see("privileges", what, str(error))
        except asyncpg.InsufficientPrivilegeError as error:
            found.append(Remark(text=first_line(error)))
            view.cannot_see("privileges", what, first_line(error))
    return found


def _alone(policy: Policy) -> Iterator[tuple[str, Policy]]:
    """The policy with one of its rules at a time, and with none."""
    bare = policy.model_copy(update=dict.fromkeys(_SECTIONS, ()))
    yield "what VACUUM needs", bare
    for section in _SECTIONS:
        for number, rule in enumerate(getattr(policy, section), start=1):
            what = f"the privileges that {section}[{number}] needs"
            yield what, bare.model_copy(update={section: (rule,)})


async def _lacking(view: View, needed: Iterable[Need]) -> list[Need]:
    """What the role does not have of it, with the columns that it lacks only."""
    asked = [_Asked(need=need, column=column) for need in needed for column in (need.columns or (None,))]
    rows = await view.rows(
        "access", "lacking", [a.need.table.schema for a in asked], [a.need.table.name for a in asked],
        [a.need.privilege.value for a in asked], [a.column for a in asked], [a.need.lock for a in asked],
    )  # fmt: skip
    lacking: dict[Need, list[str]] = {}
    for row in rows:
        one = asked[row["place"] - 1]
        lacking.setdefault(one.need, []).extend([] if one.column is None else [one.column])
    return [replace(need, columns=tuple(columns)) for need, columns in lacking.items()]


def _missing(view: View, lacking: Iterable[Need]) -> Iterator[Finding]:
    owned = [need for need in lacking if need.privilege is Privilege.MAINTAIN and view.major < MAINTAIN_SINCE]
    for need in owned:
        fact = f"the role {view.role} does not own the table, nor the database"
        yield finding("privilege.ownership", str(need.table), fact)
    for grant in on_tables(view.role, [need for need in lacking if need not in owned]):
        what = str(grant.what).split(" on table ")[0].replace('"', "")
        verb, _, columns = what.partition(" ")
        fact = f"the role {view.role} lacks {verb.upper()} {columns}".rstrip() + f" ({grant.why})"
        yield finding("privilege.missing", grant.about, fact, cure=str(grant))


async def _hidden(view: View, needed: Iterable[Need]) -> list[Finding]:
    tables = list(dict.fromkeys(need.table for need in needed if need.privilege is not Privilege.MAINTAIN))
    rows = await view.rows("access", "row_security", [t.schema for t in tables], [t.name for t in tables])
    return [
        finding(
            "rls.active", f"{row['schema']}.{row['name']}", f"row-level security is on for the role {view.role}",
            cure=f"alter role {quoted(view.role)} bypassrls;",
        )
        for row in rows
    ]  # fmt: skip


PRIVILEGES = Look(name="privileges", what="the privileges that the policy needs, and row-level security", find=_find)
