"""Problems: every refusal as problem details.

https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

from http import HTTPStatus

from maintenance.errors import (
    DatabaseError,
    LedgerError,
    MaintenanceError,
    Paused,
    PolicyError,
    SettingsError,
    UsageError,
)  # fmt: skip

_STATUSES: tuple[tuple[type[MaintenanceError], HTTPStatus], ...] = (
    (UsageError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Paused, HTTPStatus.CONFLICT),
    (SettingsError, HTTPStatus.INTERNAL_SERVER_ERROR),
    (PolicyError, HTTPStatus.INTERNAL_SERVER_ERROR),
    (DatabaseError, HTTPStatus.SERVICE_UNAVAILABLE),
    (LedgerError, HTTPStatus.SERVICE_UNAVAILABLE),
)


class Problem(Exception):
    """A call that is refused before the engine hears of it."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        """`detail` gives fact and remedy."""
        super().__init__(detail)
        self.status = status
        self.detail = detail


def problem_of(error: MaintenanceError) -> Problem:
    """What a caller is told of an error of ours."""
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    return Problem(status, str(error))


def problem_document(problem: Problem) -> dict[str, object]:
    """`{type, title, status, detail}`; the type says nothing beyond the status, as the RFC has it for about:blank."""
    return {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "detail": problem.detail,
    }
