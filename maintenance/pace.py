"""Pace: how much goes into a batch, so that a transaction takes about the time it should."""

from __future__ import annotations

_MARGIN = 1.25
_SHORTEST = 0.02
_APART = 1.5
_CUT = 8
_MOST = 0.9
_FADING = 0.9


class Pace:
    """The size of the next batch, in the strategy's own unit, from the measured time of the last two."""

    def __init__(self, limits: tuple[int, int, int], target: float) -> None:
        """`limits` are the smallest, first and largest size; `target` is the time a batch should take, in seconds."""
        self._smallest, self._size, self._largest = limits
        self._target = target
        self._last: tuple[float, float] | None = None
        self._anchor: tuple[float, float] | None = None
        self._fixed = 0.0

    def took(self, size: float, seconds: float) -> None:
        """Learn from a batch. Growth is at most twofold: where rows lie thin, a dense region may come next."""
        self._fixed = self._fixed_cost(size, seconds)
        self._last = (size, seconds)
        per_unit = max(seconds - self._fixed, 1e-9) / size
        # What a batch costs however small it is (reading all the parents) must not be paid for next to nothing.
        ideal = int(max(self._target - self._fixed, self._fixed) / per_unit)
        self._size = int(min(max(ideal, self._smallest, size // 4), self._largest, size * 2))

    def cut(self, size: int) -> bool:
        """Go on with an eighth of a batch that was cut off; False where it cannot be smaller."""
        self._size = max(self._smallest, size // _CUT)
        return size > self._smallest

    def halve(self, size: int) -> None:
        """Let the next batch be half as large as the last, or smaller: it was in somebody's way."""
        self._size = max(self._smallest, min(self._size, size // 2))

    def size_within(self, left: float) -> int | None:
        """Size of a batch that should end within `left` seconds, or None where none would."""
        if left <= _SHORTEST:
            return None
        if self._last is None or self._last[1] <= 0:
            return self._size
        fitting = int(left * self._last[0] / (self._last[1] * _MARGIN))
        size = min(self._size, fitting)
        return size if size >= self._smallest else None

    def _fixed_cost(self, size: float, seconds: float) -> float:
        """Seconds that a batch takes whatever its size, as two batches of clearly different sizes suggest."""
        if self._anchor is None:
            self._anchor = (size, seconds)
        elif max(size, self._anchor[0]) >= _APART * min(size, self._anchor[0]):
            slope = (seconds - self._anchor[1]) / (size - self._anchor[0])
            self._anchor = (size, seconds)
            return min(max(0.0, seconds - slope * size), _MOST * seconds) if slope > 0 else 0.0
        # Batches of about one size tell nothing new; the estimate fades, until the sizes are apart again.
        return min(self._fixed * _FADING, _MOST * seconds)
