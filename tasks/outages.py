"""What becomes of a delivery that found PostgreSQL or Kafka away: it comes back as it is, and nobody pays for it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from celery.exceptions import Reject

SHORTEST_SECONDS, LONGEST_SECONDS = 0.3, 2.5
"""How long a delivery waits for PostgreSQL in the transport's delay. Work is to go on within five seconds of its
return, and of what waits some is always about to look."""

PAUSE_SECONDS = 1.0
"""What a worker waits before it hands back a delivery whose messages Kafka did not take. It comes again at once, and
there is no delay to put it into."""


def wait_for_postgresql(jitter: Callable[[], float] = random.random) -> float:
    """Seconds until a delivery looks again; jittered, so that what failed together does not come back together."""
    return SHORTEST_SECONDS + jitter() * (LONGEST_SECONDS - SHORTEST_SECONDS)


def hand_back(error: Exception) -> Reject:
    """Leave the delivery unacknowledged, for whoever holds its partition by then; to be raised."""
    time.sleep(PAUSE_SECONDS)
    return Reject(str(error), requeue=True)
