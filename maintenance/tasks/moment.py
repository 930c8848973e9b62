"""Columns that hold a moment, and a cutoff in the words of their type."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from maintenance.catalog import Column, Relation
from maintenance.errors import PolicyError
from maintenance.names import Fragment

_TYPES = {
    "timestamp with time zone": Fragment("timestamptz"),
    "timestamp without time zone": Fragment("timestamp"),
    "date": Fragment("date"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A column of type timestamptz, timestamp (read as UTC) or date (the UTC date)."""

    column: Column
    type: Fragment

    @classmethod
    def of(cls, relation: Relation, name: str) -> Moment:
        """The column of that name.

        Raises:
            PolicyError: no such column, or none that holds a moment.
        """
        column = relation.column(name)
        if column.type not in _TYPES:
            raise PolicyError(
                f"Column {name!r} of {relation.table} is of type {column.type}, which has no age; "
                "name a column of type timestamptz, timestamp or date."
            )
        return cls(column=column, type=_TYPES[column.type])

    def bound(self, cutoff: datetime) -> datetime | date:
        """The cutoff as a value of this column's type."""
        utc = cutoff.astimezone(UTC)
        if self.type == "timestamptz":
            return utc
        return utc.date() if self.type == "date" else utc.replace(tzinfo=None)
