"""Budget: how much time is left, by a clock that the test turns."""

from __future__ import annotations

import time
from dataclasses import dataclass

from maintenance.budget import Budget


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_is_left_shrinks_as_the_clock_goes_and_is_never_below_zero() -> None:
    clock = Clock()
    budget = Budget(8.0, clock)
    left = []
    for now in (1000.0, 1003.0, 1007.5, 1008.0, 2000.0):
        clock.now = now
        left.append(budget.left)
    assert left == [8.0, 5.0, 0.5, 0.0, 0.0]


def test_cut_leaves_nothing_for_good() -> None:
    clock = Clock()
    budget = Budget(8.0, clock)
    clock.now = 1001.0
    budget.cut()
    assert budget.left == 0.0
    clock.now = 1002.0
    assert budget.left == 0.0


def test_cutting_a_budget_that_is_used_up_gives_nothing_back() -> None:
    clock = Clock()
    budget = Budget(8.0, clock)
    clock.now = 1020.0
    budget.cut()
    assert budget.left == 0.0


def test_it_counts_from_now_by_a_clock_that_nobody_sets() -> None:
    budget = Budget(60.0)
    first = budget.left
    time.sleep(0.02)
    assert 59.0 < budget.left <= first - 0.02 < 60.0
