"""Shows a newcomer one exception on its way: posts the samples over HTTP and prints a timeline as it grows."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from service.devstack.errors import StackError

DEADLINE_SECONDS = 30
_LOOK_EVERY_SECONDS = 0.02
_TRAVELS = "straight"


class DemoApi:
    """The few calls the journey needs, made as any client would make them."""

    def __init__(self, api_url: str, api_key: str) -> None:
        self._url = api_url.rstrip("/")
        self._key = api_key

    def post(self, body: Mapping[str, Any]) -> str:
        """POST an exception; its id."""
        answer = self._call("/exceptions", json.dumps(body).encode())
        return str(answer["exceptionId"])

    def get(self, path: str) -> dict[str, Any]:
        """GET a resource."""
        return self._call(path, None)

    def _call(self, path: str, body: bytes | None) -> dict[str, Any]:
        headers = {"X-API-KEY": self._key, "Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data=body, headers=headers)  # noqa: S310 - the stack's own URL
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - the stack's own URL
                answer: dict[str, Any] = json.load(response)
                return answer
        except OSError as error:
            raise StackError(
                f"the demo could not call the API ({error}); `sentinai stack logs api` shows why"
            ) from error


def show_journey(api: DemoApi, samples: Mapping[str, Mapping[str, Any]], write: Callable[[str], None]) -> None:
    """Post every sample and print the timeline of the one that runs straight through.

    Raises StackError when it is not resolved within the deadline.
    """
    began = time.monotonic()
    travelling = api.post(samples[_TRAVELS])
    for name, body in samples.items():
        if name != _TRAVELS:
            api.post(body)
    write(f"\n  Exception {travelling} travels:")
    shown = 0
    while True:
        exception = api.get(f"/exceptions/{travelling}")
        events = api.get(f"/exceptions/{travelling}/events")["items"]
        for event in events[shown:]:
            write(f"    {event['occurredAt']}  {event['stage']:<9} {event['type']}")
        shown = len(events)
        if exception["status"] == "RESOLVED":
            write(f"  RESOLVED after {shown} events, {time.monotonic() - began:.1f} s after the POST\n")
            return
        if time.monotonic() - began > DEADLINE_SECONDS:
            raise StackError(
                f"the demo exception is still {exception['status']} after {DEADLINE_SECONDS} s; "
                "`sentinai stack logs worker` and `sentinai stack logs dispatcher` show why"
            )
        time.sleep(_LOOK_EVERY_SECONDS)


def curl_line(api_url: str, api_key: str, body: Mapping[str, Any]) -> str:
    """A command line that posts `body`, ready to be copied."""
    return (
        f"curl -sS {api_url}/exceptions -H 'X-API-KEY: {api_key}' -H 'Content-Type: application/json' "
        f"-d '{json.dumps(body)}'"
    )
