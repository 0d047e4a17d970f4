"""A run with secrets in its packs and sensitive data in its payloads; then everything it left is searched for them."""

from __future__ import annotations

import base64
import os
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import redis
import requests
from confluent_kafka import Consumer, KafkaException, TopicPartition
from sqlalchemy import Engine

from service.devstack.waiting import wait_until
from service.persistence.unit_of_work import unit_of_work
from tests.client import ApiClient
from tests.integration.conftest import Product
from tests.tenants import new_tenant, sample

IBAN = f"DE{uuid.uuid4().int % 10**20:020d}"
UPDATED_IBAN = f"FR{uuid.uuid4().int % 10**20:020d}"
PATIENCE_SECONDS = 60


class Kafka:
    """Every byte that any topic got since this was made."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._settings = {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"leaks-{uuid.uuid4().hex}",
            "enable.auto.commit": False,
        }
        self._ends = dict(self._watermarks())

    def everything(self) -> bytes:
        """Keys, values and headers of all records of all topics since then."""
        consumer = Consumer(self._settings)
        now = dict(self._watermarks())
        wanted = {place: end for place, end in now.items() if end > self._ends.get(place, 0)}
        consumer.assign([TopicPartition(topic, number, self._ends.get((topic, number), 0)) for topic, number in wanted])
        found, deadline = [], time.monotonic() + PATIENCE_SECONDS
        while wanted:
            assert time.monotonic() < deadline, f"could not read {sorted(wanted)} to the end"
            for message in consumer.consume(500, timeout=0.2):
                assert message.error() is None, message.error()
                found += [message.key() or b"", message.value() or b""]
                found += [part for name, value in message.headers() or [] for part in (name.encode(), value or b"")]
            for position in consumer.position([TopicPartition(*place) for place in wanted]):
                place = (position.topic, position.partition)
                # A record of a transaction's end takes an offset too, so this is the position and not the last record.
                if position.offset >= wanted[place]:
                    del wanted[place]
        consumer.close()
        return b"\n".join(found)

    def _watermarks(self) -> Iterator[tuple[tuple[str, int], int]]:
        consumer = Consumer(self._settings)
        for topic in consumer.list_topics(timeout=10).topics.values():
            for number in topic.partitions:
                if topic.topic != "__consumer_offsets":
                    yield (topic.topic, number), _end_of(consumer, TopicPartition(topic.topic, number))
        consumer.close()


def _end_of(consumer: Consumer, place: TopicPartition) -> int:
    """Where a partition ends. One that was just made may have no leader yet."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            _, end = consumer.get_watermark_offsets(place, timeout=10)
            return int(end)
        except KafkaException:
            assert time.monotonic() < deadline, f"{place} has no leader"


def database(system: Engine, tenant: str) -> str:
    """Every column of every row the tenant has, as text; bytes as what they are in hexadecimal."""
    with unit_of_work(system) as transaction:
        tables = transaction.rows(
            """SELECT table_name FROM information_schema.columns
                WHERE table_schema = 'public' AND column_name = 'tenant_id'"""
        )
        rows = [
            transaction.rows(f"SELECT t::text AS dumped FROM {table} t WHERE tenant_id = %(t)s", {"t": tenant})
            for (table,) in tables
        ]
    assert len(tables) >= 13
    return "\n".join(row.dumped for found in rows for row in found)


def everything_in(cache: redis.Redis) -> bytes:
    """All keys and values of Redis, as it dumps them itself."""
    keys = list(cache.scan_iter(count=1000))
    return b"\n".join(part for key in keys for part in (key, cache.dump(key) or b""))


def spellings(value: str) -> list[bytes]:
    """How a value could be written down."""
    raw = value.encode()
    forms = [value, quote(value, safe=""), raw.hex(), base64.b64encode(raw).decode(), repr(value)[1:-1]]
    return [form.encode() for form in forms]


def guarded(pack: dict[str, Any]) -> None:
    """The example pack, with a tool that proves itself by a secret and repeats what it is told."""
    for tool in pack["tools"].values():
        # Not Authorization: what is found there is masked as any answer's is, whoever knows it.
        tool["auth"] = {"type": "header", "name": "X-Proof", "secret": "secret://env/SENTINAI_SECRET_TEST_TOKEN"}


def settled(client: ApiClient, exception_id: str, *statuses: str) -> dict[str, Any]:
    shown: dict[str, Any] = {}

    def missing() -> str | None:
        nonlocal shown
        shown = client.get(exception_id)
        return None if shown["status"] in statuses else f"{exception_id} is {shown['status']}"

    wait_until(missing, f"{exception_id} in {statuses}", PATIENCE_SECONDS)
    return shown


@pytest.fixture
def echoing(product: Product) -> Iterator[Callable[[str], None]]:
    """Makes a demo tool repeat the headers that it gets."""
    touched = []

    def make(tool: str) -> None:
        touched.append(tool)
        url = f"{product.tool_server_url}/behaviours/{tool}"
        requests.put(url, json={"echoHeaders": True, "idempotent": True}, timeout=10).raise_for_status()

    yield make
    for tool in touched:
        requests.delete(f"{product.tool_server_url}/behaviours/{tool}", timeout=10).raise_for_status()


def test_no_secret_and_no_sensitive_value_is_left_anywhere(product: Product, echoing: Callable[[str], None]) -> None:
    if "SENTINAI_PAYLOAD_KEYS" not in os.environ:
        pytest.skip("this installation has no key to seal with")
    # given a tenant whose tools prove themselves by a secret, and tools that repeat it in their answers
    token = os.environ["SENTINAI_SECRET_TEST_TOKEN"]
    kafka = Kafka(product.settings.kafka_bootstrap_servers)
    tenant = new_tenant(product.system, adjust=guarded)
    client = product.client(tenant)
    for tool in ("retrySettlement", "drill"):
        echoing(tool)
    # when exceptions with an account number run to their end, are refused, get updates, comments and a reader
    account = {"name": "Northbridge", "accountNumber": IBAN}
    good = client.post(sample("straight", counterparty=account))
    bad = client.post(sample("permanent", counterparty=account))
    done, dead = settled(client, good, "RESOLVED"), settled(client, bad, "DEAD_LETTERED")
    update = {"counterparty": {"name": "Northbridge", "accountNumber": UPDATED_IBAN}}
    for kind, data in (("updated", update), ("comment", {"text": f"is it {UPDATED_IBAN}?"})):
        client.send("POST", f"/exceptions/{good}/events", json={"type": kind, "data": data})
    wait_until(
        lambda: None if client.get(good)["sequence"] == 3 else "not worked", "the comment is worked", PATIENCE_SECONDS
    )
    done = settled(client, good, "RESOLVED")
    seen = client.send("POST", f"/exceptions/{good}/payload", json={"reason": f"to compare {UPDATED_IBAN}"})
    assert seen.json()["rawPayload"]["counterparty"]["accountNumber"] == UPDATED_IBAN
    # then the tool got the secret, and answered with it
    timeline = client.timeline(good)
    answers = [event["data"] for event in timeline if event["type"] == "ToolExecutionCompleted"]
    assert [answer["output"]["headers"]["X-Proof"] for answer in answers[:1]] == ["[SECRET]"]
    assert done["rawPayload"]["counterparty"]["accountNumber"] != UPDATED_IBAN
    # and neither it nor a sensitive value is in what is left
    shown = [done, dead, timeline, client.timeline(bad), client.send("GET", "/exceptions?limit=200").text]
    shown += [client.send("GET", path).text for path in ("/dlq", "/packs/tenant", "/ledger")]
    remains = {
        "answers of the API": str(shown).encode(),
        "database": database(product.system, tenant.tenant_id).encode(),
        "Kafka": kafka.everything(),
        "logs": b"\n".join(path.read_bytes() for path in product.fleet.logs.rglob("*") if path.is_file()),
        "Redis": everything_in(redis.Redis.from_url(product.settings.redis_url)),
    }
    assert all(len(content) > 100 for place, content in remains.items() if place != "Redis")
    leaks = [
        (place, name, form[:20])
        for name, value in {"secret": token, "account": IBAN, "update": UPDATED_IBAN}.items()
        for form in spellings(value)
        for place, content in remains.items()
        if form in content
    ]
    assert leaks == []
