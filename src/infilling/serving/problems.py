"""Errors as callers see them: problem JSON (RFC 9457), each with a code that stays the same."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from infilling.errors import InputError, ModelError

PROBLEMS: dict[str, tuple[int, str]] = {
    "bad-request": (400, "The request cannot be understood"),
    "unreadable": (400, "The picture cannot be read"),
    "unauthorized": (401, "A token is needed"),
    "foreign-host": (403, "This server has another name"),
    "foreign-origin": (403, "Pages of another origin may not call this server"),
    "not-found": (404, "There is nothing here"),
    "unknown-picture": (404, "No such picture is kept here"),
    "method-not-allowed": (405, "That is not done here"),
    "upload-timeout": (408, "The upload took too long"),
    "too-large": (413, "The request is too large"),
    "too-many-pixels": (413, "The picture has too many pixels"),
    "too-much-memory": (413, "The fill needs too much memory"),
    "unsupported-type": (415, "A body of this type is not taken here"),
    "unsupported-picture": (415, "This picture format is not supported"),
    "invalid": (422, "A value cannot be used"),
    "unknown-field": (422, "There is no such field"),
    "too-many": (429, "Too many requests from one address"),
    "engine-failed": (500, "The engine failed"),
    "internal": (500, "The server failed"),
    "busy": (503, "Too many fills are waiting"),
    "closing": (503, "The server is being stopped"),
    "timeout": (504, "The fill took too long"),
}
"""Code → status and title. Codes are part of the interface."""

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A request that is refused or has failed.

    Args:
        code: one of PROBLEMS.
        detail: one sentence for the person who asked.
        field: the part of the request that is at fault.
        retry_after: seconds after which it is worth trying again.
    """

    def __init__(
        self, code: str, detail: str, *, field: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status, self.title = PROBLEMS[code]
        self.detail = detail
        self.field = field
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        """Let workers send it, with all that it says."""
        make = partial(Problem, field=self.field, retry_after=self.retry_after)
        return make, (self.code, self.detail)

    @property
    def headers(self) -> dict[str, str]:
        """Header fields of the answer."""
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers

    def to_json(self) -> dict[str, Any]:
        """Return the body; `error` repeats it as clients of OpenAI's interface read it."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        body: dict[str, Any] = {
            "type": f"urn:infilling:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.field is not None:
            body["field"] = self.field
        error = {"message": self.detail, "type": kind, "param": self.field, "code": self.code}
        return body | {"error": error}


@contextmanager
def explain_errors(blame: Callable[[InputError], str]) -> Iterator[None]:
    """Raise what an engine or a picture refuses as the problem that a caller is answered with.

    Args:
        blame: names the field of the request that is at fault.
    """
    try:
        yield
    except InputError as error:
        raise Problem("invalid", str(error), field=blame(error)) from error
    except ModelError as error:
        raise Problem("engine-failed", str(error), field="engine") from error


FILE_PROBLEMS = (
    *("bad-request", "unreadable", "too-large", "too-many-pixels", "unsupported-type", "unsupported-picture"),
    *("invalid", "unknown-field", "too-many", "busy", "closing", "timeout"),
)
"""What can be wrong with a request that sends a file, by the names of `PROBLEMS`."""


def describe(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of an operation in OpenAPI: the problems that it can answer with."""
    found: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        status, title = PROBLEMS[code]
        before = found.get(status)
        text = f"{before['description']}; {title.lower()} (`{code}`)" if before else f"{title} (`{code}`)"
        found[status] = {"description": text, "content": {MEDIA_TYPE: {"schema": {"type": "object"}}}}
    return found
