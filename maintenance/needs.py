"""What each rule needs of the server's privileges: the columns that it reads, the rows that it locks and deletes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from asyncpg import exceptions as pg

from maintenance.catalog import Column, Relation, find
from maintenance.names import Fragment, Table, TableName, listed, quoted
from maintenance.rules import Duplicates, Orphans, Retention, Rule, Unreferenced
from maintenance.sql import statement
from maintenance.tasks.duplicates import within_leaf
from maintenance.tasks.retention import looks_elsewhere
from maintenance.tasks.shrink import ruled
from maintenance.tasks.survey import Survey, condition
from maintenance.tasks.upkeep import chosen, upkeep

_ADDRESS = ("ctid",)
_HOME = ("ctid", "tableoid")


class Privilege(StrEnum):
    """A privilege on a table. TRUNCATE is none of them."""

    SELECT = "select"
    DELETE = "delete"
    UPDATE = "update"
    MAINTAIN = "maintain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A privilege that a rule needs on a table, or on some of its columns."""

    table: Table
    privilege: Privilege
    columns: tuple[str, ...] = ()
    """The columns; none stands for the whole table."""
    lock: bool = False
    """UPDATE on any one column would do: PostgreSQL asks for it to lock a row."""
    oid: int = 0
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operators:
    """A schema whose operators a rule names."""

    schema: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What a reader should know of a rule that has no grants, or whose grants may not be all."""

    text: str


Finding: TypeAlias = Need | Operators | Remark


async def needs(survey: Survey) -> list[Finding]:
    """What the policy's rules need, in their order, and then VACUUM and ANALYZE. Reads only.

    Raises:
        PolicyError: the policy does not fit the database.
    """
    policy = survey.policy
    found: list[Finding] = []
    for retention in policy.retention:
        found += await _retention(retention, survey)
    for duplicates in policy.duplicates:
        for table in duplicates.tables:
            found += await _duplicates(duplicates, table, survey)
    for orphans in policy.orphans:
        for table in orphans.tables:
            found += await _orphans(orphans, table, survey)
    for unreferenced in policy.unreferenced:
        found += await _unreferenced(unreferenced, survey)
    deleting = {need.table for need in found if isinstance(need, Need) and need.privilege is Privilege.DELETE}
    return [*found, *await _upkeep(survey, deleting), *await _shrink(survey)]


async def _retention(rule: Retention, survey: Survey) -> list[Finding]:
    why = f"retention by {rule.column}"
    relation = await _located(survey, rule.table, (rule.column,), why)
    if isinstance(relation, Remark):
        return [relation]
    elsewhere = await looks_elsewhere(survey, rule.where)
    found: list[Finding] = []
    read: tuple[str, ...] | None = ()
    if rule.where is not None:
        where = await condition(survey, relation, rule.where)
        if elsewhere:
            read, found = None, await _elsewhere(survey, relation, where, why)
        else:
            read = await _columns(survey, relation, where)
    for leaf in relation.leaves:
        columns = () if read is None else (rule.column, *read, *_ADDRESS)
        found += _deleted(rule, leaf.table, columns, rule.column if elsewhere else None, why)
    if not rule.allow_empty and relation.partitioned:
        columns = () if read is None else (rule.column, *read)
        found.append(_read(relation.table, columns, f"{why}: whether a row would stay"))
    return found


async def _columns(survey: Survey, relation: Relation, where: Fragment) -> tuple[str, ...] | None:
    """The columns that a condition reads, found by taking one after the other away; None where it may read any."""

    async def stands(columns: Iterable[str]) -> bool:
        selected = listed([quoted(column) for column in columns])
        try:
            sql = statement("grants", "condition", columns=selected, table=relation.table.sql, where=where)
            await survey.connection.prepare(sql)
        except (pg.UndefinedColumnError, pg.UndefinedTableError):
            return False
        return True

    if not await stands(relation.columns):
        return None
    return tuple([c for c in relation.columns if not await stands(other for other in relation.columns if other != c)])


async def _elsewhere(survey: Survey, relation: Relation, where: Fragment, why: str) -> list[Finding]:
    """The tables that a condition names beside its own."""
    slots = {"table": relation.table.sql, "alias": quoted(relation.table.name), "where": where}
    async with survey.connection.transaction():
        await survey.connection.prepare(statement("survey", "where_bare", **slots))
        rows = await survey.connection.fetch(statement("grants", "named"))
    tables = [Table(schema=row["schema"], name=row["name"]) for row in rows]
    return [
        Remark(text=f"{relation.table}: {why} looks at other rows; grant also what a function in its condition reads."),
        *[_read(table, (), f"{why} of {relation.table}") for table in tables if table != relation.table],
    ]


async def _duplicates(rule: Duplicates, name: TableName, survey: Survey) -> list[Finding]:
    why = f"duplicates by {', '.join(rule.key)}"
    relation = await _located(survey, name, (*rule.key, *rule.newest), why)
    if isinstance(relation, Remark):
        return [relation]
    columns = (*rule.key, *rule.newest, *_HOME)
    found: list[Finding] = []
    across = relation.partitioned and not within_leaf(rule, relation)
    for leaf in relation.leaves:
        found += _deleted(rule, leaf.table, columns, None if across else rule.key[0], why)
    if across:
        elsewhere = f"{why}: the row that stays may lie in another partition"
        found += [_read(relation.table, columns, elsewhere), _update(relation.table, rule.key[0], elsewhere, lock=True)]
    return found


async def _orphans(rule: Orphans, name: TableName, survey: Survey) -> list[Finding]:
    why = f"orphans by {rule.column}"
    read = (rule.column, *([rule.age_column] if rule.age_column else []))
    relation = await _located(survey, name, read, why)
    if isinstance(relation, Remark):
        return [relation]
    parent = await _located(survey, rule.parent, (rule.parent_column,), f"{why} of {relation.table}")
    found: list[Finding] = []
    for leaf in relation.leaves:
        found += _deleted(rule, leaf.table, (*read, *_ADDRESS), rule.column, why)
    if isinstance(parent, Remark):
        found.append(parent)
    else:
        found.append(_read(parent.table, (rule.parent_column,), f"parent in {why}"))
        operators = relation.column(rule.column).operators_with(parent.column(rule.parent_column))
        found.append(Operators(schema=operators, why=f"{why} of {relation.table}"))
    if not rule.allow_empty_parent and relation.partitioned:
        found.append(_read(relation.table, (rule.column,), f"{why}: whether anything is at stake"))
    return found


async def _unreferenced(rule: Unreferenced, survey: Survey) -> list[Finding]:
    why = f"unreferenced by {rule.column}"
    read = (rule.column, *([rule.count_column] if rule.count_column else []))
    relation = await _located(survey, rule.table, read, why)
    if isinstance(relation, Remark):
        return [relation]
    column = relation.column(rule.column)
    found: list[Finding] = []
    for leaf in relation.leaves:
        found += _deleted(rule, leaf.table, (*read, *_ADDRESS), None if rule.count_column else rule.column, why)
        if rule.count_column:
            counted = f"{why}: {rule.count_column} is corrected"
            found.append(_update(leaf.table, rule.count_column, counted))
    sources, reading = await _references(rule, survey, why)
    found += [*reading, Operators(schema=column.operators_with(*sources), why=f"{why} of {relation.table}")]
    if relation.partitioned and not (rule.allow_empty_parent and sources):
        found.append(_read(relation.table, (rule.column,), f"{why}: whether anything is at stake"))
    return found


async def _references(rule: Unreferenced, survey: Survey, why: str) -> tuple[list[Column], list[Finding]]:
    """The columns that refer to a catalog, and what to read them needs."""
    sources: list[Column] = []
    found: list[Finding] = []
    silent: dict[Table, tuple[str, ...]] = {}
    for reference in rule.references:
        source = await _located(survey, reference.table, (reference.column,), f"reference in {why}")
        if isinstance(source, Relation):
            sources.append(source.column(reference.column))
            found.append(_read(source.table, (reference.column, *_HOME), f"reference in {why}"))
            continue
        found.append(source)
        present = await find(survey.connection, reference.table)
        if present is not None and not rule.allow_empty_parent:
            silent[present.table] = tuple(present.columns)[:1]
    heard = {need.table for need in found if isinstance(need, Need)}
    asked = [(table, columns) for table, columns in silent.items() if columns and table not in heard]
    found += [_read(table, columns, f"{why}: whether it has rows") for table, columns in asked]
    return sources, found


async def _upkeep(survey: Survey, deleting: set[Table]) -> list[Finding]:
    """VACUUM and ANALYZE of what the patterns take, and statistics of what the rules delete from."""
    found: list[Finding] = []
    for row in await upkeep(survey):
        table = Table(schema=row["schema"], name=row["name"])
        if chosen(table, survey.policy.vacuum.tables) or table in deleting:
            found.append(Need(table=table, oid=row["oid"], privilege=Privilege.MAINTAIN, why="vacuum and statistics"))
    return found


async def _shrink(survey: Survey) -> list[Finding]:
    """VACUUM FULL, and a look at how much is live."""
    found: list[Finding] = []
    for _, row in ruled(await upkeep(survey), survey.policy) if survey.policy.shrink else ():
        table = Table(schema=row["schema"], name=row["name"])
        found += [
            _read(table, (), "shrink: how much of it is live"),
            Need(table=table, oid=row["oid"], privilege=Privilege.MAINTAIN, why="shrink"),
        ]
    return found


async def _located(survey: Survey, name: TableName, columns: Iterable[str], why: str) -> Relation | Remark:
    relation = await find(survey.connection, name)
    if relation is None:
        return Remark(text=f"{name} is absent, so {why} needs nothing of it.")
    missing = [column for column in columns if column not in relation.columns]
    if missing:
        return Remark(text=f"{relation.table} has no column {', '.join(missing)}, so {why} has no grants here.")
    return relation


def _deleted(rule: Rule, table: Table, columns: tuple[str, ...], lock: str | None, why: str) -> list[Finding]:
    """What a table needs whose rows go; `lock` where they are locked before they are judged."""
    locked = [] if lock is None else [_update(table, lock, why, lock=True)]
    if rule.archive is not None:
        columns, why = (), f"{why}: all that is archived"
    return [_read(table, columns, why), Need(table=table, privilege=Privilege.DELETE, why=why), *locked]


def _read(table: Table, columns: tuple[str, ...], why: str) -> Need:
    return Need(table=table, privilege=Privilege.SELECT, columns=columns, why=why)


def _update(table: Table, column: str, why: str, *, lock: bool = False) -> Need:
    return Need(table=table, privilege=Privilege.UPDATE, columns=(column,), lock=lock, why=why)
