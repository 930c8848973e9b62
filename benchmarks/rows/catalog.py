"""The catalog: policies that nobody names any more, and how many devices name the others."""

from __future__ import annotations

from benchmarks.contenders import Policy, ours, peer
from benchmarks.figures import Amount, Ratio
from benchmarks.measurement import Contender
from benchmarks.row import Row
from benchmarks.rows.states import POLICIES, STALE, catalog

STEADY = POLICIES // 10
RULE = """
[[unreferenced]]
table = "policy_catalog"
column = "policy_hash"
references = [
    { table = "profiles", column = "intune_policy_hashes" },
    { table = "profiles", column = "security_policy_hashes" },
]
count_column = "device_count"
max_fraction = 0.95
"""


def rows(scale: float, *, full: bool) -> tuple[Row, ...]:
    """What ReportMate's first clean-up found; in full also a steady catalog, for which its way needs minutes."""
    title = "catalog: 66,000 policies, 1,000 devices, 80 hashes each"
    first = _row("catalog", f"{title}; 47,699 unreferenced", STALE, scale)
    return (first, _row("catalog-steady", f"{title}; a tenth unreferenced", STEADY, scale)) if full else (first,)


def _row(slug: str, title: str, stale: int, scale: float) -> Row:
    state = catalog(slug.replace("-", "_"), stale, scale)
    return Row(
        slug=slug,
        title=title,
        contenders=(
            Contender(name="ours", state=state, work=ours(Policy(text=RULE), "unreferenced")),
            Contender(name="ReportMate's way", state=state, work=peer("catalog")),
        ),
        figures=(
            Ratio(what="total", peer="ReportMate's way", most=0.02),
            Amount(what="longest transaction", metric="longest", unit="s"),
        ),
    )
