"""Duplicates: all rows of a device but the newest."""

from __future__ import annotations

from benchmarks.contenders import Policy, ours, peer
from benchmarks.figures import Amount, Ratio
from benchmarks.measurement import Contender
from benchmarks.row import Row
from benchmarks.rows.states import scaled
from benchmarks.state import State

ROWS = 400_000
RULE = (
    '[[duplicates]]\ntables = ["installs"]\nkey = ["device_id"]\nnewest = ["updated_at", "id"]\nmax_fraction = 0.95\n'
)


def rows(scale: float) -> tuple[Row, ...]:
    """A quarter of the rows go, and three quarters."""
    return (
        _row("duplicates", "duplicates: 400,000 rows of 300,000 keys, a quarter go", 300_000, scale),
        _row("duplicates-most", "the same of 110,000 keys, three quarters go", 110_000, scale),
    )


def _row(slug: str, title: str, keys: int, scale: float) -> Row:
    state = State(
        name=slug.replace("-", "_"),
        scripts=("installs",),
        amounts=(("rows", scaled(ROWS, scale, 40)), ("keys", scaled(keys, scale, 11))),
    )
    return Row(
        slug=slug,
        title=title,
        contenders=(
            Contender(name="ours", state=state, work=ours(Policy(text=RULE), "duplicates")),
            Contender(name="window", state=state, work=peer("window")),
        ),
        figures=(
            Ratio(what="total", peer="window", most=1.0),
            Amount(what="longest transaction", metric="longest", unit="s"),
            Ratio(what="WAL", metric="wal", peer="window"),
        ),
    )
