"""What is in a message comes out of it: bodies, headers, content types, compression, sizes."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from kombu import Connection, Queue

from tests.conformance.transport.backends import Backend
from tests.conformance.transport.mailbox import Mailbox, fill, size

pytestmark = pytest.mark.kafka

BODIES = {
    "text": "plain",
    "unicode": "Grüße, 東京 \N{ROCKET} \u0000 end",
    "number": -1.5,
    "large number": 2**63,
    "nothing": None,
    "true": True,
    "list": [1, [2, [3]]],
    "mapping": {"a": {"b": None}, "ü": "ß", "": 0},
}
HEADERS: dict[str, Any] = {
    "text": "words",
    "unicode": "東京",
    "empty": "",
    "looks-like-json": "[1]",
    "looks-like-null": "null",
    "integer": 12_345_678_901,
    "negative": -1,
    "float": 0.1,
    "true": True,
    "false": False,
    "none": None,
    "list": [1, "two", None, [3.5]],
    "mapping": {"deep": {"er": [True]}},
    "with space": "1",
    "ünï": "2",
}


def sent_and_received(connection: Connection, queue: str, body: object, **properties: Any) -> Any:
    """The message as it arrives; it is acknowledged."""
    fill(connection, queue, [body], **properties)
    with Mailbox(connection, queue) as box:
        message = box.wait_for(1)[0]
        message.payload  # noqa: B018 - decodes while the channel is open
        message.ack()
        return message


def test_bodies_of_every_json_type_arrive_as_they_were(connection: Connection, name: str) -> None:
    fill(connection, name, list(BODIES.values()))
    with Mailbox(connection, name) as box:
        assert sorted(map(repr, box.take(len(BODIES)))) == sorted(map(repr, BODIES.values()))


def test_headers_of_every_json_type_arrive_as_they_were(connection: Connection, name: str) -> None:
    headers = sent_and_received(connection, name, "x", headers=HEADERS).headers
    assert {key: headers[key] for key in HEADERS} == HEADERS
    assert {key: type(headers[key]) for key in HEADERS} == {key: type(value) for key, value in HEADERS.items()}


def test_properties_arrive_as_they_were(connection: Connection, name: str) -> None:
    given = {"correlation_id": "c-1", "reply_to": "answers", "message_id": "m-1", "app_id": "a", "type": "t"}
    properties = sent_and_received(connection, name, "x", **given).properties
    assert {key: properties[key] for key in given} == given


@pytest.mark.parametrize(
    ("body", "content_type", "encoding"),
    [
        ("hello", "text/plain", "utf-8"),
        ("grün", "text/plain", "iso-8859-1"),
        (b"\x00\xff\xfe", "application/data", "binary"),
        (b"", "application/data", "binary"),
        (bytes(range(256)), "application/x-unknown", "binary"),
    ],
)
def test_raw_bodies_keep_their_bytes_and_content_type(
    connection: Connection, name: str, body: object, content_type: str, encoding: str
) -> None:
    raw = body.encode(encoding) if isinstance(body, str) else body
    message = sent_and_received(connection, name, raw, content_type=content_type, content_encoding=encoding)
    assert (message.content_type, message.content_encoding) == (content_type, encoding)
    assert message.payload == body


@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml"])
def test_serializers(connection: Connection, name: str, serializer: str) -> None:
    body = {"a": [1, 2.5, None], "b": "ü"}
    assert sent_and_received(connection, name, body, serializer=serializer).payload == body


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "lzma"])
def test_compression(connection: Connection, name: str, compression: str) -> None:
    body = {"text": "again and " * 2000}
    assert sent_and_received(connection, name, body, compression=compression).payload == body


def test_a_large_message_arrives_whole(connection: Connection, name: str) -> None:
    body = os.urandom(900_000)
    message = sent_and_received(connection, name, body, content_type="application/data", content_encoding="binary")
    assert message.payload == body


def test_a_thousand_small_messages_in_one_batch_arrive_once_each(connection: Connection, name: str) -> None:
    producer = connection.Producer(routing_key=name)
    producer.maybe_declare(Queue(name))
    started = time.monotonic()
    with producer.batch(max_size=250):
        for number in range(1000):
            producer.publish(number)
    assert time.monotonic() - started < 30
    assert size(connection, name) == 1000
    with Mailbox(connection, name, prefetch=300) as box:
        assert sorted(box.take(1000)) == list(range(1000))
    assert size(connection, name) == 0


def test_an_expired_message_is_not_delivered(backend: Backend, connection: Connection, name: str) -> None:
    # given a message for a tenth of a second, one for an hour, and a consumer that comes later
    fill(connection, name, ["short"], expiration=0.1)
    fill(connection, name, ["long"], expiration=3600)
    time.sleep(0.15)
    with Mailbox(connection, name) as box:
        if backend.differs("expiration-is-ignored"):
            assert sorted(box.take(2)) == ["long", "short"]
        else:
            assert box.take(1) == ["long"]
            box.stays_at(1)
    assert size(connection, name) == 0
