"""Retention of events: against the single DELETE, and against the one that is repeated with a limit."""

from __future__ import annotations

from benchmarks.contenders import Policy, ours, peer
from benchmarks.figures import Amount, Figure, Ratio
from benchmarks.measurement import Contender
from benchmarks.row import Row
from benchmarks.rows.states import EVENTS, events, without_index

RULE = '[[retention]]\ntable = "events"\ncolumn = "{column}"\nkeep = "{keep}"\nwhere = "module_id is null"\n'
CREATED_AT = RULE.replace("{column}", "created_at")
TIMESTAMP = RULE.replace("{column}", "timestamp")


def rows(scale: float) -> tuple[Row, ...]:
    """Half expired with and without an index, a sixtieth expired, and half by 50,000."""
    return _half_indexed(scale), _half_plain(scale), _sixtieth(scale), _limit(scale)


def _half_indexed(scale: float) -> Row:
    state = events(EVENTS, scale)
    return Row(
        slug="half-indexed",
        title="1.5 M events, half expired, index on the column",
        contenders=(
            Contender(name="ours", state=state, work=ours(Policy(text=CREATED_AT, cut="half"), "retention")),
            Contender(name="one DELETE", state=state, work=peer("one_delete", cut="half")),
        ),
        figures=(
            Ratio(what="total", peer="one DELETE", most=1.10),
            Amount(what="longest transaction", metric="longest", unit="s", most=0.25),
            Ratio(what="WAL", metric="wal", peer="one DELETE", most=1.03),
        ),
    )  # fmt: skip


def _half_plain(scale: float) -> Row:
    state = events(EVENTS, scale)
    return Row(
        slug="half-plain",
        title="the same, no index on the column",
        contenders=(
            Contender(
                name="ours", state=state, prepare=without_index,
                work=ours(Policy(text=CREATED_AT, cut="half"), "retention"),
            ),
            # What a job of pg_cron has in it.
            Contender(name="one DELETE", state=state, prepare=without_index, work=peer("one_delete", cut="half")),
        ),
        figures=(
            Ratio(what="total", peer="one DELETE", most=1.15),
            Amount(what="longest transaction", metric="longest", unit="s"),
            Ratio(what="WAL", metric="wal", peer="one DELETE"),
        ),
    )  # fmt: skip


def _sixtieth(scale: float) -> Row:
    state = events(EVENTS, scale)
    return Row(
        slug="sixtieth",
        title="1/60 expired, index on the column",
        contenders=(
            Contender(name="ours", state=state, work=ours(Policy(text=CREATED_AT, cut="sixtieth"), "retention")),
            Contender(name="one DELETE", state=state, work=peer("one_delete", cut="sixtieth")),
            Contender(
                name="one DELETE, no index", state=state, prepare=without_index, work=peer("one_delete", cut="sixtieth")
            ),
        ),
        figures=(
            Ratio(what="total, peer with the index", peer="one DELETE", most=1.5),
            Ratio(what="total, peer without it", peer="one DELETE, no index", most=0.3),
        ),
    )


def _limit(scale: float) -> Row:
    state = events(EVENTS, scale)
    figures: tuple[Figure, ...] = (Ratio(what="total", peer="limit 50000", most=0.35),)
    return Row(
        slug="limit-50000",
        title="the same half, by `id in (select ... limit 50000)` repeated",
        contenders=(
            Contender(name="ours", state=state, work=ours(Policy(text=TIMESTAMP, cut="half"), "retention")),
            Contender(name="limit 50000", state=state, work=peer("limit_50000", cut="half", repeat=True)),
        ),
        figures=figures,
        rounds=3,
    )
