# mypy: disable-error-code="no-untyped-call"
# (kombu's classes are only partly annotated, and this module calls their methods)
"""What is handed out and unacknowledged, per channel; acknowledgements go from here to the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kombu.transport import virtual

from .messages import Message

if TYPE_CHECKING:
    from .channel import Channel


class QoS(virtual.QoS):
    """Prefetch limits and acknowledgements. Acknowledgements may come from any thread."""

    channel: Channel
    restore_at_shutdown = False
    """The channel does it when it closes; when a process just ends, Kafka delivers what is not committed."""

    def ack(self, delivery_tag: str) -> None:
        """The message is done with."""
        super().ack(delivery_tag)
        if self.channel.connection is not None:
            self.channel.connection.session.finish(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Hand the message out again, or keep it on the dead-letter topic."""
        transport = self.channel.connection
        if transport is not None:
            if requeue:
                transport.session.put_back(delivery_tag)
            else:
                message = self._delivered.get(delivery_tag)
                transport.session.dead_letter(delivery_tag, getattr(message, "refusal", Message.refusal))
        self._quick_ack(delivery_tag)
        if transport is not None:
            transport.session.wake()

    def up_to(self, delivery_tag: str) -> list[str]:
        """Return the unacknowledged messages from the first that was handed out to this one."""
        self._flush()
        tags = list(self._delivered)
        return tags[: tags.index(delivery_tag) + 1] if delivery_tag in tags else []

    def restore_unacked(self) -> list[object]:
        """Hand out everything unacknowledged again: the channel closes, or was told to recover."""
        self._flush()
        for delivery_tag in list(self._delivered):
            self.reject(delivery_tag, requeue=True)
        self._flush()
        return []
