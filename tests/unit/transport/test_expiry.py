"""When a message has expired, and who decides that."""

from __future__ import annotations

from typing import Any

import pytest

from service.transport.channels.expiry import expiry_headers, is_expired
from service.transport.channels.refusals import PreconditionFailed
from service.transport.records import Headers

NOW = 1_800_000_000.0


def message(expiration: str | None = "1500", **headers: Any) -> dict[str, Any]:
    return {"properties": {"expiration": expiration} if expiration is not None else {}, "headers": headers}


def stamped(expiration: str = "1500") -> Headers:
    return expiry_headers({"expiration": expiration}, NOW)


def test_a_message_lives_as_long_as_it_says_from_its_publishing() -> None:
    assert not is_expired(message(), stamped(), NOW + 1.4)
    assert is_expired(message(), stamped(), NOW + 1.5)


def test_without_an_expiration_a_message_lives_for_ever() -> None:
    assert expiry_headers({}, NOW) == []
    assert not is_expired(message(None), (), NOW + 10**9)


def test_a_life_of_nothing_is_over_at_once() -> None:
    assert is_expired(message("0"), stamped("0"), NOW)


def test_a_celery_task_is_left_to_celery() -> None:
    assert not is_expired(message(expires="2027-01-15T08:00:01+00:00"), stamped(), NOW + 60)
    assert is_expired(message(expires=None), stamped(), NOW + 60)


@pytest.mark.parametrize("wrong", ["soon", "1.5", "-1"])
def test_what_is_no_number_of_milliseconds_is_refused(wrong: str) -> None:
    with pytest.raises(PreconditionFailed, match="whole number of milliseconds"):
        expiry_headers({"expiration": wrong}, NOW)


@pytest.mark.parametrize("headers", [[], [("kombu-expires-at", b"tomorrow")], [("kombu-expires-at", None)]])
def test_a_record_of_another_version_does_not_expire(headers: Headers) -> None:
    assert not is_expired(message(), headers, NOW + 10**9)
