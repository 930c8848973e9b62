"""Findings: what a look at a server has found that stands in the way of the policy, or will."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is: an error keeps work from being done, a warning will, advice makes it better."""

    ERROR = "error"
    WARNING = "warning"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fact, what it leads to, and what to do about it."""

    severity: Severity
    code: str
    """A stable name of the kind of finding, such as `index.missing`."""
    subject: str
    """What it is about, for a reader: a table, a role, a setting; empty where it is the server as a whole."""
    fact: str
    consequence: str
    remedy: str
    """In words."""
    cure: str | None = None
    """The SQL that cures it, never applied by itself; None where no statement would."""
    risky: bool = False
    """Whether the cure takes away what somebody may still need, so that a script leaves it to the reader."""
