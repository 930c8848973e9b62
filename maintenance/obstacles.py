"""Obstacles: tables where a DELETE does not do what it says: triggers, rules, inheritance, publications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from asyncpg import Connection

from maintenance.names import quoted
from maintenance.sql import statement
from maintenance.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """What stands between a DELETE and the rows of one table."""

    triggers: tuple[str, ...]
    """Those that run before each row goes, and may keep it."""
    rules: tuple[str, ...]
    """Those that rewrite the statement."""
    children: tuple[str, ...]
    """Tables that inherit from it; they are no partitions of it, and a rule is about the table alone."""
    anonymous: tuple[str, ...]
    """Publications that replicate its deletes, while it has no replica identity to name the rows by."""

    def stop(self, step: Step) -> str | None:
        """Why nothing can be deleted at all, or None."""
        if self.rules:
            drop = f"DROP RULE {quoted(self.rules[0])} ON {step.table.sql}"
            return (
                f"the rule {self.rules[0]} rewrites every DELETE on {step.table}, so nothing was deleted: what it "
                f"would do instead nobody can foresee; {drop}, or take the table out of the policy"
            )
        if self.anonymous:
            return (
                f"{step.table} has no replica identity, and the publication {self.anonymous[0]} replicates its "
                f"deletes, so the server refuses them and nothing was deleted; give it a primary key, or "
                f"ALTER TABLE {step.table.sql} REPLICA IDENTITY FULL"
            )
        return None

    def words(self) -> str:
        """What the plan says of it."""
        said = []
        if self.triggers:
            said.append(f"before each delete runs {', '.join(self.triggers)}, which may keep the row")
        if self.children:
            said.append(
                f"not those of {', '.join(self.children)}, which inherit from it: name them to have them judged"
            )
        return "".join(f"; {words}" for words in said)


async def obstacles(connection: Connection) -> Mapping[int, Obstacle]:
    """All of the database, by the oid of the table; looks into the catalogs only."""
    return {
        row["oid"]: Obstacle(
            triggers=tuple(row["triggers"]), rules=tuple(row["rules"]), children=tuple(row["children"]),
            anonymous=tuple(row["anonymous"]),
        )
        for row in await connection.fetch(statement("guards", "obstacles"))
    }  # fmt: skip
