"""The flow of WAL against its limit: for how long a run has to hold back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maintenance.lag import Flow

_LIMIT = 1000.0


def test_what_was_written_before_the_first_look_is_nobodys() -> None:
    flow = Flow(_LIMIT)
    flow.add(1_000_000, 5)
    assert (flow.ahead, flow.rate) == (0, 0)


@pytest.mark.parametrize(
    ("written", "seconds", "ahead"),
    [
        (1000, 1.0, 0.0),  # at the limit
        (500, 1.0, 0.0),  # below it
        (3000, 1.0, 2.0),  # three seconds' worth in one
        (3000, 0.0, 3.0),  # a clock that did not move
    ],
)
def test_a_batch_is_ahead_by_the_time_that_its_wal_is_worth_at_the_limit(
    written: float, seconds: float, ahead: float
) -> None:
    flow = Flow(_LIMIT)
    flow.add(7, 1)
    flow.add(7 + written, 1 + seconds)
    assert flow.ahead == ahead


def test_time_in_which_little_is_written_makes_it_even_and_is_no_credit() -> None:
    flow = Flow(_LIMIT)
    flow.add(0, 0)
    flow.add(3000, 1)
    flow.add(3000, 2)
    assert (flow.ahead, flow.rate) == (1, 1500)
    flow.add(3000, 60)
    assert flow.ahead == 0
    flow.add(6000, 61)
    assert (flow.ahead, flow.rate) == (2, 3000)


def test_what_others_write_meanwhile_counts_but_their_burst_is_forgotten_when_it_is_over() -> None:
    flow = Flow(_LIMIT)
    flow.add(0, 0)
    flow.add(3000, 1)
    most = flow.ahead
    flow.add(3500, 2, most)
    assert flow.ahead == 1.5
    flow.add(100_000, 3, most)
    assert flow.ahead == most == 2
    flow.add(100_000, 5, most)
    assert flow.ahead == 0


def test_a_load_of_the_past_is_not_waited_for_longer_than_a_minute() -> None:
    flow = Flow(_LIMIT)
    flow.add(0, 0)
    flow.add(10_000_000, 300)
    assert flow.ahead == 60


@settings(deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.floats(0.01, 10)), min_size=1, max_size=20))
def test_whoever_holds_back_as_long_as_asked_stays_within_the_limit(batches: list[tuple[int, float]]) -> None:
    flow = Flow(_LIMIT)
    written, now = 0, 0.0
    flow.add(written, now)
    for size, seconds in batches:
        written, now = written + size, now + seconds
        flow.add(written, now)
        now += flow.ahead
        flow.add(written, now)
        assert flow.ahead == pytest.approx(0, abs=1e-9)
        assert written <= _LIMIT * now + 1e-6
