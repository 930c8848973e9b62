"""The policy file: TOML in, a policy out, or an error that names the place and the nearest word that is known."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from maintenance.errors import PolicyError
from maintenance.policy import Guards, Health, Lag, Policy, RowBounds, Shrink, SizeBounds, TimeBounds, Vacuum
from maintenance.rules import Duplicates, Orphans, PerKey, Reference, Retention, Unreferenced
from maintenance.section import Section

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def load(path: Path) -> Policy:
    """Read and check a policy file.

    Raises:
        PolicyError: the file is missing, is no TOML, or breaks the rules of a policy; the message names the place.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise PolicyError(f"No policy file at {path}; write one, or set MAINTENANCE_POLICY to its path.") from error
    except (OSError, ValueError) as error:
        raise PolicyError(
            f"The policy file {path} cannot be read ({error}); make it a readable UTF-8 text file."
        ) from error
    return parse(text, path.name)


def parse(text: str, file: str = "policy") -> Policy:
    """Check the text of a policy; `file` names it in errors.

    Raises:
        PolicyError: as for `load`.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        lines = text.split("\n")
        end = f"at line {len(lines)}, column {len(lines[-1]) + 1}"
        raise PolicyError(f"{file} is not valid TOML: {str(error).replace('at end of document', end)}.") from error
    _refuse_wrong_brackets(document, file)
    try:
        policy = Policy.model_validate(document)
    except ValidationError as error:
        told = "\n".join(_told(detail) for detail in _proper(error.errors()))
        raise PolicyError(f"{file}: {told}") from error
    _refuse_twins(policy, file)
    return policy


def _refuse_twins(policy: Policy, file: str) -> None:
    for section in ("retention", "duplicates", "orphans", "unreferenced"):
        seen: dict[Hashable, int] = {}
        for number, rule in enumerate(getattr(policy, section), start=1):
            for identity in rule.identities():
                if identity in seen:
                    first = seen[identity]
                    raise PolicyError(
                        f"{file}: {section}[{number}] says the same as {section}[{first}] (same table and columns); "
                        "two rules would fight over the same rows. Keep one of them."
                    )
                seen[identity] = number


_WORDS = {
    "missing": "is missing; the rule needs it",
    "too_short": "is empty; name at least one",
    "string_type": "must be a string",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "dataclass_type": "must be a string, the name of a table",
    "dataclass_exact_type": "must be a string, the name of a table",
    "is_instance_of": "must be a string, the name of a table",
    "model_type": "must be a table of keys and values",
    "model_attributes_type": "must be a table of keys and values",
}


def _refuse_wrong_brackets(document: dict[str, object], file: str) -> None:
    for name, field in Policy.model_fields.items():
        single = field.annotation in (Vacuum, Lag, Guards, Health)
        if single and isinstance(document.get(name), list):
            raise PolicyError(f"{file}: [[{name}]] must be written [{name}]; there is one for the whole database.")
        if not single and isinstance(document.get(name), dict):
            raise PolicyError(f"{file}: [{name}] must be written [[{name}]]; there may be several such rules.")


def _proper(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without the complaint that a list is too short, where it is so only since its elements are wrong."""
    inner = [detail["loc"] for detail in details]
    return [
        detail
        for detail in details
        if detail["type"] != "too_short" or not any(loc[:-1] == detail["loc"] for loc in inner)
    ]


def _told(detail: ErrorDetails) -> str:
    place = _place(detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{place} is not a known key{_nearest(detail['loc'])}."
    message = _WORDS.get(detail["type"], detail["msg"].removeprefix("Value error, "))
    return f"{place}: {message.rstrip('.')}."


def _place(location: tuple[int | str, ...]) -> str:
    """`retention[2].keep` for pydantic's ('retention', 1, 'keep'): rules are counted from 1, as readers count."""
    place = ""
    for part in location:
        place += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return place.lstrip(".")


def _nearest(location: tuple[int | str, ...]) -> str:
    section: type[Section] = Policy
    sections: dict[str, type[Section]] = {
        "retention": Retention, "duplicates": Duplicates, "orphans": Orphans, "unreferenced": Unreferenced,
        "vacuum": Vacuum, "shrink": Shrink, "lag": Lag, "guards": Guards, "references": Reference,
        "keep_per_key": PerKey, "health": Health, "database": SizeBounds, "duration": TimeBounds, "rows": RowBounds,
    }  # fmt: skip
    for part in location[:-1]:
        section = sections.get(str(part), section)
    known = list(section.model_fields)
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}" if near else f"; known are {', '.join(known)}"
