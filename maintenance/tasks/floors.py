"""Floors: rows that stay however old they are, since too few newer ones would be left."""

from __future__ import annotations

from dataclasses import replace

from asyncpg import Connection

from maintenance.catalog import Relation, leading_indexes
from maintenance.errors import PolicyError
from maintenance.names import Fragment, listed, quoted
from maintenance.rules import PerKey, Retention
from maintenance.sql import statement
from maintenance.tasks.expired import NAME, Expired

_SMALL = 1 << 20
"""Bytes of a table up to which nobody needs an index to find the other rows of a key."""


async def kept(rule: Retention, relation: Relation, whole: Expired, connection: Connection) -> Expired:
    """The rows that expire, without those that stay as the newest of their table or of their key.

    Raises:
        PolicyError: no such column, or no index by which the other rows of a key are found.
    """
    if rule.keep_newest is not None:
        bound = await connection.fetchval(whole.sql("floor"), whole.bound, rule.keep_newest)
        whole = replace(whole, bound=bound)
    if rule.keep_per_key is None:
        return whole
    await _refuse_without_index(rule.keep_per_key, relation, connection)
    return replace(whole, where=Fragment(f"{whole.where} and {_beaten(rule.keep_per_key, relation, whole)}"))


def floors(rule: Retention) -> str:
    """What the plan says of them."""
    said = "" if rule.keep_newest is None else f", but for the newest {rule.keep_newest:,}"
    if rule.keep_per_key is not None:
        columns = ", ".join(rule.keep_per_key.columns)
        said += f", but for the newest {rule.keep_per_key.rows:,} of each {columns}"
    return said


def _beaten(per_key: PerKey, relation: Relation, whole: Expired) -> Fragment:
    columns = [relation.column(name).sql for name in per_key.columns]
    alias = whole.alias
    same = [
        Fragment(f"maintenance_newer.{column} {relation.column(name).equals()} {alias}.{column}")
        for name, column in zip(per_key.columns, columns, strict=True)
    ]
    unkeyed = [Fragment(f"{alias}.{column} is null") for column in columns]
    return Fragment(
        statement(
            NAME, "beaten", whole=Fragment(f"{whole.only} {relation.table.sql}"), alias=alias,
            same=listed(same, " and "),
            unkeyed=listed(unkeyed, " or "), column=whole.moment.column.sql, others=Fragment(f"{per_key.rows - 1:d}"),
        )
    )  # fmt: skip


async def _refuse_without_index(per_key: PerKey, relation: Relation, connection: Connection) -> None:
    for leaf in relation.leaves:
        size = await connection.fetchval(statement("catalog", "blocks"), leaf.oid) or 0
        found = [await leading_indexes(connection, leaf, relation.column(name)) for name in per_key.columns]
        if size * 8192 > _SMALL and not any(not index.partial for indexes in found for index in indexes):
            columns = ", ".join(quoted(name) for name in per_key.columns)
            raise PolicyError(
                f"{leaf.table}: keep_per_key would compare each row with all others, as no index leads with "
                f"{', '.join(per_key.columns)}; CREATE INDEX CONCURRENTLY ON {leaf.table.sql} ({columns})."
            )
