"""Messages: what the Functions app tells itself through its queue, which may deliver them twice, late, or never."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from maintenance.errors import UsageError

STORAGE = "AzureWebJobsStorage"
"""The app setting of the storage account whose queue it is, the one that the timers need anyway."""
QUEUE = "maintenance-runs"
POISON = f"{QUEUE}-poison"
"""Where the host puts what failed `maxDequeueCount` times.
https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger#poison-messages"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Begin a run on a target; `key` is the same in all copies of the message."""

    name: str
    target: str | None
    key: str

    def text(self) -> str:
        """As it lies in the queue."""
        return json.dumps({"begin": asdict(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Continue:
    """Do the slice of a run that comes after slice number `slice`; 0 is that of a run that nobody has begun."""

    run: int
    name: str
    slice: int
    progress: str
    """How far the run had come: a slice that changes nothing about it is the last."""
    target: str | None

    def text(self) -> str:
        """As it lies in the queue."""
        return json.dumps({"continue": asdict(self)})


Message = Begin | Continue


def parse(text: str) -> Message:
    """The message of that text.

    Raises:
        UsageError: it is none of ours.
    """
    try:
        document = json.loads(text)
        (kind, fields), *others = document.items()
        if not others and kind == "begin":
            return Begin(name=_text(fields.pop("name")), key=_text(fields.pop("key")), **_target(fields))
        if not others and kind == "continue":
            run, slice_ = _number(fields.pop("run")), _number(fields.pop("slice"), 2**31 - 2)
            name, progress = _text(fields.pop("name")), _text(fields.pop("progress"))
            return Continue(run=run, name=name, slice=slice_, progress=progress, **_target(fields))
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise UsageError(
            f"A message in the queue cannot be understood ({error}); it was not sent by this app."
        ) from error
    raise UsageError("A message in the queue is neither to begin nor to continue a run; it was not sent by this app.")


def _target(fields: dict[str, Any]) -> dict[str, Any]:
    if set(fields) != {"target"}:
        raise ValueError("fields are missing, or there are too many")
    target = fields["target"]
    return {"target": None if target is None else _text(target)}


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError(f"{value!r} is no text")
    return value


def _number(value: object, largest: int = 2**63 - 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        raise ValueError(f"{value!r} is no number")
    return value
