"""One kept-alive HTTP connection of one tenant. An answer that does not come is a value too, not an exception."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    """0 when there was no answer: whether the request took effect is then unknown."""
    began: float
    """Monotonic seconds."""
    seconds: float
    body: bytes
    """The error's own words when there was no answer."""

    def document(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)


class TenantConnection:
    """Calls the API as one tenant. Not for several threads."""

    def __init__(self, url: str, tenant_id: str, key: str) -> None:
        self.tenant_id = tenant_id
        self._http = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_SECONDS)
        self._headers = {"X-API-KEY": key, "Content-Type": "application/json"}

    def send(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """One request. The time is that from sending it to having read the whole answer."""
        began = time.monotonic()
        try:
            self._http.request(method, path, body, self._headers)
            response = self._http.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            return Answer(0, began, time.monotonic() - began, f"{type(error).__name__}: {error}".encode())
        return Answer(response.status, began, time.monotonic() - began, content)

    def close(self) -> None:
        """End the connection."""
        self._http.close()
