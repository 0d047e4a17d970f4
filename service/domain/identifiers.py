"""Identifiers that can be derived again: a repeated delivery names the same event, plan and effect."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha1
from uuid import UUID, uuid5

_VERSION_AND_VARIANT = (7 << 76) | (2 << 62)
_RANDOM_BITS = (1 << 62) - 1


def event_id(exception_id: UUID, position: int, occurred_at: datetime) -> UUID:
    """The id of an exception's event: a UUIDv7 (RFC 9562) of the event's time and a value of (exception, position).

    It is derived instead of stored, so the event that is published twice is recognised by its id.
    """
    milliseconds = int(occurred_at.timestamp() * 1000)
    own = (exception_id.int ^ (position * 0x9E3779B97F4A7C15)) & _RANDOM_BITS
    return UUID(int=(milliseconds << 80) | _VERSION_AND_VARIANT | ((position & 0xFFF) << 64) | own)


def dead_letter_id(exception_id: UUID, sequence: int) -> UUID:
    """The id of the one dead letter that an input of an exception can have, however often it fails.

    A UUIDv7 of the exception's own time.
    """
    own = (exception_id.int ^ ((sequence + 1) * 0xC2B2AE3D27D4EB4F)) & _RANDOM_BITS
    return UUID(int=(exception_id.int >> 80 << 80) | _VERSION_AND_VARIANT | ((sequence & 0xFFF) << 64) | own)


def plan_id(exception_id: UUID, sequence: int) -> UUID:
    """The id of the plan made while working event `sequence` of an exception."""
    return uuid5(exception_id, f"plan:{sequence}")


def notification_key(exception_id: UUID, position: int, policy: str) -> str:
    """The idempotency key of what a policy has told about an exception's event: the same however often it is sent."""
    return str(uuid5(exception_id, f"notification:{position}:{policy}"))


def effect_key(plan: UUID, step: str) -> str:
    """The idempotency key of one step's external effect: the same on every delivery, sent as `Idempotency-Key`.

    `step` is the step's path.
    """
    # uuid5(plan, f"step:{step}"), without the objects in between: it is asked for several times a call.
    digest = bytearray(sha1(plan.bytes + f"step:{step}".encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
