"""The message a consumer gets. One whose content cannot be read is kept on the dead-letter topic."""

from __future__ import annotations

from typing import Any

from kombu.transport import virtual


class Message(virtual.Message):
    """kombu's message. Whoever fails to decode it usually acknowledges it, and it would be gone."""

    refusal: str = "rejected by the consumer"
    """What the dead letter gives as its reason if this is rejected; a consumer that knows better writes it here."""

    def _decode(self) -> Any:
        try:
            return super()._decode()  # type: ignore[no-untyped-call]  # kombu has no annotation here
        except Exception as failure:
            if self.channel is not None and self.channel.connection is not None:
                self.channel.connection.session.dead_letter(
                    self.delivery_tag, f"its content is unreadable: {failure!r}"
                )
            raise
