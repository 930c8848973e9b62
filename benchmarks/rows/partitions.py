"""Partitioned events: two of three partitions hold nothing that has not expired."""

from __future__ import annotations

from benchmarks.contenders import Policy, ours, peer
from benchmarks.figures import Amount, Figure, Ratio
from benchmarks.measurement import Contender
from benchmarks.row import Row
from benchmarks.rows.states import scaled
from benchmarks.state import State

RULE = '[[retention]]\ntable = "events"\ncolumn = "created_at"\nkeep = "30 days"\nboundary = "leave"\n'
ROWS = 1_000_000


def rows(scale: float, *, full: bool) -> tuple[Row, ...]:
    """One row; in full at two sizes."""
    small, large = _state("", ROWS, scale), _state("_large", 10 * ROWS, scale)
    work = ours(Policy(text=RULE), "retention")
    contenders: tuple[Contender, ...] = (
        Contender(name="ours", state=small, work=work),
        Contender(name="DROP TABLE by hand", state=small, work=peer("drop_partitions")),
        Contender(name="one DELETE", state=small, work=peer("partitions")),
    )
    figures: tuple[Figure, ...] = (
        Amount(what="total", unit="s", most=0.1),
        Ratio(what="total, against DROP TABLE by hand", peer="DROP TABLE by hand"),
        Ratio(what="total, against one DELETE", peer="one DELETE"),
    )
    if full:
        contenders += (Contender(name="ours, ten times the rows", state=large, work=work),)
        figures += (Amount(what="total, ten times the rows", ours="ours, ten times the rows", unit="s", most=0.5),)
    return (
        Row(
            slug="partitions",
            title="partitioned events, three partitions of 1 M rows, two go, the third is left until all of it is due",
            contenders=contenders,
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
