"""`python -m service.devstack.worker_ping NODE SECONDS`: exit code 0 as soon as this worker answers the fleet's ping.

A process of its own, because it imports the application, and one that asks again and again, because that import
is what costs: `celery inspect ping` would do it for every question.
"""

from __future__ import annotations

import sys
import time

from celery.app.utils import find_app

_PATIENCE_SECONDS = 0.5


def main() -> None:
    """Ask until the worker answers or the time is up."""
    node, seconds = sys.argv[1:]
    app = find_app("tasks")
    # Counted from here, for on a busy machine the import alone may take that long.
    deadline = time.monotonic() + float(seconds)
    while not app.control.ping([node], timeout=_PATIENCE_SECONDS, limit=1):
        if time.monotonic() > deadline:
            sys.exit(f"{node} does not answer the ping")


if __name__ == "__main__":
    main()
