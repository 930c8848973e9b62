"""Named statements, kept in .sql files: `-- name: word` starts one, and the comment under it says why."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from maintenance.names import Fragment

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_SLOT = re.compile(r"\{(\w+)\}")


@cache
def _statements(file: str) -> dict[str, str]:
    parts = _NAME.split(script(file))
    return {name: body.strip().rstrip(";") for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def script(file: str) -> str:
    """The whole text of a .sql file; `file` is its path below this folder, without the suffix."""
    return files(__name__).joinpath(f"{file}.sql").read_text(encoding="utf-8")


def statement(file: str, name: str, **slots: Fragment) -> str:
    """The statement `name` of a file, its `{slots}` filled with fragments; values are not slots, they travel as $n.

    Raises:
        TypeError: a slot was given a bare string.
        KeyError: no such statement, or a slot without a fragment.
    """
    for slot, fragment in slots.items():
        if not isinstance(fragment, Fragment):
            raise TypeError(f"{file}.{name}: slot {slot!r} needs a Fragment, not {type(fragment).__name__}")
    return _SLOT.sub(lambda match: slots[match[1]], _statements(file)[name])
