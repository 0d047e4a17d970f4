"""Who is calling: the tenant and role behind an X-API-KEY, remembered for a few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import IntEnum

from flask import Request
from sqlalchemy import Engine

from service.api.problems import FORBIDDEN, UNAUTHENTICATED, ProblemError
from service.persistence.administration import Caller, find_caller, key_hash
from service.persistence.unit_of_work import unit_of_work

HEADER = "X-API-KEY"
CACHE_SECONDS = 5.0
"""How long a revoked key may still be taken by a process that has seen it."""
_MOST_REMEMBERED = 10_000
_LONGEST_KEY = 200


class Role(IntEnum):
    """What a key may do; each includes the ones before it."""

    INGEST = 1
    """Send exceptions and their updates, and read the tenant's own."""
    OPERATOR = 2
    """Decide: approve, reject, cancel, complete steps."""
    ADMIN = 3
    """Everything a tenant can do."""


class Authenticator:
    """Turns keys into callers."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._known: dict[bytes, tuple[float, Caller]] = {}

    def authenticate(self, request: Request, needed: Role) -> Caller:
        """The caller of a request. Raises ProblemError 401 or 403."""
        caller = self._caller(request.headers.get(HEADER, ""))
        if Role[caller.role.upper()] < needed:
            raise ProblemError(FORBIDDEN, f"this needs a key with role {needed.name.lower()}; yours is {caller.role}")
        return caller

    def _caller(self, key: str) -> Caller:
        if not key:
            raise _unauthenticated(f"send your API key in the header {HEADER}")
        if len(key) > _LONGEST_KEY:
            raise _unauthenticated("the API key is unknown or revoked")
        digest = key_hash(key)
        now = self._clock()
        remembered = self._known.get(digest)
        if remembered is not None and remembered[0] > now:
            return remembered[1]
        self._known.pop(digest, None)
        with unit_of_work(self._engine) as transaction:
            caller = find_caller(transaction, key)
        if caller is None:
            raise _unauthenticated("the API key is unknown or revoked")
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[digest] = (now + CACHE_SECONDS, caller)
        return caller


def _unauthenticated(detail: str) -> ProblemError:
    return ProblemError(UNAUTHENTICATED, detail, headers={"WWW-Authenticate": f'ApiKey header="{HEADER}"'})
