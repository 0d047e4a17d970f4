"""What only some backends do, as data: the documented differences of docs/transport-conformance.md.

A test that meets one asks for the documented expectation of its backend instead of the usual one. Nothing is skipped:
what a backend does instead is asserted as well, so that the table cannot rot.
"""

from __future__ import annotations

from dataclasses import dataclass

KAFKA = frozenset({"kafka-4", "kafka-3.5", "kafka-3-nodes"})
REDIS = frozenset({"redis"})


@dataclass(frozen=True)
class Difference:
    """One thing that the named backends do differently from the suite's usual expectation."""

    id: str
    backends: frozenset[str]
    usual: str
    """What the suite expects of the others."""
    instead: str
    """What these do."""
    reason: str


DIFFERENCES = (
    Difference(
        "order-of-a-queue",
        KAFKA,
        "messages of one producer arrive in the order of publishing",
        "messages of one key arrive in order; those without a key, or with different keys, may overtake each other",
        "a queue is spread over partitions, so that several workers can share it; `partitions=1` gives one order",
    ),
    Difference(
        "one-of-a-key-at-a-time",
        KAFKA,
        "as many messages are handed out as the prefetch limit allows",
        "of one key, the next message is handed out when the one before is acknowledged",
        "order would be lost in a pool of workers; `ordering=none` takes the rule away",
    ),
    Difference(
        "a-missing-queue-is-not-made",
        KAFKA,
        "a message to a queue that nobody declared makes it",
        "it is dropped, counted and warned about; mandatory, or with `unroutable=raise`, it raises `Unroutable`",
        "topics are never made by publishing: a wrong name would make one that nobody works",
    ),
    Difference(
        "priorities-are-refused",
        KAFKA,
        "a queue may have priorities",
        "declaring it raises a channel error that says what to do",
        "a partition has one order; use a queue for each priority",
    ),
    Difference(
        "mandatory-is-ignored",
        REDIS,
        "a mandatory message that no queue takes is refused",
        "it is dropped",
        "kombu's Redis transport ignores the flag",
    ),
    Difference(
        "fanout-is-not-stored",
        REDIS,
        "a durable queue bound to a fanout exchange keeps messages until they are consumed",
        "who does not listen at the moment misses them",
        "publish and subscribe of Redis stores nothing",
    ),
    Difference(
        "unbind-has-no-effect",
        REDIS,
        "an unbound queue gets nothing more",
        "it does",
        "kombu forgets the binding in the process only, not in Redis",
    ),
    Difference(
        "an-empty-queue-does-not-exist",
        REDIS,
        "a passive declaration of an empty queue tells 0",
        "it says NOT_FOUND",
        "Redis has no empty lists",
    ),
    Difference(
        "expiration-is-ignored",
        REDIS,
        "a message is not delivered after its expiration",
        "it is",
        "kombu's Redis transport ignores the property",
    ),
)


def differs(difference: str, backend: str) -> bool:
    """Tell whether a documented difference applies to a backend. Raises KeyError for one that is not in the table."""
    return backend in {known.id: known for known in DIFFERENCES}[difference].backends


def table() -> str:
    """The differences as the table of the documentation."""
    lines = ["| difference | who | the others | instead | why |", "| --- | --- | --- | --- | --- |"]
    for known in DIFFERENCES:
        who = "Kafka" if known.backends == KAFKA else ", ".join(sorted(known.backends))
        lines.append(f"| `{known.id}` | {who} | {known.usual} | {known.instead} | {known.reason} |")
    return "\n".join(lines)
