"""`python -m service.devstack.worker_ping SECONDS`: exit code 0 as soon as a worker answers the fleet's ping.

A process of its own, because it imports the application, and one that asks again and again, because that import
is what costs: `celery inspect ping` would do it for every question.
"""

from __future__ import annotations

import sys
import time

from celery.app.utils import find_app

_PATIENCE_SECONDS = 0.5


def main() -> None:
    """Ask until a worker answers or the time is up."""
    app = find_app("tasks")
    # Counted from here, for on a busy machine the import alone may take that long.
    deadline = time.monotonic() + float(sys.argv[1])
    while not app.control.ping(timeout=_PATIENCE_SECONDS, limit=1):
        if time.monotonic() > deadline:
            sys.exit("no worker answers the ping")


if __name__ == "__main__":
    main()
