"""The least-privilege role: the grants that a policy needs on a database, and the script that makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from asyncpg import Connection

from maintenance import policy_file
from maintenance.database import clock, connected
from maintenance.errors import UsageError
from maintenance.ledger import TABLES
from maintenance.names import LONGEST_NAME, Fragment, Table, listed, quoted
from maintenance.needs import Finding, Need, Operators, Privilege, Remark, needs
from maintenance.policy import Policy
from maintenance.settings import Settings
from maintenance.sql import script, statement
from maintenance.tasks.survey import Survey

MAINTAIN_SINCE = 17
"""Major from which there is the privilege MAINTAIN. https://www.postgresql.org/docs/17/ddl-priv.html"""
_RESERVED = {"public", "none"}
"""Words that no role can have, quoted or not; a grant to `"public"` is one to everybody."""
_HEAD = """\
The least-privilege role {role} for the policy on database {database}. Run it in this database, as the owner of the
tables or an administrator: psql -v ON_ERROR_STOP=1 -f FILE. It may be run again. What each grant is for, and how
to take it back: docs/permissions.md.

The role itself is made once. With Entra ID, connected to the database postgres as an Entra administrator:
  select * from pgaadauth_create_principal_with_oid({literal}, '<object id>', 'service', false, false);
With a password:
  create role {role} login;"""
_LEDGER = "The ledger, where runs are written down. Made here, the role needs no right to create anything."
_MEMBERSHIPS = """\
Before PostgreSQL 17 only its owner may VACUUM and ANALYZE a table. Without that, vacuum and statistics are reported as
blocked, and `python -m maintenance run retention duplicates orphans unreferenced` runs without them. The lines below
give the role ALL that the owner may do, DROP included; take away the dashes in front if you want that."""
_MONITORING = """\
For [lag] replay, and to be run by an administrator: the server tells only a reader of all its statistics how far its
replicas are behind. This gives the role no table's rows, but the statements of all sessions to read. Without it that
limit is off, and each run says so."""
_MIGHTY = """\
{owner} owns tables that are to be vacuumed, and may do far more than that (a superuser, an administrator, or one that \
may make roles), so no membership in it is proposed: give the tables to another owner, or leave VACUUM to autovacuum"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One statement that gives a role something; `str()` is its SQL."""

    what: Fragment
    """The privilege with its columns and its object; or another role, whose member this one becomes."""
    role: str
    about: str
    """The object's name, for a reader."""
    why: str

    def __str__(self) -> str:
        return f"grant {self.what} to {quoted(self.role)};"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """All that a role needs on a database, in the order in which it is to be granted."""

    role: str
    database: str
    grants: tuple[Grant, ...]
    memberships: tuple[Grant, ...]
    """In the tables' owners, which stand for MAINTAIN where the server does not have it."""
    monitoring: tuple[Grant, ...]
    """What only an administrator can give, and a run can do without."""
    remarks: tuple[str, ...]


async def grants_for(role: str, settings: Settings) -> Grants:
    """What this role needs for the policy and the database of these settings. Reads only; the role need not exist.

    Raises:
        UsageError: no role can have this name.
        SettingsError, PolicyError, DatabaseError: as for a plan.
    """
    checked_role(role)
    policy = policy_file.load(settings.policy)
    async with connected(settings, name="maintenance sql grants", read_only=True) as connection:
        return await grants(role, connection, policy)


async def grants(role: str, connection: Connection, policy: Policy) -> Grants:
    """What this role, whose name is checked, needs for a policy on the database of this connection. Reads only.

    Raises:
        PolicyError: the policy does not fit the database.
    """
    database = str(await connection.fetchval(statement("grants", "database")))
    found = await needs(Survey(connection=connection, policy=policy, as_of=await clock(connection)))
    wanted = [need for need in found if isinstance(need, Need)]
    memberships: tuple[Grant, ...] = ()
    if connection.get_server_version().major < MAINTAIN_SINCE:
        oids = [need.oid for need in wanted if need.privilege is Privilege.MAINTAIN]
        wanted = [need for need in wanted if need.privilege is not Privilege.MAINTAIN]
        owners = await connection.fetch(statement("grants", "owners"), oids)
        names = [row["name"] for row in owners if row["name"] != role and not row["mighty"]]
        found += [Remark(text=_MIGHTY.format(owner=_line(row["name"]))) for row in owners if row["mighty"]]
        memberships = tuple(Grant(what=quoted(n), role=role, about=n, why="vacuum and statistics") for n in names)
    ledger, rights = quoted("maintenance"), "select, insert, update, delete"
    tables = listed([Table(schema="maintenance", name=name).sql for name in TABLES])
    fixed = (
        (f"connect on database {quoted(database)}", database, "to log in"),
        (f"usage on schema {ledger}", "maintenance", "the ledger"),
        (f"{rights} on table {tables}", "maintenance", "to write down runs, and to prune them"),
    )
    return Grants(
        role=role,
        database=database,
        grants=(
            *(Grant(what=Fragment(what), role=role, about=about, why=why) for what, about, why in fixed),
            *_on_schemas(role, found),
            *on_tables(role, wanted),
        ),
        memberships=memberships,
        monitoring=tuple(_monitoring(role, policy)),
        remarks=tuple(dict.fromkeys(finding.text for finding in found if isinstance(finding, Remark))),
    )


def _monitoring(role: str, policy: Policy) -> Iterator[Grant]:
    if policy.lag.replay is not None:
        why = "how far replicas are behind, for [lag] replay"
        yield Grant(what=Fragment("pg_read_all_stats"), role=role, about="replicas", why=why)


def _on_schemas(role: str, found: Iterable[Finding]) -> Iterator[Grant]:
    reasons: dict[str, str] = {}
    for finding in found:
        if isinstance(finding, Operators) and finding.schema != "pg_catalog":
            reasons.setdefault(finding.schema, f"operators in {finding.why}")
        elif isinstance(finding, Need):
            reasons[finding.table.schema] = "to find the tables below"
    for schema, why in sorted(reasons.items()):
        yield Grant(what=Fragment(f"usage on schema {quoted(schema)}"), role=role, about=schema, why=why)


def on_tables(role: str, wanted: Iterable[Need]) -> Iterator[Grant]:
    """One grant a table and privilege, with what all rules together need of it."""
    order = list(Privilege)

    def key(need: Need) -> tuple[Table, int]:
        return need.table, order.index(need.privilege)

    for (table, place), group in groupby(sorted(wanted, key=key), key=key):
        together = list(group)
        # To lock a row any column will do: one that must be written anyway, or else one for all rules.
        written = [need for need in together if not need.lock] or together[:1]
        columns = dict.fromkeys(column for need in written for column in need.columns)
        if any(not need.columns for need in written):
            columns = {}
        why = "; ".join(dict.fromkeys(need.why for need in together))
        inside = f" ({listed([quoted(column) for column in columns])})" if columns else ""
        yield Grant(
            what=Fragment(f"{order[place]}{inside} on table {table.sql}"),
            role=role,
            about=str(table),
            why=f"to lock a row: {why}" if all(need.lock for need in together) else why,
        )


def rendered(grants: Grants) -> str:
    """The script for psql: comments on how to make the role, the ledger, and the grants, each with its reason."""
    literal = "'" + grants.role.replace("'", "''") + "'"
    head = _HEAD.format(role=quoted(grants.role), database=_line(grants.database), literal=literal)
    connect, *others = grants.grants
    parts = [_comment(head), "\nbegin;", _line_of(connect), f"\n{_comment(_LEDGER)}", script("install/ledger").strip()]
    for about, group in groupby(others, key=lambda grant: grant.about):
        parts += [f"\n-- {_line(about)}", *(_line_of(grant) for grant in group)]
    parts.append("\ncommit;")
    if grants.monitoring:
        parts += [f"\n{_comment(_MONITORING)}", *(_line_of(grant) for grant in grants.monitoring)]
    if grants.memberships:
        parts += [f"\n{_comment(_MEMBERSHIPS)}", *(f"-- {_line_of(grant)}" for grant in grants.memberships)]
    if grants.remarks:
        parts += ["", *(f"-- {_line(remark)}" for remark in grants.remarks)]
    return "\n".join(parts) + "\n"


def checked_role(role: str) -> str:
    """The name, if a role can have it. Quotes, capitals, spaces and `@` are fine: Entra's roles have them.

    Raises:
        UsageError: it is empty, too long, reserved, or has characters that do not show.
    """
    unusable = "so there is nothing to grant; --role takes the role's name as pg_roles has it"
    if not role.strip():
        raise UsageError(f"--role is empty, {unusable}.")
    if not role.isprintable():
        raise UsageError(f"--role {role!r} has a character that does not show (NUL, a line break), {unusable}.")
    if len(role.encode()) > LONGEST_NAME:
        raise UsageError(f"--role {role!r} is longer than PostgreSQL's {LONGEST_NAME} bytes, {unusable}.")
    if role in _RESERVED or role.startswith("pg_"):
        raise UsageError(f"--role {role!r} is a word that PostgreSQL keeps for itself, {unusable}.")
    return role


def _line_of(grant: Grant) -> str:
    return f"{grant}  -- {_line(grant.why)}"


def _line(text: str) -> str:
    """Text that cannot end the comment it stands in."""
    return " ".join(text.split())


def _comment(text: str) -> str:
    return "\n".join(f"-- {line}".rstrip() for line in text.split("\n"))
