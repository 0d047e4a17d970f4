"""What the suites talk to: a Redis of their own, and a Kafka.

Celery's suite looks into Redis itself, at a host and port without a password, and counts what it finds there: so
each run has its own Redis, on the loopback only. Kafka is the environment's (KAFKA_BOOTSTRAP_SERVERS), else that of
a stack that is removed afterwards.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from confluent_kafka.admin import AdminClient

from service.devstack.instance import HOST
from service.devstack.ports import choose_ports
from service.devstack.redis_server import binary
from service.devstack.waiting import wait_until
from tests.stack_fixture import services

PORTS = range(22_500, 23_000)
_READY_SECONDS = 20
_TIMEOUT = 10


@contextmanager
def redis_server() -> Iterator[int]:
    """Port of an empty Redis without a password on the loopback, gone afterwards."""
    port = choose_ports(["redis"], {}, PORTS)["redis"]
    with tempfile.TemporaryDirectory(prefix="peers-redis-") as folder:
        command = [str(binary()), "--bind", HOST, "--port", str(port), "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: _missing(port), "Redis", _READY_SECONDS)
            yield port
        finally:
            process.terminate()
            process.wait(timeout=_TIMEOUT)


@contextmanager
def kafka_servers(topic_prefix: str) -> Iterator[str]:
    """Bootstrap servers of a Kafka; topics that begin with the prefix are deleted afterwards."""
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given is None:
        with services(f"peers-{os.getpid()}") as instance:
            yield instance.environment()["KAFKA_BOOTSTRAP_SERVERS"]
        return
    try:
        yield given
    finally:
        _delete_topics(given, topic_prefix)


def _missing(port: int) -> str | None:
    client = redis.Redis(host=HOST, port=port, socket_timeout=1)
    try:
        client.ping()
    except redis.RedisError as error:
        return str(error)
    finally:
        client.close()
    return None


def _delete_topics(servers: str, prefix: str) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    ours = [name for name in admin.list_topics(timeout=_TIMEOUT).topics if name.startswith(prefix)]
    for deleted in admin.delete_topics(ours, request_timeout=_TIMEOUT).values() if ours else ():
        deleted.result(_TIMEOUT)
