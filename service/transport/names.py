"""Names: queue ⇄ topic, and the topics the transport keeps for itself. Pure.

Kafka allows ``[A-Za-z0-9._-]``, 249 characters, and treats ``.`` and ``_`` as the same character when it
looks for collisions. So a queue's name keeps letters, digits, ``-`` and ``.``; everything else, ``_`` included,
becomes ``_hh`` (two hex digits per UTF-8 byte). A dot that stands first or before two hex digits is written
``_2e``, so no two queues' topics differ only in a dot against an underscore. The transport's own topics start
with ``_`` and two characters that are not both hex digits, which no queue can reach.
"""

from __future__ import annotations

import re

from .errors import BadName

_LONGEST = 249
_DOT_TO_ESCAPE = re.compile(r"^\.|\.(?=[0-9a-f]{2})")
_ODD = re.compile(r"[^A-Za-z0-9.-]")
_ESCAPED = re.compile(r"(?:_[0-9a-f]{2})+")


class Names:
    """The mapping under one prefix. Reversible; two names never meet on one topic."""

    def __init__(self, prefix: str = "") -> None:
        if re.search(r"[^A-Za-z0-9._-]", prefix):
            raise BadName(f"topic_prefix {prefix!r} may hold letters, digits, '.', '_' and '-' only")
        self._prefix = prefix

    def queue(self, queue: str) -> str:
        """Topic of a queue."""
        if not queue:
            raise BadName("a queue without a name has no topic")
        return self._checked(queue, self._prefix + _escape(queue))

    def queue_of(self, topic: str) -> str | None:
        """Queue of a topic; None when the topic is not a queue's under this prefix."""
        if not topic.startswith(self._prefix):
            return None
        queue = _unescape(topic[len(self._prefix) :])
        return queue if queue and _escape(queue) == topic[len(self._prefix) :] else None

    def broadcast(self, exchange: str) -> str:
        """Topic that carries an exchange's messages to listeners; ``""`` is the default exchange."""
        return self._checked(exchange, f"{self._prefix}_x.{_escape(exchange)}" if exchange else f"{self._prefix}_x")

    def bindings(self) -> str:
        """Topic that holds the shared exchanges and bindings."""
        return f"{self._prefix}_bindings"

    def soon(self) -> str:
        """Topic of the messages that are due within the horizon."""
        return f"{self._prefix}_soon"

    def level(self, seconds: float) -> str:
        """Topic where messages wait ``seconds``."""
        return f"{self._prefix}_wait.{round(seconds * 1000)}"

    def group(self, group_id: str, topic: str) -> str:
        """Consumer group of a queue's topic: each queue is shared, and rebalanced, by itself."""
        return f"{group_id}.{topic}"

    def mover_group(self) -> str:
        """Consumer group of the movers: one per prefix, since the delay topics are, whatever the queues' groups."""
        return f"{self._prefix}_delays"

    def _checked(self, name: str, topic: str) -> str:
        if len(topic) > _LONGEST:
            raise BadName(f"the name {name!r} needs a topic name of {len(topic)} characters; Kafka allows {_LONGEST}")
        return topic


def _escape(name: str) -> str:
    odd_escaped = _ODD.sub(lambda found: "".join(f"_{byte:02x}" for byte in found.group().encode()), name)
    return _DOT_TO_ESCAPE.sub("_2e", odd_escaped)


def _unescape(topic: str) -> str | None:
    try:
        return _ESCAPED.sub(lambda found: bytes.fromhex(found.group().replace("_", "")).decode(), topic)
    except UnicodeDecodeError:
        return None
