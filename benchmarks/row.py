"""A row of the table: contenders that take turns, and the figures that are read from what they took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.contenders import BenchmarkError
from benchmarks.figures import Figure, Reading
from benchmarks.measurement import Contender, Measurement, measured
from benchmarks.state import State, States

LONG = 60.0
"""A contender that took more seconds than this runs once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row, by its short name."""

    slug: str
    title: str
    contenders: tuple[Contender, ...]
    figures: tuple[Figure, ...]
    rounds: int = 5
    absent: str | None = None
    """Why it cannot be measured here."""

    def states(self) -> set[State]:
        """What it needs to be built."""
        return set() if self.absent else {contender.state for contender in self.contenders}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A row with what was measured."""

    row: Row
    measured: dict[str, list[Measurement]]

    def readings(self) -> list[tuple[Figure, Reading]]:
        """All its figures."""
        return [(figure, figure.of(self.measured)) for figure in self.row.figures] if self.measured else []


async def run(row: Row, states: States, rounds: int | None, tell: Callable[[str], None]) -> Result:
    """Measure all contenders in turn, as many rounds as are asked for or the row wants.

    Raises:
        BenchmarkError: two contenders of the same state did not leave the same rows.
    """
    found: dict[str, list[Measurement]] = {contender.name: [] for contender in row.contenders}
    left: dict[str, tuple[str, dict[str, str]]] = {}
    for number in range(rounds or row.rounds):
        for contender in row.contenders:
            before = found[contender.name]
            if before and before[0].seconds > LONG:
                continue
            tell(f"{row.slug} {number + 1}: {contender.name}")
            one = await measured(contender, states)
            before.append(one)
            if not one.capped:
                group = contender.leaves or contender.state.name
                name, rows = left.setdefault(group, (contender.name, one.left))
                if rows != one.left:
                    raise BenchmarkError(f"{row.slug}: {_difference(name, rows, contender.name, one.left)}")
    return Result(row=row, measured=found)


def _difference(name: str, rows: dict[str, str], other: str, others: dict[str, str]) -> str:
    tables = [table for table in rows.keys() | others.keys() if rows.get(table) != others.get(table)]
    told = "; ".join(f"{table}: {rows.get(table)} and {others.get(table)}" for table in sorted(tables))
    return f"{name!r} and {other!r} did not leave the same rows, so neither time means anything: {told}"
