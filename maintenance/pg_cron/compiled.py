"""Compiled: what a policy becomes, as rows of the tables that the procedures in the database work by."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from maintenance.catalog import Leaf
from maintenance.models import UNLIMITED, Reach
from maintenance.names import Table

LEAF = Leaf(oid=4294967295, table=Table(schema="maintenance", name="@leaf@"))
"""Stands for the table or partition that a statement will be about; no table has this oid, which is the largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A question that must be answered with yes before a step may begin, and what is said where it is not."""

    question: str
    stop: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRule:
    """One rule on one table, in the columns of maintenance.cron_rule; None where its strategy has no such statement."""

    task: str
    table_name: str
    subject: str
    rule: str
    summary: str
    strategy: str
    root: str | None = None
    """The table, quoted; None where this database has none."""
    guards: tuple[Guarded, ...] = ()
    named: tuple[tuple[str, str], ...] = ()
    """Tables, quoted, each with a column: what the rule was compiled for."""
    limits: tuple[int, int, int] = (1, 1, 1)
    reach: Reach = UNLIMITED
    lag_objective: str | None = None
    keep: str | None = None
    moment: str | None = None
    newest: int | None = None
    floor: str | None = None
    proof: str | None = None
    proof_says: str | None = None
    columns: tuple[str, ...] = ()
    parent: str | None = None
    counts: str = ""
    leaf_counts: str = ""
    how_many: str = ""
    doomed: str = ""
    sweep: str | None = None
    claim: str | None = None
    claim_over: str | None = None
    remove: str | None = None
    correct: str | None = None
    held: str | None = None
    pass_: str | None = None
    remove_over: str | None = None

    def row(self, place: int, fingerprint: str) -> dict[str, Any]:
        """Its columns and their values, as the `place`-th rule."""
        plain = {
            name: value
            for name, value in asdict(self).items()
            if name not in ("guards", "named", "limits", "reach", "columns", "pass_")
        }
        smallest, first, largest = self.limits
        return {
            "place": place, **plain, "pass": self.pass_, "columns": list(self.columns), "fingerprint": fingerprint,
            "guards": [guard.question for guard in self.guards], "stops": [guard.stop for guard in self.guards],
            "named_tables": [table for table, _ in self.named], "named_columns": [column for _, column in self.named],
            "smallest": smallest, "first_size": first, "largest": largest, "max_rows": self.reach.max_rows,
            "max_fraction": self.reach.max_fraction, "ramp": self.reach.ramp,
        }  # fmt: skip
