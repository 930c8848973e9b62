"""What the tasks must leave behind, judged in plain Python from the words of the rules, with no look at the SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

Moment: TypeAlias = date | datetime | None


class Entry(NamedTuple):
    """A row of a catalog with its counter."""

    row: int
    value: Hashable | None
    counter: int | None


class Use(NamedTuple):
    """A row of a referencing table, and all the values that it names."""

    table: str
    row: int
    values: frozenset[Hashable]


def older(moment: Moment, as_of: datetime, age: timedelta) -> bool:
    """Whether a moment lies more than `age` before `as_of`: a timestamp is UTC, a date meets a date, NULL never."""
    cutoff = as_of.astimezone(UTC) - age
    if moment is None:
        return False
    if not isinstance(moment, datetime):
        return moment < cutoff.date()
    return moment.replace(tzinfo=UTC) < cutoff


def rivals(rows: Iterable[tuple[int, Sequence[Any], Sequence[Any]]]) -> tuple[set[int], list[set[int]]]:
    """Of (row, key, newest): the rows that nothing rivals, and for each key the rows of which exactly one must stay."""
    alone: set[int] = set()
    groups: defaultdict[tuple[Any, ...], list[tuple[tuple[Any, ...], int]]] = defaultdict(list)
    for row, key, newest in rows:
        if None in key:
            alone.add(row)
        else:
            rank = tuple((value is not None, *([] if value is None else [value])) for value in newest)
            groups[tuple(key)].append((rank, row))
    best = []
    for members in groups.values():
        greatest = max(rank for rank, _ in members)
        best.append({row for rank, row in members if rank == greatest})
    return alone, best


def orphaned(value: Hashable | None, parents: Iterable[Hashable | None]) -> bool:
    """Whether a reference names no parent; one that names nothing is no orphan."""
    return value is not None and value not in set(parents)


def catalog_left(entries: Iterable[Entry], uses: Iterable[Use], *, counted: bool) -> list[Entry]:
    """The entries that something names or that have no value to be named by, their counters corrected."""
    users: defaultdict[Hashable, set[tuple[str, int]]] = defaultdict(set)
    for use in uses:
        for value in use.values:
            users[value].add((use.table, use.row))
    left = []
    for entry in entries:
        if entry.value is None:
            left.append(entry)
        elif entry.value in users:
            left.append(entry._replace(counter=len(users[entry.value])) if counted else entry)
    return left
