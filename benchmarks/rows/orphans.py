"""Orphans: rows whose device is gone, among many devices."""

from __future__ import annotations

from benchmarks.contenders import Policy, ours, peer
from benchmarks.figures import Amount, Ratio
from benchmarks.measurement import Contender
from benchmarks.row import Row
from benchmarks.rows.states import scaled
from benchmarks.state import State

PARENTS = 400_000
CAP = 60.0
RULE = """
[[orphans]]
tables = ["inventory"]
column = "device_id"
parent = "devices"
parent_column = "id"
grace = "1 day"
max_fraction = 0.95
age_column = "updated_at"
"""


def rows(scale: float) -> tuple[Row, ...]:
    """One row."""
    state = State(
        name="inventories", scripts=("devices", "inventories"), amounts=(("devices", scaled(PARENTS, scale, 20)),)
    )
    return (
        Row(
            slug="orphans",
            title="orphans with 400,000 parents",
            contenders=(
                Contender(name="ours", state=state, work=ours(Policy(text=RULE), "orphans")),
                Contender(name="NOT IN", state=state, work=peer("not_in", cap=CAP)),
                Contender(name="NOT EXISTS", state=state, work=peer("not_exists")),
            ),
            figures=(
                Ratio(what="total, ReportMate's NOT IN", peer="NOT IN", most=0.02),
                Ratio(what="total, one anti-join", peer="NOT EXISTS"),
                Amount(what="longest transaction", metric="longest", unit="s"),
            ),
        ),
    )
