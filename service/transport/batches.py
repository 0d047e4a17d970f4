"""Batches: many messages, confirmed by one wait. See :meth:`kombu.Producer.batch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .publishing import Delivery

if TYPE_CHECKING:
    from .channel import Channel

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
        """Send everything, then wait once."""
        messages, self._messages = self._messages, []
        deliveries: list[Delivery] = []
        for message, kwargs in messages:
            deliveries += self.channel.send(message, **{name: kwargs[name] for name in _PASSED_ON if name in kwargs})
        self.channel.connection.cluster.publisher.wait(deliveries)

    def discard(self) -> None:
        """Forget what was not flushed."""
        self._messages.clear()

    def close(self) -> None:
        """Nothing is kept open."""
