"""Topic exchanges match as AMQP says."""

from __future__ import annotations

import re

import pytest

from service.transport.channels.exchanges import TopicExchange


@pytest.mark.parametrize(
    ("binding", "matching", "other"),
    [
        ("triage.#", ["triage", "triage.3", "triage.acme.e-1"], ["triagex", "intake.triage", ""]),
        ("#", ["", "a", "a.b.c"], []),
        ("*.done", ["a.done"], ["done", "a.b.done"]),
        ("#.done", ["done", "a.done", "a.b.done"], ["a.done.b", "adone"]),
        ("a.#.z", ["a.z", "a.b.z", "a.b.c.z"], ["a", "z", "a.bz"]),
        ("worker.heartbeat", ["worker.heartbeat"], ["worker", "worker.heartbeat.x", "workerxheartbeat"]),
    ],
)
def test_words_and_wildcards(binding: str, matching: list[str], other: list[str]) -> None:
    pattern = TopicExchange(None).key_to_pattern(binding)  # type: ignore[no-untyped-call]  # kombu's constructor
    assert all(re.match(pattern, key) for key in matching)
    assert not any(re.match(pattern, key) for key in other)
