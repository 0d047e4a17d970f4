"""A client of the HTTP API, as a source system or an operator would write one, and patience with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import requests

SETTLED = frozenset(
    {"RESOLVED", "ESCALATED", "CANCELLED", "PENDING_APPROVAL", "PENDING_STEP", "WAITING", "DEAD_LETTERED"}
)
PATIENCE_SECONDS = 60.0


class ApiClient:
    """One tenant's view of the API."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.headers["X-API-KEY"] = key

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        """Any request; the raw response."""
        return self._session.request(method, self._url + path, timeout=30, **options)

    def post(self, body: Any, **headers: str) -> str:
        """POST an exception that must be accepted; its id."""
        response = self.send("POST", "/exceptions", json=body, headers=headers)
        assert response.status_code == 202, response.text
        exception_id: str = response.json()["exceptionId"]
        return exception_id

    def post_batch(self, bodies: Iterable[Any]) -> list[str]:
        """POST many that must all be accepted; their ids."""
        response = self.send("POST", "/exceptions/batch", json={"items": list(bodies)})
        assert response.status_code == 202, response.text
        answer = response.json()
        assert answer["rejected"] == 0, answer
        return [item["exceptionId"] for item in answer["items"]]

    def get(self, exception_id: str) -> dict[str, Any]:
        """One exception."""
        return self._json(f"/exceptions/{exception_id}")

    def timeline(self, exception_id: str) -> list[dict[str, Any]]:
        """All events of an exception, in order."""
        items: list[dict[str, Any]] = self._json(f"/exceptions/{exception_id}/events?limit=200")["items"]
        return items

    def ledger(self) -> dict[str, Any]:
        """The tenant's conservation ledger."""
        return self._json("/ledger")

    def wait_settled(self, exception_id: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Wait until the pipeline has nothing to do for an exception; fail with its last event."""
        found: dict[str, Any] = {}

        def settled() -> bool:
            found.update(self.get(exception_id))
            return found["status"] in SETTLED and found["sequence"] == found["lastSequence"]

        wait_for(settled, seconds, lambda: f"{found.get('status')}: {self.timeline(exception_id)[-1]}")
        return found

    def _json(self, path: str) -> dict[str, Any]:
        response = self.send("GET", path)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer


def wait_for(
    condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS, explain: Callable[[], object] = lambda: ""
) -> None:
    """Return once the condition holds; fail with the explanation after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {explain()}"
        time.sleep(0.02)
