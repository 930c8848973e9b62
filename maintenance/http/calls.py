"""Calls and answers, without the host's types: what came in, checked, and what goes out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maintenance.http.problems import Problem, problem_document

LARGEST_BODY = 16 * 1024
_OF_THE_HOST = {"code", "clientId"}
"""Where a function key may stand in a query."""
_Checked = TypeVar("_Checked", bound=BaseModel)
_Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$")]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RunBody(_Body):
    """What `POST /runs` takes."""

    name: _Text
    tables: Annotated[tuple[_Text, ...], Field(min_length=1, max_length=100, strict=False)] | None = None
    budget: _Text | None = None
    dry_run: bool = False
    approve: _Text | None = None
    target: _Text | None = None


class PauseBody(_Body):
    """What `POST /pause` takes."""

    reason: _Text | None = None
    target: _Text | None = None


class ResumeBody(_Body):
    """What `POST /resume` takes."""

    target: _Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request. Header names are looked up whatever their case."""

    path: str
    route: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    def document(self, model: type[_Checked], *, may_be_empty: bool = False) -> _Checked:
        """The body, as JSON of that shape.

        Raises:
            Problem: 413, 415, 400 or 422.
        """
        if len(self.body) > LARGEST_BODY:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {LARGEST_BODY} bytes; nothing was done."
            )
        if not self.body and may_be_empty:
            return model()
        kind = (self.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"The content type is {kind or 'missing'!r}; send a JSON object as application/json.",
            )
        try:
            return model.model_validate_json(self.body)
        except ValidationError as error:
            raise _malformed(error) from error

    def only(self, *known: str) -> None:
        """Refuse parameters that nobody knows.

        Raises:
            Problem: 400.
        """
        unknown = sorted(set(self.query) - {*known, *_OF_THE_HOST})
        if unknown:
            allowed = f"it may be {', '.join(known)}" if known else "none is known here"
            raise Problem(HTTPStatus.BAD_REQUEST, f"There is no parameter {unknown[0][:100]!r}; {allowed}.")

    def target(self) -> str | None:
        """The parameter `target`."""
        return self.query.get("target")

    def number(self, name: str, default: int, largest: int) -> int:
        """A parameter that is a whole number from 1 to `largest`.

        Raises:
            Problem: 400.
        """
        text = self.query.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10 and 0 < int(text) <= largest):
            raise Problem(HTTPStatus.BAD_REQUEST, f"{name} is {text[:40]!r}; it must be a number from 1 to {largest}.")
        return int(text)

    def run_id(self) -> int:
        """The id in the path.

        Raises:
            Problem: 404 if there can be no such run.
        """
        text = self.route.get("id", "")
        if not (text.isascii() and text.isdigit() and 0 < len(text) < 19 and int(text) > 0):
            raise Problem(HTTPStatus.NOT_FOUND, f"There is no run {text[:40]!r}; a run's id is a number above zero.")
        return int(text)

    def below(self, part: str) -> str:
        """The path of something below this one, for a Location."""
        return f"{urlsplit(self.path).path.rstrip('/')}/{part}"


def _malformed(error: ValidationError) -> Problem:
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return Problem(HTTPStatus.BAD_REQUEST, f"The body is not JSON ({first['msg']}); nothing was done.")
    place = ".".join(str(part) for part in first["loc"]) or "the body"
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{place}: {first['msg']}; nothing was done.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response, and the messages to send with it."""

    document: Mapping[str, object] = field(default_factory=dict)
    page: str | None = None
    """A text that is the answer in place of the document."""
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    messages: tuple[str, ...] = ()

    @classmethod
    def refusing(cls, problem: Problem) -> Answer:
        """The answer that tells of a problem."""
        headers = {"Retry-After": "30"} if problem.status is HTTPStatus.SERVICE_UNAVAILABLE else {}
        return cls(
            document=problem_document(problem), status=problem.status, headers=headers,
            media_type="application/problem+json",
        )  # fmt: skip

    @property
    def text(self) -> str:
        """The body."""
        return self.page if self.page is not None else json.dumps(self.document, ensure_ascii=False, default=str)
