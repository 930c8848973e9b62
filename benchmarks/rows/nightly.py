"""The whole daily clean-up by ReportMate's policy against ReportMate's own script; and again, with nothing left."""

from __future__ import annotations

from pathlib import Path

from benchmarks.contenders import Policy, ours, peer, ran
from benchmarks.figures import Amount, Ratio
from benchmarks.measurement import Contender
from benchmarks.row import Row
from benchmarks.rows.states import fleet, without_index
from benchmarks.state import Clone

_FILE = Path(__file__).parents[2] / "maintenance.toml"
_KEEP = 'column = "created_at"\nkeep = "30 days"\nwhere'
NAME = "daily-cleanup"


def reportmate(cut: str) -> Policy:
    """The policy of this repository, with a cut of the benchmark's events in place of their 30 days."""
    before, keep, after = _FILE.read_text(encoding="utf-8").partition(_KEEP)
    if not keep:
        raise AssertionError(f"{_FILE} has no rule on events that the benchmark could set")
    return Policy(text=before + keep.replace("30 days", "{keep}") + after, cut=cut)


def rows(scale: float) -> tuple[Row, ...]:
    """A night, and the run after it."""
    state = fleet(scale)
    policy = reportmate("sixtieth")

    async def clean(clone: Clone) -> None:
        await ran(await policy.settings(clone), NAME)

    nightly = Row(
        slug="nightly",
        title="whole daily clean-up: 1.5 M events (1/60 expired), 1,000 devices, 66,000 policies",
        contenders=(
            Contender(name="ours", state=state, prepare=without_index, work=ours(policy, NAME)),
            Contender(
                name="ReportMate's script", state=state, prepare=without_index,
                work=peer("nightly", cut="sixtieth", afterwards="vacuum (analyze)"),
            ),
        ),
        figures=(
            Ratio(what="total", peer="ReportMate's script", most=0.10),
            Ratio(what="longest transaction", metric="longest", peer="ReportMate's script"),
            Ratio(what="WAL", metric="wal", peer="ReportMate's script"),
            Amount(
                what="VACUUM ANALYZE after the script, not in its total", metric="afterwards", unit="s",
                ours="ReportMate's script",
            ),
        ),
        rounds=3,
    )  # fmt: skip
    again = Row(
        slug="clean",
        title="daily clean-up once more on the same, indexes on the columns",
        contenders=(Contender(name="ours", state=state, prepare=clean, work=ours(policy, NAME)),),
        figures=(
            Amount(what="database time", metric="database", unit="s", most=0.3),
            Amount(what="total", unit="s"),
        ),
        rounds=3,
    )
    return nightly, again
