"""A complaint that repeats is told once in a while."""

from __future__ import annotations

import logging

from service.transport.troubleshooting.librdkafka_log import Once


def test_like_complaints_are_told_once_in_a_while_and_others_at_once() -> None:
    now = [0.0]
    once = Once(seconds=10, clock=lambda: now[0])

    def passes(text: str) -> bool:
        return once.filter(logging.LogRecord("n", logging.ERROR, "p", 1, text, (), None))

    assert passes("broker 1: refused after 3 ms")
    assert not passes("broker 1: refused after 27 ms")
    assert passes("bad password")
    now[0] = 11
    assert passes("broker 1: refused after 3 ms")
