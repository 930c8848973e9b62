"""Pace: the size of the next batch from the time of the last."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maintenance.pace import Pace

_LIMITS = (100, 2_000, 50_000)
_TARGET = 0.2


def test_the_first_batch_has_the_size_that_its_strategy_starts_with() -> None:
    assert Pace(_LIMITS, _TARGET).size_within(60) == 2_000


@pytest.mark.parametrize(
    ("size", "seconds", "following"),
    [
        (2_000, 0.2, 2_000),  # as it should be
        (2_000, 0.4, 1_000),  # twice as long: half as much
        (2_000, 0.16, 2_500),
        (2_000, 0.001, 4_000),  # growth is at most twofold
        (2_000, 0.0, 4_000),  # a clock that did not move
        (2_000, 60.0, 500),  # shrinking is at most fourfold
        (120, 60.0, 100),  # never below the smallest
        (40_000, 0.001, 50_000),  # never above the largest
    ],
)
def test_the_next_size_follows_the_measured_time(size: int, seconds: float, following: int) -> None:
    pace = Pace(_LIMITS, _TARGET)
    pace.took(size, seconds)
    assert pace.size_within(3600) == following


@pytest.mark.parametrize("per_row", [0.000_01, 0.000_1, 0.001, 0.001_9])
def test_batches_come_to_take_the_target_time(per_row: float) -> None:
    pace = Pace(_LIMITS, _TARGET)
    for _ in range(10):
        size = pace.size_within(3600)
        assert size is not None
        pace.took(size, size * per_row)
    assert pace.size_within(3600) == pytest.approx(_TARGET / per_row, rel=0.01)


@pytest.mark.parametrize(("fixed", "per_row"), [(0.1, 0.000_1), (0.5, 0.000_1), (2.0, 0.000_1)])
def test_a_cost_that_every_batch_has_is_not_paid_for_next_to_nothing(fixed: float, per_row: float) -> None:
    """Without this, a batch that takes too long whatever its size would shrink to the smallest."""
    pace = Pace(_LIMITS, _TARGET)
    for _ in range(12):
        size = pace.size_within(3600)
        assert size is not None
        pace.took(size, fixed + size * per_row)
    size = pace.size_within(3600)
    assert size is not None
    assert size * per_row >= 0.3 * fixed


def test_a_batch_that_would_not_end_in_time_does_not_start() -> None:
    pace = Pace(_LIMITS, _TARGET)
    pace.took(2_000, 0.2)
    assert pace.size_within(0.009) is None


def test_a_batch_is_made_small_enough_for_what_is_left() -> None:
    pace = Pace(_LIMITS, _TARGET)
    pace.took(2_000, 0.2)
    size = pace.size_within(0.1)
    assert size is not None
    assert 100 <= size < 1_000


@pytest.mark.parametrize(("size", "following"), [(2_000, 1_000), (150, 100), (50_000, 4_000)])
def test_a_batch_that_was_in_the_way_is_followed_by_one_half_as_large_and_then_they_grow_again(
    size: int, following: int
) -> None:
    pace = Pace(_LIMITS, _TARGET)
    pace.took(2_000, 0.001)
    pace.halve(size)
    assert pace.size_within(3600) == following
    pace.took(following, 0.001)
    assert pace.size_within(3600) == 2 * following


@pytest.mark.parametrize(("left", "starts"), [(0.0, False), (0.02, False), (0.03, True)])
def test_without_a_measure_a_batch_starts_unless_next_to_nothing_is_left(left: float, starts: bool) -> None:
    assert (Pace(_LIMITS, _TARGET).size_within(left) is not None) is starts


@settings(deadline=None, database=None)
@given(
    limits=st.tuples(st.integers(1, 1000), st.integers(0, 1000), st.integers(0, 100_000)),
    target=st.floats(0.0001, 10),
    batches=st.lists(st.tuples(st.just(0.0) | st.floats(1e-9, 100), st.floats(0, 20)), max_size=20),
)
def test_no_size_is_ever_outside_the_limits_nor_expected_to_outlast_the_budget(
    limits: tuple[int, int, int], target: float, batches: list[tuple[float, float]]
) -> None:
    smallest, first, largest = (limits[0], limits[0] + limits[1], sum(limits))
    pace = Pace((smallest, first, largest), target)
    per_row = None
    for seconds, left in batches:
        size = pace.size_within(left)
        if size is None:
            continue
        assert smallest <= size <= largest
        assert per_row is None or size * per_row <= left
        pace.took(size, seconds)
        per_row = seconds / size
