"""Pace: how much goes into a batch, so that a transaction takes about the time it should."""

from __future__ import annotations

_MARGIN = 1.25
_SHORTEST = 0.02


class Pace:
    """The size of the next batch, in the strategy's own unit, from the measured time of the last."""

    def __init__(self, limits: tuple[int, int, int], target: float) -> None:
        """`limits` are the smallest, first and largest size; `target` is the time a batch should take, in seconds."""
        self._smallest, self._size, self._largest = limits
        self._target = target
        self._per_unit: float | None = None

    def took(self, size: int, seconds: float) -> None:
        """Learn from a batch. Growth is at most twofold: where rows lie thin, a dense region may come next."""
        self._per_unit = seconds / size
        ideal = int(size * self._target / max(seconds, 1e-6))
        self._size = min(max(ideal, self._smallest, size // 4), self._largest, size * 2)

    def size_within(self, left: float) -> int | None:
        """Size of a batch that should end within `left` seconds, or None where none would."""
        if self._per_unit is None:
            return self._size if left > _SHORTEST else None
        fitting = int(left / (self._per_unit * _MARGIN)) if self._per_unit > 0 else self._size
        size = min(self._size, fitting)
        return size if size >= self._smallest and left > _SHORTEST else None
