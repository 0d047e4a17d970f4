"""What views work with: the parts of this process, and who is calling."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from flask import Response, current_app, g, request
from pydantic import BaseModel
from sqlalchemy import Engine

from service.api.auth import Authenticator, Role
from service.api.metrics import Exposition
from service.api.problems import INVALID, ProblemError, not_found
from service.api.rates import TenantRates
from service.domain.packs.faults import Fault
from service.persistence.administration import Caller
from service.settings import Settings

EXTENSION: Final = "sentinai"
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that `create_app` put together."""

    settings: Settings
    engine: Engine
    authenticator: Authenticator
    rates: TenantRates
    now: Callable[[], datetime]
    exposition: Exposition
    """What /metrics tells."""


def services() -> Services:
    """The parts of the application that serves this request."""
    found: Services = current_app.extensions[EXTENSION]
    return found


def caller_with(role: Role) -> Caller:
    """Who sent this request. Raises ProblemError 401 or 403."""
    caller = services().authenticator.authenticate(request, role)
    g.tenant_id = caller.tenant_id
    return caller


def exception_id_of(text: str) -> UUID:
    """An id from a path. What is no id is nobody's exception. Raises ProblemError 404."""
    try:
        return UUID(text)
    except ValueError:
        raise not_found() from None


def idempotency_key() -> str | None:
    """The request's Idempotency-Key. Raises ProblemError 422."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        message = "must be 1 to 255 visible ASCII characters"
        raise ProblemError(INVALID, f"the Idempotency-Key {message}", [Fault("Idempotency-Key", message)])
    return key


def trace_id() -> str | None:
    """The trace that the caller's `traceparent` names, if it is a valid one."""
    found = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
    return found.group(1) if found else None


def answer(model: BaseModel, status: int = 200) -> Response:
    """A model as the JSON answer."""
    return Response(model.model_dump_json(by_alias=True), status, content_type="application/json")
