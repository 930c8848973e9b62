"""The schedule of the faults: how many rounds of each kind, and what happens when, from one seed that a failure prints.

FAULT_ROUNDS is `few`, `full`, or a number for each kind; FAULT_SEED repeats the rounds of a failure.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field

import pytest
from _pytest.mark.structures import ParameterSet

ROUNDS = os.environ.get("FAULT_ROUNDS") or "few"
SEED = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**9))
COUNTS = {
    "kill": (2, 200),
    "archive": (1, 40),
    "sigterm": (1, 40),
    "crash": (2, 50),
    "failover": (1, 6),
    "network": (4, 100),
    "refusal": (6, 48),
    "disk": (1, 10),
    "connections": (2, 10),
    "busy": (1, 40),
    "ddl": (3, 30),
    "schedulers": (1, 20),
    "hung": (1, 10),
    "fuzz": (40, 2000),
}
"""Rounds of each kind: few, as with every change, and full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One round: its own chance, so that it is the same whatever rounds go before it."""

    kind: str
    number: int
    chance: random.Random = field(repr=False)

    @property
    def name(self) -> str:
        """For a database, a folder and pytest's -k."""
        return f"{self.kind}_{self.number:04d}"

    @property
    def replay(self) -> str:
        """The command that does this round again."""
        return f"make faults ROUNDS={ROUNDS} SEED={SEED} ONLY={self.name}"


def count(kind: str) -> int:
    """How many rounds of a kind there are."""
    few, full = COUNTS[kind]
    return {"few": few, "full": full}[ROUNDS] if ROUNDS in ("few", "full") else int(ROUNDS)


def of(kind: str, number: int) -> Schedule:
    """The round of that number."""
    return Schedule(kind=kind, number=number, chance=random.Random(f"{SEED} {kind} {number}"))


def rounds(kind: str) -> list[ParameterSet]:
    """All rounds of a kind, for parametrize."""
    planned = [of(kind, number) for number in range(count(kind))]
    return [pytest.param(schedule, id=schedule.name) for schedule in planned]
