"""Deletion: the one way in which a task lets rows go, so that whoever gives it a step may see to them first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from maintenance.names import Fragment

if TYPE_CHECKING:
    from asyncpg import Connection


class Deleter(Protocol):
    """Lets rows go."""

    async def delete(self, connection: Connection, sql: str, alias: Fragment, *values: object) -> int:
        """Execute a DELETE, perhaps one that begins with WITH, and return how many rows went.

        A RETURNING clause may be added to its end: it has none, and calls its table `alias`.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """Deletes, and that is all."""

    async def delete(self, connection: Connection, sql: str, alias: Fragment, *values: object) -> int:
        """The number is the server's own, as in `DELETE 12`."""
        return int((await connection.execute(sql, *values)).split()[-1])


PLAIN = Plain()
