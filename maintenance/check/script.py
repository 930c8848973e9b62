"""Script: the cures of an examination, for psql; what takes something away is left to the reader, behind dashes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from maintenance.check.examination import Examination
from maintenance.findings import Finding
from maintenance.lines import line as plain_line

_HEAD = """\
Cures for what `python -m maintenance check` found on database {database}{at}. Read each before you run it:
  psql -f FILE
as the owner of the tables or an administrator, not with --single-transaction: CONCURRENTLY, VACUUM and ALTER SYSTEM
refuse one. Each statement stands alone, and one that fails leaves the others as they are (an index that CREATE INDEX
CONCURRENTLY has left is found by the next check). Behind dashes is what takes something away that somebody may still
need, or locks more than its own table: take the dashes away if you want it.
While a statement waits for a lock, whoever comes after it waits too, so it gives up after {patience} ("canceling
statement due to lock timeout"): run it again when the table is less busy. What is CONCURRENTLY keeps nobody waiting,
and waits."""
_PATIENCE = "5s"
"""As long as users may wait behind a statement."""
_STATEMENT = re.compile(r"""(?:--[^\n]*\n|"[^"]*"|'[^']*'|[^;"'])*;\n?""")
_CONCURRENTLY = re.compile(r"^(?:create (?:unique )?|drop |re)index (?:index )?concurrently ", re.MULTILINE)


def script(examination: Examination) -> str:
    """All cures, the worst findings' first; a script of comments alone where no finding has one."""
    at = f" at {examination.as_of:%Y-%m-%d %H:%M:%S} UTC" if examination.as_of else ""
    head = _HEAD.format(database=_line(examination.database), at=at, patience=_PATIENCE)
    parts = [_comment(head)]
    cured = [one for one in examination.findings if one.cure is not None]
    if cured:
        parts.append(f"set lock_timeout = '{_PATIENCE}';")
    seen: set[str] = set()
    parts += ["\n".join(_block(one, seen)) for one in cured]
    if not cured:
        parts.append("-- Nothing that was found has a statement that cures it.")
    return "\n\n".join(parts) + "\n"


def _block(one: Finding, seen: set[str]) -> Iterator[str]:
    yield f"-- {one.severity} {one.code} {_line(one.subject)}".rstrip()
    yield f"-- {_line(one.fact)}; {_line(one.consequence)}."
    yield f"-- {_line(one.remedy)}."
    cure = one.cure or ""
    if cure in seen:
        yield "-- The statement is the same as above."
        return
    seen.add(cure)
    cure = _patient(cure)
    yield "\n".join(f"-- {line}" for line in cure.split("\n")) if one.risky else cure


def _patient(cure: str) -> str:
    """What is made CONCURRENTLY waits for transactions, and would leave an index half made where it gave up."""
    statements = _STATEMENT.findall(cure)
    if "".join(statements) != cure:
        return cure
    return "\n".join(
        f"set lock_timeout = 0;\n{one}\nset lock_timeout = '{_PATIENCE}';" if _CONCURRENTLY.search(one) else one
        for one in (statement.rstrip("\n") for statement in statements)
    )


def _line(text: str) -> str:
    """Text that cannot end the comment it stands in."""
    return " ".join(plain_line(text).split())


def _comment(text: str) -> str:
    return "\n".join(f"-- {line}".rstrip() for line in text.split("\n"))
