"""The page of the fault suite has the figures that were recorded, and none of them is a loss."""

from __future__ import annotations

import json

import pytest

from tests.faults.page import FIGURES, PAGE, problems, rendered
from tests.faults.schedule import COUNTS

_RECORDED = json.loads(FIGURES.read_text(encoding="utf-8"))


def test_the_page_has_the_recorded_figures() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert rendered(page, _RECORDED) == page


def test_nothing_was_lost() -> None:
    assert set(problems(_RECORDED).values()) == {0}


@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        ("kill", ("SIGKILL",)),
        ("archive", ("SIGKILL of the process, rules with an archive",)),
        ("crash", ("crash of",)),
        ("failover", ("failover",)),
        ("network", ("reset", "black hole", "latency", "refused")),
        ("schedulers", ("two schedulers",)),
        ("fuzz", ("generated",)),
    ],
)
def test_the_figures_are_of_all_rounds(kind: str, faults: tuple[str, ...]) -> None:
    recorded = [one["rounds"] for fault, one in _RECORDED["faults"].items() if fault.startswith(faults)]
    assert sum(recorded) >= COUNTS[kind][1]
