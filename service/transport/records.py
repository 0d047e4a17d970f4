"""kombu message ⇄ Kafka record. Pure.

Every task header is a record header of its own: text as it is, everything else as JSON, with the names of the JSON
ones in ``kombu-json``. The body is the record's value, untouched. What belongs to the envelope has names that start
with ``kombu-``. So a record can be read with any Kafka tool, and nothing is encoded twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Message
from kombu.utils.json import dumps as dump_rich
from kombu.utils.json import loads as load_rich

from .errors import Undecodable

Headers = Sequence[tuple[str, bytes | None]]

VERSION = "kombu-version"
_ENVELOPE = "kombu-"
_CONTENT_TYPE = "kombu-content-type"
_CONTENT_ENCODING = "kombu-content-encoding"
_EXCHANGE = "kombu-exchange"
ROUTING_KEY = "kombu-routing-key"
_PROPERTIES = "kombu-properties"
_JSON_NAMES = "kombu-json"
_OTHER_HEADERS = "kombu-headers"
_TEXT_BODY = "kombu-text"
_NOT_SENT = frozenset({"delivery_info", "delivery_tag", "body_encoding", "partition_key"})
_OF_AMQP = frozenset(
    {"priority", "delivery_mode", "reply_to", "correlation_id", "expiration", "message_id"}
    | {"timestamp", "type", "user_id", "app_id", "cluster_id"}
)
_PLAIN = {None: b"null", True: b"true", False: b"false"}
_WORDS = {b"null": None, b"true": True, b"false": False, b"0": 0}
_RICH = b"__type__"
_SIMPLE = frozenset({int, float, str, bool, type(None)})


@dataclass(frozen=True, slots=True)
class Record:
    """What is written to a topic."""

    key: bytes | None
    value: bytes | None
    """None says, on a compacted topic, that there is nothing under this key any more."""
    headers: Headers


@dataclass(frozen=True, slots=True)
class Arrival:
    """What was read from a topic, and where."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: Headers


def arrival_of(message: Message) -> Arrival:
    """Make a value of librdkafka's message."""
    headers: Any = message.headers()
    return Arrival(
        message.topic() or "",
        message.partition() or 0,
        _offset(message),
        _key(message),
        _as_bytes(message.value()),
        headers or [],
    )


def encode(message: dict[str, Any], exchange: str, routing_key: str, key: bytes | None) -> Record:
    """Make a record of a kombu message."""
    body = message.get("body")
    headers: list[tuple[str, bytes | None]] = [
        (VERSION, b"1"),
        (_EXCHANGE, exchange.encode()),
        (ROUTING_KEY, (routing_key or "").encode()),
    ]
    for name, field in ((_CONTENT_TYPE, "content-type"), (_CONTENT_ENCODING, "content-encoding")):
        if message.get(field):
            headers.append((name, str(message[field]).encode()))
    headers.append((_PROPERTIES, _properties_as_json(message["properties"])))
    if isinstance(body, str):
        headers.append((_TEXT_BODY, b""))
    _add_task_headers(headers, message.get("headers") or {})
    return Record(key, _as_bytes(body), headers)


def decode(arrival: Arrival, delivery_tag: str, redelivered: bool) -> dict[str, Any]:
    """Make the raw kombu message of a record.

    Raises:
        Undecodable: the record was not written by :func:`encode`, or is damaged.
    """
    found = dict(arrival.headers)
    if found.get(VERSION) != b"1":
        raise Undecodable("it has no kombu-version header of a known version")
    try:
        return _decode(arrival, found, delivery_tag, redelivered)
    except (ValueError, KeyError, TypeError, AttributeError) as damage:
        raise Undecodable(f"its headers are damaged: {damage!r}") from damage


def header(headers: Headers, name: str) -> str:
    """Return a header's text, empty when it is missing."""
    for found, value in headers:
        if found == name:
            return (value or b"").decode(errors="replace")
    return ""


def _decode(arrival: Arrival, found: dict[str, bytes | None], delivery_tag: str, redelivered: bool) -> dict[str, Any]:
    json_names = frozenset(_text(found, _JSON_NAMES).split("\n"))
    task_headers: dict[str, Any] = {}
    for name, data in found.items():
        if not name.startswith(_ENVELOPE):
            task_headers[name] = _from_json(data or b"") if name in json_names else (data or b"").decode()
    if _OTHER_HEADERS in found:
        task_headers.update(_from_json(found[_OTHER_HEADERS] or b""))
    properties: dict[str, Any] = _from_json(found.get(_PROPERTIES) or b"")
    properties["delivery_tag"] = delivery_tag
    properties["delivery_info"] = {
        "exchange": _text(found, _EXCHANGE),
        "routing_key": _text(found, ROUTING_KEY),
        "redelivered": redelivered,
        # Not AMQP's: where the record is, for whoever must tell a message from its copy.
        "topic": arrival.topic,
        "partition": arrival.partition,
        "offset": arrival.offset,
    }
    return {
        "body": arrival.value.decode() if _TEXT_BODY in found else arrival.value,
        "content-type": _text(found, _CONTENT_TYPE) or None,
        "content-encoding": _text(found, _CONTENT_ENCODING) or None,
        "headers": task_headers,
        "properties": properties,
    }


def _properties_as_json(given: dict[str, Any]) -> bytes:
    """Write the properties. One that AMQP does not know is no reason to refuse a message: AMQP leaves it out."""
    properties = {name: value for name, value in given.items() if name not in _NOT_SENT}
    try:
        return _as_json(properties)
    except TypeError:
        return _as_json({name: value for name, value in properties.items() if name in _OF_AMQP})


def _add_task_headers(headers: list[tuple[str, bytes | None]], given: dict[str, Any]) -> None:
    json_names, other = [], {}
    for name, value in given.items():
        if not isinstance(name, str) or name.startswith(_ENVELOPE) or "\n" in name or "\0" in name or not name:
            other[name] = value
        elif type(value) is str:
            headers.append((name, value.encode()))
        else:
            headers.append((name, _as_json(value)))
            json_names.append(name)
    headers.append((_JSON_NAMES, "\n".join(json_names).encode()))
    if other:
        headers.append((_OTHER_HEADERS, dump_rich(other).encode()))


def _as_json(value: Any) -> bytes:
    """Write a value. Most are a word or a number, and kombu's encoder costs microseconds for each."""
    if value is None or value is True or value is False:
        return _PLAIN[value]
    kind = type(value)
    if kind is int:
        return b"%d" % value
    if (kind is list or kind is tuple) and _SIMPLE.issuperset(map(type, value)):
        return json.dumps(value).encode()
    if kind is dict and _SIMPLE.issuperset(map(type, value.values())):
        return json.dumps(value).encode()
    encoded: str = dump_rich(value)
    return encoded.encode()


def _from_json(data: bytes) -> Any:
    """Read what :func:`_as_json` wrote, or any JSON; kombu's own types carry a mark."""
    if data in _WORDS:
        return _WORDS[data]
    return load_rich(data) if _RICH in data else json.loads(data.decode())


def _offset(message: Message) -> int:
    offset = message.offset()
    return -1 if offset is None else offset


def _key(message: Message) -> bytes | None:
    key = message.key()
    return key.encode() if isinstance(key, str) else key


def _as_bytes(body: Any) -> bytes:
    if body is None:
        return b""
    return body.encode() if isinstance(body, str) else bytes(body)


def _text(found: dict[str, bytes | None], name: str) -> str:
    return (found.get(name) or b"").decode()
