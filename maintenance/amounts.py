"""Amounts: sizes in words."""

from __future__ import annotations


def size(amount: int | None) -> str:
    """Bytes as PostgreSQL's pg_size_pretty words them."""
    if amount is None:
        return ""
    number = float(amount)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 10 else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TB"
