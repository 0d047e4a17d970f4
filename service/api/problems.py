"""The one error envelope: every refusal is an RFC 9457 problem, and says nothing about our insides.

A view or anything below it raises `ProblemError`; `register` turns it, the errors of the project's tree,
Werkzeug's own and what nobody expected into `application/problem+json`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Flask, Response, g, has_request_context, request
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from service.domain.packs.faults import Fault, path_of
from service.errors import InfrastructureUnavailableError, PermanentError
from service.persistence.ingestion import ConcurrentDuplicateError
from service.persistence.outages import DatabaseUnavailableError, TransactionAbortedError

RETRY_AFTER_SECONDS = 2
"""What a caller is told when the database is away: about as long as a failover of a supervised one takes."""
MOST_FAULTS_TOLD = 100
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its status and title; its `type` points into the reading page."""

    slug: str
    status: int
    title: str


NOT_JSON = Kind("not-json", 400, "The body is not JSON")
BAD_REQUEST = Kind("bad-request", 400, "The request is malformed")
UNAUTHENTICATED = Kind("unauthenticated", 401, "A valid API key is needed")
FORBIDDEN = Kind("forbidden", 403, "The key does not allow this")
NOT_FOUND = Kind("not-found", 404, "There is no such thing")
METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "The method is not offered here")
CONFLICT = Kind("conflict", 409, "The exception's state does not allow this")
PACK_CONFLICT = Kind("pack-conflict", 409, "The pack's life does not allow this")
PAUSE_CONFLICT = Kind("pause-conflict", 409, "The pause is over")
TESTS_FAIL = Kind("tests-fail", 409, "The pack's own tests fail")
CHANGED_MEANWHILE = Kind("changed-meanwhile", 412, "Somebody changed it meanwhile")
TOO_LARGE = Kind("too-large", 413, "The body is too large")
UNSUPPORTED_MEDIA_TYPE = Kind("unsupported-media-type", 415, "The media type is not taken here")
INVALID = Kind("invalid", 422, "The content is not valid")
KEY_REUSED = Kind("key-reused", 422, "The key was used for another request")
RATE_LIMITED = Kind("rate-limited", 429, "Too many exceptions at once")
INTERNAL = Kind("internal", 500, "Something went wrong here")
UNAVAILABLE = Kind("unavailable", 503, "Something needed is away")

KINDS = (
    NOT_JSON, BAD_REQUEST, UNAUTHENTICATED, FORBIDDEN, NOT_FOUND, METHOD_NOT_ALLOWED, CONFLICT, PACK_CONFLICT,
    PAUSE_CONFLICT, TESTS_FAIL, CHANGED_MEANWHILE, TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE, INVALID, KEY_REUSED, RATE_LIMITED, INTERNAL, UNAVAILABLE,
)  # fmt: skip

_BY_STATUS = {kind.status: kind for kind in reversed(KINDS)}
_PLAIN = {
    "missing": "is required",
    "extra_forbidden": "is not known here",
    "model_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
}
"""Pydantic's messages that speak of Python, by their type."""
_NO_HEADERS: Mapping[str, str] = {}


class ProblemError(PermanentError):
    """A request is refused."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        faults: Iterable[Fault] = (),
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = headers

    def document(self) -> dict[str, Any]:
        """The problem as JSON-ready values, without what only an answer of its own has."""
        return {
            "type": f"/docs#{self.kind.slug}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "errors": [_told(fault) for fault in self.faults[:MOST_FAULTS_TOLD]],
        }


def _told(fault: Fault) -> dict[str, Any]:
    told: dict[str, Any] = {"path": fault.path, "message": fault.message}
    if fault.line is not None:
        told["line"] = fault.line
    return told


def invalid(error: ValidationError) -> ProblemError:
    """What pydantic refused, fault by fault; values are not repeated."""
    faults = [
        Fault(path_of(fault["loc"]), _PLAIN.get(fault["type"]) or fault["msg"].removeprefix("Value error, "))
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return ProblemError(INVALID, f"{len(faults)} fault(s) in the request; see errors", faults)


def not_found() -> ProblemError:
    """The same answer for what is not there and for what is another tenant's."""
    return ProblemError(NOT_FOUND, "your tenant has no exception of this id")


def respond(problem: ProblemError) -> Response:
    """The problem as the answer to the current request."""
    document = problem.document()
    document["instance"] = request.path
    document["requestId"] = g.get("request_id")
    return Response(
        orjson.dumps(document), problem.kind.status, problem.headers, content_type="application/problem+json"
    )


def register(app: Flask) -> None:
    """Make every error of the application a problem."""
    app.register_error_handler(ProblemError, respond)
    app.register_error_handler(InfrastructureUnavailableError, _unavailable)
    app.register_error_handler(ConcurrentDuplicateError, _try_again)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def _unavailable(error: InfrastructureUnavailableError) -> Response:
    _log.warning("request %s not served: %s", g.get("request_id"), error)
    what = "a service this needs is not reachable"
    if isinstance(error, DatabaseUnavailableError):
        what = "the database is not reachable"
    elif isinstance(error, TransactionAbortedError):
        what = "the database gave the request up in favour of others"
    return respond(_away(f"{what} at the moment; send the request again, and with the same key if it has one"))


def _try_again(error: ConcurrentDuplicateError) -> Response:
    return respond(_away(str(error)))


def _away(detail: str) -> ProblemError:
    return ProblemError(UNAVAILABLE, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def _http(error: HTTPException) -> Response:
    """What Flask and Werkzeug refuse by themselves."""
    kind = _BY_STATUS.get(error.code or 500)
    if kind is None:
        kind = Kind(f"http-{error.code}", error.code or 500, error.name)
    headers = {name: value for name, value in error.get_headers() if name.lower() not in ("content-type",)}
    return respond(ProblemError(kind, _plain(kind, error), headers=headers))


def _plain(kind: Kind, error: HTTPException) -> str:
    if kind is NOT_FOUND:
        return f"there is nothing at {request.path}; /docs lists every call"
    if kind is TOO_LARGE:
        return "a body may have 1 MiB (1,048,576 bytes); send fewer items at once"
    if kind is METHOD_NOT_ALLOWED:
        return f"{request.method} is not offered at {request.path}"
    return error.description or kind.title


def _unexpected(error: Exception) -> Response:
    request_id = g.get("request_id") if has_request_context() else None
    _log.error("request %s failed unexpectedly", request_id, exc_info=error)
    return respond(ProblemError(INTERNAL, "the request failed; the log has it under this requestId"))
