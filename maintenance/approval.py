"""Approval: a short word for exactly what a plan shows, by which a person lets pass what a limit has stopped."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

from asyncpg import Connection

from maintenance.errors import UsageError
from maintenance.guards import margin, subject
from maintenance.policy import Policy
from maintenance.sql import statement
from maintenance.steps import Stopped

_WORD = re.compile(r"([0-9a-f]{8})-(\d{1,18}(?:\.\d{1,18})*)", re.ASCII)


async def approval(connection: Connection, policy: Policy, stopped: Sequence[Stopped]) -> str | None:
    """The word for these stopped steps: of the policy, the tables' columns and the rows; None where none is stopped."""
    going = _going(stopped)
    return await _word(connection, policy, stopped, list(going.values())) if going else None


async def approved(connection: Connection, policy: Policy, stopped: Sequence[Stopped], word: str) -> dict[str, int]:
    """The rows that the word approves, by the subject of the rule.

    Raises:
        UsageError: it is no such word, nothing is stopped, or policy, tables or counts have changed since the plan.
    """
    rows = numbers(word)
    going = _going(stopped)
    if not going:
        raise UsageError("approve: no limit stops anything now, so there is nothing to approve; run without it.")
    same = len(rows) == len(going) and await _word(connection, policy, stopped, rows) == word
    if not same or any(now > margin(then) for now, then in zip(going.values(), rows, strict=True)):
        raise UsageError(
            "approve: the policy, the tables or what would go have changed since that plan, so nothing was done; "
            "look at a new plan."
        )
    return dict(zip(going, rows, strict=True))


def numbers(word: str) -> list[int]:
    """The rows in such a word.

    Raises:
        UsageError: it is none.
    """
    match = _WORD.fullmatch(word)
    if match is None:
        raise UsageError(
            f"approve: {word[:60]!r} is not what a plan ends with, such as 3f9c2a1b-1200; nothing was done."
        )
    return [int(number) for number in match[2].split(".")]


def _going(stopped: Sequence[Stopped]) -> dict[str, int]:
    return {subject(one.step): one.going for one in stopped}


async def _word(connection: Connection, policy: Policy, stopped: Sequence[Stopped], rows: list[int]) -> str:
    tables = sorted({one.step.root for one in stopped})
    columns = [await connection.fetchval(statement("guards", "columns_of"), t.schema, t.name) for t in tables]
    what = [policy.model_dump(mode="json"), list(_going(stopped)), [str(table) for table in tables], columns, rows]
    digest = hashlib.sha256(json.dumps(what, default=str).encode()).hexdigest()
    return f"{digest[:8]}-{'.'.join(str(number) for number in rows)}"
