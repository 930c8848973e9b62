"""Partitioned events: two of three partitions hold nothing that has not expired."""

from __future__ import annotations

from benchmarks.contenders import Policy, ours, peer
from benchmarks.figures import Amount, Figure, Ratio
from benchmarks.measurement import Contender
from benchmarks.row import Row
from benchmarks.rows.states import scaled
from benchmarks.state import State

RULE = '[[retention]]\ntable = "events"\ncolumn = "created_at"\nkeep = "30 days"\n'
ROWS = 1_000_000


def rows(scale: float) -> tuple[Row, ...]:
    """One row, at two sizes."""
    small, large = _state("", ROWS, scale), _state("_large", 10 * ROWS, scale)
    work = ours(Policy(text=RULE), "retention")
    figures: tuple[Figure, ...] = (
        Amount(what="total", unit="s", most=0.1),
        Amount(what="total, ten times the rows", ours="ours, 3 x 10 M", unit="s", most=0.5),
        Ratio(what="total", peer="one DELETE"),
    )
    return (
        Row(
            slug="partitions",
            title="partitioned events, three partitions of 1 M rows, two go",
            contenders=(
                Contender(name="ours", state=small, work=work),
                Contender(name="one DELETE", state=small, work=peer("partitions")),
                Contender(name="ours, 3 x 10 M", state=large, work=work),
            ),
            figures=figures,
            rounds=3,
        ),
    )


def _state(suffix: str, count: int, scale: float) -> State:
    return State(
        name=f"partitions{suffix}",
        scripts=("partitions",),
        amounts=(("events", scaled(count, scale, 100)),),
        fleet=False,
    )
