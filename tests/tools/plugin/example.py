"""A plug-in as somebody outside would write one: it asks a rating house for a rating. Used in tests."""

from __future__ import annotations

import time
from typing import Any

from service.tools.plugins import NotWorkedError, PluginCall, RefusedError


class Rating:
    """Made once for each process, and called for each call of the tool."""

    def __call__(self, call: PluginCall) -> dict[str, Any] | None:
        name = call.parameters["name"]
        if name == "busy":
            raise NotWorkedError("BUSY", retry_after_seconds=7)
        if name == "unknown":
            raise RefusedError("NO_SUCH_NAME")
        if name == "talkative":
            raise RefusedError("the account 4711 of Mr Smith is closed")
        if name == "broken":
            raise ZeroDivisionError("of 4711")
        if name == "slow":
            time.sleep(call.timeout_seconds + 3)
        if name == "odd":
            return [1]  # type: ignore[return-value]
        if name == "huge":
            return {"text": "x" * 1_100_000}
        return {"rating": call.config["scale"][0], "key": call.key, "as": len(call.secret("apiKey"))}
