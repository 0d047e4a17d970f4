"""A plug-in with a native fault, as some libraries have: certain names end the process. Used in tests."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

from service.tools.plugins import PluginCall


def rating(call: PluginCall) -> dict[str, Any]:
    """Rate a name."""
    name = str(call.parameters["name"])
    if name == "segfault":
        ctypes.string_at(0)
    if name == "exit":
        os._exit(3)
    if name == "exit late":
        # After its batch stopped waiting for it.
        time.sleep(1.5)
        os._exit(4)
    return {"rating": "AAA"}
