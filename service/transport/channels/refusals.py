"""Errors that AMQP has too: what users of kombu's other transports catch by AMQP's class or code."""

from __future__ import annotations

import amqp  # type: ignore[import-untyped]  # py-amqp has no annotations

from ..errors import ChannelFailed


class NotFound(ChannelFailed, amqp.NotFound):  # type: ignore[misc]  # py-amqp has no annotations
    """An exchange or a queue that must exist does not. AMQP's 404."""

    def __init__(self, kind: str, name: str) -> None:
        text = f"NOT_FOUND - no {kind} {name!r}; check its name, and that whoever owns it has declared it"
        amqp.NotFound.__init__(self, text)


class PreconditionFailed(ChannelFailed, amqp.PreconditionFailed):  # type: ignore[misc]  # no annotations
    """Something was declared as what it is not. AMQP's 406."""

    def __init__(self, what: str, is_now: str, wanted: str) -> None:
        text = f"PRECONDITION_FAILED - {what} is {is_now}, not {wanted}; say the same everywhere, or delete it first"
        amqp.PreconditionFailed.__init__(self, text)


class NotOffered(ChannelFailed, NotImplementedError):
    """A feature of AMQP that this transport does not have. The message says what to do instead."""
