"""Waiting for a condition with a deadline. Nothing in the stack sleeps instead of looking."""

from __future__ import annotations

import time
from collections.abc import Callable

from service.devstack.errors import NotReadyError


def wait_until(
    condition: Callable[[], str | None],
    what: str,
    seconds: float,
    *,
    alive: Callable[[], None] = lambda: None,
    pause: float = 0.05,
) -> None:
    """Return once `condition` returns None; until then it returns what is still missing.

    `alive` is called between looks and raises when waiting is pointless. Raises NotReadyError after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while (missing := condition()) is not None:
        alive()
        if time.monotonic() > deadline:
            raise NotReadyError(f"{what} was not ready within {seconds:g} s: {missing}")
        time.sleep(pause)
