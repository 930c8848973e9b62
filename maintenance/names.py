"""Names of things in the database, and the only way in which a name or a condition becomes part of a statement."""

from __future__ import annotations

from dataclasses import dataclass

from maintenance.errors import PolicyError

LONGEST_NAME = 63
"""Bytes that PostgreSQL keeps of an identifier (NAMEDATALEN - 1); it cuts longer ones silently.
https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS"""


class Fragment(str):
    """A piece of SQL that may enter a statement: a quoted name, or text that the server itself has checked."""

    __slots__ = ()


def quoted(name: str) -> Fragment:
    """The identifier in double quotes, whatever characters it has (names from the system catalogs may have any)."""
    return Fragment('"' + name.replace('"', '""') + '"')


def literal(text: str) -> Fragment:
    """The text in single quotes, for a place that takes no $n; only what the server has checked, such as a size."""
    return Fragment("'" + text.replace("'", "''") + "'")


def listed(fragments: list[Fragment], separator: str = ", ") -> Fragment:
    """Fragments joined by a separator."""
    return Fragment(separator.join(fragments))


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Table:
    """A table by the names that the system catalogs have for it; without a schema where there is no such table."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name

    @property
    def sql(self) -> Fragment:
        """Schema and name, quoted."""
        return Fragment(f"{quoted(self.schema)}.{quoted(self.name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableName:
    """A table as the policy names it: the schema may be left to the search path; case counts."""

    schema: str | None
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Split `schema.table`.

        Raises:
            PolicyError: a part is not a name.
        """
        parts = text.split(".")
        if len(parts) > 2:
            raise PolicyError(f"{text!r} has more than one dot; write the table as 'schema.table' or 'table'.")
        checked = [checked_name(part) for part in parts]
        return cls(schema=checked[0] if len(checked) == 2 else None, name=checked[-1])


def checked_name(name: str) -> str:
    """The name of a table or column as written in the policy, if PostgreSQL can have it.

    Raises:
        PolicyError: empty, too long, or with a character that points to a mistake or an attack.
    """
    if not name.strip():
        raise PolicyError("A name is empty; write the name of a table or column.")
    wrong = sorted({c for c in name if c in "\"'`;" or ord(c) < 32})
    if wrong:
        shown = ", ".join(repr(c) for c in wrong)
        raise PolicyError(f"The name {name!r} has {shown} in it; write the bare name, without quotes: we quote it.")
    if len(name.encode()) > LONGEST_NAME:
        raise PolicyError(f"The name {name!r} is longer than PostgreSQL's {LONGEST_NAME} bytes; shorten it.")
    return name
