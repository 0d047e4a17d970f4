"""What a round leaves outside of the database: the tool server's log, the dead-letter topic, what waits in Kafka."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any
from uuid import uuid4

import requests
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from sqlalchemy import Engine

from service.cli.relay import CURSOR_NAME
from service.domain.exceptions import Stage
from service.persistence.statements import relay
from service.persistence.unit_of_work import unit_of_work
from service.relay.log import BEGINNING, Snapshot
from service.relay.topics import DEAD_LETTER_TOPIC
from service.settings import load_settings
from service.transport.cluster import cluster_of
from service.transport.errors import BrokerUnavailable
from service.transport.inspection.inspector import Inspector
from service.transport.options import Options

_MOST_CALLS = 10_000
_SECONDS = 10.0


def forget_calls(tool_server_url: str) -> None:
    """Empty the tool server's log."""
    requests.delete(f"{tool_server_url}/calls", timeout=_SECONDS).raise_for_status()


def calls(tool_server_url: str, tenants: Collection[str]) -> list[dict[str, Any]]:
    """The tool server's log of these tenants' calls."""
    answer = requests.get(f"{tool_server_url}/calls", params={"limit": _MOST_CALLS}, timeout=60)
    answer.raise_for_status()
    return [
        {name: call[name] for name in ("key", "tool", "tenant", "outcome", "status", "at")}
        for call in answer.json()["items"]
        if call["tenant"] in tenants
    ]


def dead_letter_records(servers: str, tenants: Collection[str]) -> list[dict[str, Any]]:
    """The records of these tenants on the dead-letter topic, in no order. Raises KafkaException when Kafka is away."""
    settings = {"bootstrap.servers": servers, "group.id": f"verdict-{uuid4().hex}", "enable.auto.commit": False}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest", "enable.partition.eof": True, "log_level": 0})
    try:
        topic = consumer.list_topics(DEAD_LETTER_TOPIC, timeout=_SECONDS).topics[DEAD_LETTER_TOPIC]
        if topic.error is not None:
            return []
        consumer.assign([TopicPartition(DEAD_LETTER_TOPIC, number, 0) for number in topic.partitions])
        return [record for record in _all(consumer, len(topic.partitions)) if record["tenant"] in tenants]
    finally:
        consumer.close()


def _all(consumer: Consumer, partitions: int) -> list[dict[str, Any]]:
    found = []
    ended = 0
    while ended < partitions:
        message = consumer.poll(_SECONDS)
        if message is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        error = message.error()
        if error is None:
            found.append(_record(message.headers() or [], message.value() or b"{}"))
        elif error.code() == KafkaError._PARTITION_EOF:
            ended += 1
        else:
            raise KafkaException(error)
    return found


def _record(headers: list[tuple[str, bytes]], value: bytes) -> dict[str, Any]:
    named = dict(headers)
    document: dict[str, Any] = json.loads(value)
    return {
        "exception": named.get("exception", b"").decode(),
        "tenant": named.get("tenant", b"").decode(),
        "position": document.get("position"),
        "errorClass": document.get("errorClass"),
    }


def lag(servers: str, environment: Mapping[str, str]) -> dict[str, int]:
    """Unfinished messages of each stage's queue that has any. Raises BrokerUnavailable when Kafka is away."""
    options = Options(bootstrap_servers=servers, group_id=load_settings(environment).worker_group)
    inspector = Inspector(cluster_of(options))
    reports = inspector.queues([stage.queue for stage in Stage], ages=False)
    silent = [problem for report in reports for problem in report.problems]
    if silent:
        raise BrokerUnavailable(silent[0])
    return {report.queue: report.lag for report in reports if report.lag}


def unpublished(system: Engine) -> int:
    """Events that the relay has not published."""
    with unit_of_work(system) as transaction:
        rows = transaction.rows(relay.CURSOR, {"name": CURSOR_NAME})
        cursor = Snapshot.parse(rows[0][0]) if rows else BEGINNING
        count: int = transaction.rows(relay.LAG, cursor.parameters())[0][0]
        return count
