"""The HTTP API as the command line calls it: one key, JSON in and out, refusals as errors with every fault."""

from __future__ import annotations

from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import orjson

from service.errors import PermanentError, TransientError

_TIMEOUT_SECONDS = 30
_CONFLICT = 409


class ApiKeyMissingError(PermanentError):
    """Nobody said who is calling."""

    def __init__(self) -> None:
        super().__init__("give an API key: --api-key or SENTINAI_API_KEY (sentinai keys create makes one)")


class ApiRefusedError(PermanentError):
    """The API answered with a problem."""

    def __init__(self, problem: dict[str, Any]) -> None:
        faults = "".join(f"\n  {one['path'] or '(body)'}: {one['message']}" for one in problem.get("errors", ()))
        super().__init__(f"{problem.get('status')} {problem.get('title')}: {problem.get('detail')}{faults}")


class ApiConflictError(ApiRefusedError):
    """The exception's state does not allow it: look again, then decide."""

    exit_code = 3


class ApiUnreachableError(TransientError):
    """Nothing answers at the API's address."""

    exit_code = 4

    def __init__(self, url: str, cause: object) -> None:
        super().__init__(f"the API at {url} does not answer ({cause}); is it running, and is SENTINAI_API_URL right?")


class Api:
    """The API under one key."""

    def __init__(self, url: str, key: str | None) -> None:
        self._url = url.rstrip("/")
        self._key = key

    def call(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
        """GET, or POST when there is a body. Raises one of this module's errors."""
        if not self._key:
            raise ApiKeyMissingError
        sent = {"X-API-KEY": self._key, "Content-Type": "application/json", **(headers or {})}
        request = Request(self._url + path, body, sent)  # noqa: S310 - the scheme is checked where the URL is given
        try:
            with urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
                return orjson.loads(answer.read())
        except HTTPError as error:
            problem = _problem(error)
            raise (ApiConflictError if error.code == _CONFLICT else ApiRefusedError)(problem) from None
        except (URLError, TimeoutError, ConnectionError) as error:
            raise ApiUnreachableError(self._url, getattr(error, "reason", error)) from None

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        """POST a value as JSON. Raises one of this module's errors."""
        return self.call(path, orjson.dumps(body), headers)


def _problem(error: HTTPError) -> dict[str, Any]:
    try:
        problem = orjson.loads(error.read())
    except orjson.JSONDecodeError:
        problem = None
    return problem if isinstance(problem, dict) else {"status": error.code, "title": error.reason, "detail": ""}
