"""How long a VACUUM is expected to take, and what is said where the budget does not suffice for it."""

from __future__ import annotations

import pytest

from maintenance.budget import spelled
from maintenance.models import StopReason, Took, Verdict
from maintenance.names import Table
from maintenance.steps import Settled
from maintenance.tasks.expectation import expected, speed
from maintenance.verdicts import OUT_OF_BUDGET, put_off

_MB = 1_000_000
_DISK = 25 * _MB


def took(seconds: float, megabytes: float, *, cut: bool = False) -> Took:
    return Took(seconds=seconds, size=int(megabytes * _MB), cut=cut)


_KNOWN = [took(1, 100), took(2, 100), took(10, 100)]


@pytest.mark.parametrize(
    ("known", "megabytes_a_second"),
    [
        ([], 25),
        (_KNOWN[:2], 25),  # too few to tell
        (_KNOWN, 25),  # half of the 50 of the middle one
        ([took(1, 200), took(1, 200), took(1, 200)], 100),
        ([took(1, 1), took(1, 1), took(1, 1)], 25),  # small tables tell nothing
        ([*_KNOWN, took(1, 500, cut=True), took(1, 500, cut=True)], 25),
    ],
)
def test_the_speed_is_that_of_the_other_tables_halved_or_a_small_disks(
    known: list[Took], megabytes_a_second: float
) -> None:
    assert speed(known) == megabytes_a_second * _MB


@pytest.mark.parametrize(
    ("megabytes", "last", "seconds"),
    [
        (None, None, None),
        (1000, None, 40),  # by its size
        (1000, took(10, 1000), 10),  # as the last time
        (2000, took(10, 1000), 20),  # has grown
        (500, took(10, 1000), 5),  # has shrunk
        (0, took(10, 1000), 0),
        (None, took(10, 1000), 10),  # somebody's lock is on it
        (1, took(840, 1), 840),  # a small one that took long
        (251, took(0.1, 1), 10.1),  # was too small to tell, and has grown
        (1000, took(100, 1000, cut=True), 200),  # was not over by then
        (1000, took(5, 1000, cut=True), 40),
        (None, took(5, 1000, cut=True), 40),
    ],
)
def test_what_is_expected_follows_the_last_time_and_the_size(
    megabytes: float | None, last: Took | None, seconds: float | None
) -> None:
    size = None if megabytes is None else int(megabytes * _MB)
    assert expected(size, last, _DISK) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "under 1 s"), (1, "1 s"), (99.4, "99 s"), (100, "2 min"), (840, "14 min"), (5_000, "83 min"),
        (6_300, "1 h 45 min"), (36_000, "10 h 0 min"),
    ],
)  # fmt: skip
def test_a_duration_is_spelled_as_exactly_as_an_estimate_deserves(seconds: float, words: str) -> None:
    assert spelled(seconds) == words


def _put_off(table: str, seconds: float, *, left: float, whole: float) -> Verdict:
    step = Settled(
        task="upkeep", table=Table(schema="s", name=table), summary="", expected=seconds, verdict=OUT_OF_BUDGET
    )
    return put_off(step, left, whole)


def test_what_a_whole_budget_would_suffice_for_waits_for_the_next_run() -> None:
    verdict = _put_off("t", 840, left=300, whole=1800)
    assert verdict.stop_reason is StopReason.BUDGET
    assert verdict.message == (
        "put off: about 14 min expected, 5 min of the budget left; the next run takes it before other tables"
    )


@pytest.mark.parametrize("whole", [300, 860])
def test_what_no_budget_suffices_for_is_told_with_the_command_that_does_it(whole: float) -> None:
    verdict = _put_off("it's", 840, left=300, whole=whole)
    assert verdict.stop_reason is StopReason.BUDGET
    assert verdict.message == (
        f"put off: about 14 min expected, the whole budget is {spelled(whole)}, so no run would ever begin with it: "
        "raise MAINTENANCE_BUDGET, or run it by itself, "
        "`python -m maintenance run upkeep --tables 's.it'\"'\"'s' --budget 21m`"
    )
