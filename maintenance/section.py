"""A section of the policy file: the types that its keys may have, checked as they are read."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from maintenance.bands import bytes_in, seconds_in
from maintenance.errors import PolicyError
from maintenance.names import TableName, checked_name
from maintenance.places import place_of
from maintenance.window import Window, parse

_Item = TypeVar("_Item", bound=Hashable)


def _table(value: object) -> object:
    try:
        return TableName.parse(value) if isinstance(value, str) else value
    except PolicyError as error:
        raise ValueError(str(error)) from error


def _name(value: object) -> object:
    try:
        return checked_name(value) if isinstance(value, str) else value
    except PolicyError as error:
        raise ValueError(str(error)) from error


def _text(value: object) -> object:
    if isinstance(value, str) and ("\0" in value or not value.strip()):
        raise ValueError("is empty or has a NUL character in it")
    return value


def _archive(value: object) -> object:
    return place_of(value) if isinstance(value, str) else value


def _window(value: object) -> object:
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return parse(value)
    if isinstance(value, Window):
        return value
    raise ValueError("must be a string like 'Sun 02:00-05:00 Europe/Vienna', or a list of such")


def distinct(values: tuple[_Item, ...]) -> tuple[_Item, ...]:
    """The values, none of which may occur twice.

    Raises:
        ValueError: one does.
    """
    twice = [value for index, value in enumerate(values) if value in values[:index]]
    if twice:
        raise ValueError(f"names {twice[0]} twice; name it once")
    return values


PolicyTable = Annotated[TableName, BeforeValidator(_table)]
Column = Annotated[str, BeforeValidator(_name)]
Text = Annotated[str, BeforeValidator(_text)]
Interval = Annotated[str, BeforeValidator(_text)]
ArchivePlace = Annotated[str, BeforeValidator(_archive)]
Condition = Annotated[str, BeforeValidator(_text)]
Size = Annotated[str, BeforeValidator(_text)]
Patterns = Annotated[tuple[Text, ...], Field(min_length=1, strict=False)]
PolicyWindow = Annotated[Window, BeforeValidator(_window)]
Tables = Annotated[tuple[PolicyTable, ...], Field(min_length=1, strict=False)]
Columns = Annotated[tuple[Column, ...], Field(min_length=1, strict=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, BeforeValidator(bytes_in)]
Seconds = Annotated[float, BeforeValidator(seconds_in)]


class Section(BaseModel):
    """A table of the file: unknown keys and wrong types are refused, nothing is coerced."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)
