"""How long a VACUUM will probably take: as its table's last one did, else by the table's size and the others' speed."""

from __future__ import annotations

from collections.abc import Iterable

from maintenance.models import Took

_DISK = 25e6
"""Bytes a second, where nothing is known: what the smallest disk of a Flexible Server reads (P4, 32 GiB). A VACUUM by
hand does not throttle itself. https://learn.microsoft.com/azure/virtual-machines/disks-types#premium-ssds"""
_TELLING = 16_000_000
"""Bytes below which a table's time says nothing of the speed: it is mostly that of beginning and ending."""
_ENOUGH = 3
"""Tables whose times make a speed."""
_CAUTION = 0.5
"""Of the speed of tables that were vacuumed before: their clean pages were passed over, those of a new one are not."""
_CUT = 2.0
"""Times as long as it had, where the budget ended the last one."""


def speed(took: Iterable[Took]) -> float:
    """Bytes a second that a VACUUM of another table of this database may be trusted to get through."""
    rates = sorted(last.size / last.seconds for last in took if _tells(last))
    return rates[len(rates) // 2] * _CAUTION if len(rates) >= _ENOUGH else _DISK


def expected(size: int | None, last: Took | None, others: float) -> float | None:
    """Seconds for a table of that many bytes, `others` being the speed of other tables; None where nobody can tell."""
    if last is None:
        return None if size is None else size / others
    grown = 0 if size is None else size - last.size
    if last.cut:
        return max(last.seconds * _CUT, (last.size + grown) / others)
    own = last.size / last.seconds if _tells(last) else others
    return max(0.0, last.seconds + grown / own)


def _tells(last: Took) -> bool:
    return not last.cut and last.size >= _TELLING and last.seconds > 0


def rewriting(work: int, last: Took | None, others: Iterable[Took]) -> float:
    """Seconds for a rewrite that reads and writes so many bytes: as fast as the last ones, or else as the disk."""
    known = [took for took in ([last] if last else []) if _shows(took)] or [took for took in others if _shows(took)]
    rates = sorted((took.after or 0) / took.seconds for took in known)
    seconds = work / (rates[len(rates) // 2] * (1 if last in known else _CAUTION) if rates else _DISK)
    return max(seconds, last.seconds * _CUT) if last is not None and last.cut else seconds


def _shows(took: Took) -> bool:
    return not took.cut and (took.after or 0) >= _TELLING and took.seconds > 0
