"""Message expiry: a message that nobody took in time is not handed out any more.

AMQP's ``expiration`` is a time to live in milliseconds (kombu: ``publish(..., expiration=seconds)``). The moment it
ends is written into the record when it is published, so that waiting for an ETA or moving between topics does not
begin it anew. It is the publisher's clock against the consumer's: clocks that differ shift the moment by as much.

A Celery task with ``expires`` has that property too, but is handed out in any case: Celery itself marks it REVOKED.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..records import Headers, header
from .refusals import PreconditionFailed

_EXPIRES_AT = "kombu-expires-at"


def expiry_headers(properties: Mapping[str, Any], now: float) -> list[tuple[str, bytes | None]]:
    """Return the record headers of a message that is published ``now`` (seconds since 1970).

    Raises:
        PreconditionFailed: its ``expiration`` is not a number of milliseconds.
    """
    told = properties.get("expiration")
    if told is None or told == "":
        return []
    if not str(told).isdecimal():
        raise PreconditionFailed("a message's expiration", repr(told), "a whole number of milliseconds")
    return [(_EXPIRES_AT, b"%d" % (round(now * 1000) + int(told)))]


def is_expired(message: Mapping[str, Any], headers: Headers, now: float) -> bool:
    """Tell whether a message must not be handed out any more; ``headers`` are its record's."""
    if message["properties"].get("expiration") is None or message["headers"].get("expires") is not None:
        return False
    ends = header(headers, _EXPIRES_AT)
    return ends.isdecimal() and int(ends) <= now * 1000
