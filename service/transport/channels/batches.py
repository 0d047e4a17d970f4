"""Batches: many messages, confirmed by one wait. See :meth:`kombu.Producer.batch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..delays.parking import send
from .routing import Nature, Target

if TYPE_CHECKING:
    from .channel import Channel

Routes = dict[tuple[str, str, Nature], list[Target]]
"""Where messages of one batch go, by exchange, routing key and nature."""
_PASSED_ON = ("exchange", "routing_key", "mandatory")


class PublishBatch:
    """Messages that are confirmed together."""

    def __init__(self, channel: Channel, max_size: int) -> None:
        self.channel = channel
        self._max_size = max_size
        self._messages: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def publish(self, message: dict[str, Any], **kwargs: Any) -> None:
        """Keep a message; a full batch is flushed."""
        self._messages.append((message, kwargs))
        if len(self._messages) >= self._max_size:
            self.flush()

    def flush(self) -> None:
        """Make all records, send them, then wait once: what is handed over in one go travels in fewer requests."""
        messages, self._messages = self._messages, []
        cluster, known = self.channel.open_transport().cluster, Routes()
        ready = [
            (topic, record, message)
            for message, kwargs in messages
            for topic, record in self.channel.records(message, **_passed_on(kwargs), known=known)
        ]
        cluster.publisher.wait([send(cluster, topic, record, message) for topic, record, message in ready])

    def discard(self) -> None:
        """Forget what was not flushed."""
        self._messages.clear()

    def close(self) -> None:
        """Nothing is kept open."""


def _passed_on(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: kwargs[name] for name in _PASSED_ON if name in kwargs}
