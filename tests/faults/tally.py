"""The tally: what was injected, how often, and what became of the rows; FAULT_JSON names the file that it goes to."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.schedule import ROUNDS, SEED


@dataclass(slots=True)
class Tally:
    """Numbers by fault, and below it by what they count."""

    faults: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, fault: str, **numbers: int) -> None:
        """Count a round of a fault."""
        self.faults.setdefault(fault, Counter()).update({"rounds": 1, **numbers})

    def write(self, path: Path, *, seconds: float, server: str) -> None:
        """Effect: the file has these numbers, and those of other faults that it had before."""
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"faults": {}}
        mine = {fault: dict(numbers) for fault, numbers in self.faults.items()}
        document = {
            "measured": datetime.now(UTC).strftime("%Y-%m-%d"),
            "rounds": ROUNDS,
            "seeds": sorted({SEED, *known.get("seeds", [])}),
            "seconds": round(known.get("seconds", 0) + seconds),
            "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "server": server,
            "faults": dict(sorted({**known["faults"], **mine}.items())),
        }
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


TALLY = Tally()
"""Of this session."""


def named_file() -> Path | None:
    """Where to write it, or None."""
    name = os.environ.get("FAULT_JSON")
    return Path(name) if name else None
