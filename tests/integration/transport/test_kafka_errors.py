"""Errors a person can act on: each names what to check, comes in its documented time, and has the right class.

Those that need TLS, logins or ACLs are in test_kafka_security.py.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from kombu import Connection, Consumer, Producer, Queue
from kombu.exceptions import OperationalError

from service.transport.cluster import cluster_of
from service.transport.errors import (
    BadSetting,
    BrokerUnavailable,
    PublishRefused,
    PublishTimedOut,
    TopicRefused,
    TransportError,
)
from tests.brokers import KafkaCluster, kafka_cluster

from .conftest import Corner, new_corner, until

pytestmark = pytest.mark.kafka

JOBS = Queue("jobs")
LOOKING = 4.0
"""How long a look at an address takes at most, once librdkafka has nothing to tell."""


class Silent:
    """A listener that accepts nothing (a black hole), or that hands connections to ``serve``."""

    def __init__(self, serve: Callable[[socket.socket], None] | None = None) -> None:
        self._serve = serve
        self._sockets = [socket.create_server(("127.0.0.1", 0), backlog=50 if serve else 0)]
        self.address = f"127.0.0.1:{self._sockets[0].getsockname()[1]}"
        if serve:
            threading.Thread(target=self._accept, daemon=True).start()
        else:
            # The backlog is full, so further connection attempts get no answer, as behind a firewall that drops them.
            for _ in range(3):
                caller = socket.socket()
                caller.setblocking(False)
                caller.connect_ex(self._sockets[0].getsockname())
                self._sockets.append(caller)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._sockets[0].accept()
            except OSError:
                return
            assert self._serve is not None
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def close(self) -> None:
        self._sockets[0].close()
        for each in self._sockets[1:]:
            each.close()


def http_that_waits(connection: socket.socket) -> None:
    """As most servers do: read on until the header ends."""
    told = b""
    with connection, contextlib.suppress(OSError):
        while b"\r\n\r\n" not in told:
            more = connection.recv(1000)
            if not more:
                return
            told += more
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")


def http_that_complains(connection: socket.socket) -> None:
    """As others do: refuse at once what is no HTTP."""
    with connection, contextlib.suppress(OSError):
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.fixture
def listener() -> Iterator[Callable[..., str]]:
    opened: list[Silent] = []

    def listen(serve: Callable[[socket.socket], None] | None = None) -> str:
        opened.append(Silent(serve))
        return opened[-1].address

    yield listen
    for each in opened:
        each.close()


def refused(servers: str, **options: Any) -> TransportError:
    """Connect as Celery does, and return what it would log; assert that the time is kept."""
    options = {"request_timeout": 0.8, **options}
    connection = Connection(f"kafka://{servers}//", transport="service.transport:Transport", transport_options=options)
    began = time.monotonic()
    with pytest.raises(OperationalError) as failure:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
    assert time.monotonic() - began < 2 * (options["request_timeout"] + LOOKING) + 5
    assert isinstance(failure.value, BrokerUnavailable)
    assert isinstance(failure.value, connection.recoverable_connection_errors)
    return failure.value


@pytest.mark.parametrize(
    ("address", "cause", "check"),
    [
        ("no-such-host.invalid:9092", "Failed to resolve", "host name"),
        ("127.0.0.1:1", "Connection refused", "nothing listens there"),
    ],
)
def test_a_wrong_host_or_port_is_named(address: str, cause: str, check: str) -> None:
    told = str(refused(address))
    assert address in told and cause in told and check in told


def test_a_black_hole_is_told_from_something_that_is_not_kafka(listener: Callable[..., str]) -> None:
    assert "firewall" in str(refused(listener()))
    assert "speaks HTTP; check the port" in str(refused(listener(http_that_waits)))
    assert "check the port" in str(refused(listener(http_that_complains)))


def test_tls_where_the_broker_speaks_none(servers: str) -> None:
    told = str(refused(servers, common_config={"security.protocol": "SSL"}))
    assert "does not speak TLS" in told and told.count("check") == 1


def test_a_setting_librdkafka_does_not_take_is_told_at_once_and_not_tried_again(
    servers: str, caplog: pytest.LogCaptureFixture
) -> None:
    # given a mistyped setting beside a secret
    caplog.set_level(logging.DEBUG)
    secret = {"sasl.password": "hunter2", "ssl.key.pem": "hunter2", "sasl.passwrod": "hunter2"}
    options = {"common_config": secret}
    connection = Connection(
        f"kafka://ann:hunter2@{servers}//", transport="service.transport:Transport", transport_options=options
    )
    with pytest.raises(BadSetting, match=r"No such configuration property: .sasl\.passwrod") as failure:
        connection.ensure_connection(max_retries=3)
    # then no message, log or representation holds it
    shown = [str(failure.value), repr(connection.transport.options), caplog.text]
    assert not any("hunter2" in text for text in shown)


def test_a_missing_topic_is_refused_at_once_and_taken_when_it_is_there(corner: Corner) -> None:
    # given that topics are made by someone else
    with corner.connect(create_topics=False) as connection:
        queue = JOBS(connection.default_channel)
        began = time.monotonic()
        with pytest.raises(TopicRefused, match="does not exist, and create_topics is off; create it") as failure:
            queue.declare()
        assert time.monotonic() - began < 5
        assert isinstance(failure.value, connection.channel_errors)
        # when that someone does so
        cluster_of(corner.typed).topics.ensure([f"{corner.options['topic_prefix']}jobs"], 1, 1)
        # then the same connection goes on
        queue.declare()
        Producer(connection.default_channel).publish("x", exchange="", routing_key="jobs")


def test_more_replicas_than_brokers_is_refused_with_the_option_to_change(corner: Corner) -> None:
    with (
        corner.connect(replication_factor=7) as connection,
        pytest.raises(TopicRefused, match=r"jobs.*replication factor of 7.*lower replication_factor"),
    ):
        JOBS(connection.default_channel).declare()


def test_a_message_that_is_too_large_is_refused_and_the_next_one_goes(corner: Corner) -> None:
    corner.options["topic_config"] = {"max.message.bytes": "2000"}
    with corner.connect() as connection:
        producer = Producer(connection.default_channel)
        # over the topic's limit, and over the client's
        for size in (3_000, 2_000_000):
            with pytest.raises(PublishRefused, match=r"bytes: .*too large.*max\.message\.bytes") as failure:
                producer.publish("x" * size, exchange="", routing_key="jobs", declare=[JOBS], retry=True)
            assert isinstance(failure.value, connection.channel_errors)
            assert f"{size:,} bytes" in str(failure.value)
        producer.publish("small", exchange="", routing_key="jobs")


def test_a_topic_deleted_while_it_is_consumed_is_told_and_read_again_when_it_is_back(
    corner: Corner, caplog: pytest.LogCaptureFixture
) -> None:
    corner.options["consumer_config"] = {"topic.metadata.refresh.interval.ms": 1000}
    topics = cluster_of(corner.typed).topics
    topic = f"{corner.options['topic_prefix']}jobs"
    with corner.connect() as connection:
        bodies: list[Any] = []
        publish(connection, "before")
        consume(connection, bodies)
        until(lambda: drained(connection, bodies, 1), "the first message")
        # when someone deletes the topic under the consumer
        topics.delete(topic)
        until(lambda: drained(connection, bodies, 9) or "when the topic is there again" in caplog.text, "the log", 40)
        # and makes it again
        topics.ensure([topic], 4, 1)

        def read_again() -> bool:
            # A group can still know its place in the topic that is gone: what comes at once may lie behind it.
            publish(connection, "after")
            return drained(connection, bodies, 9) or "after" in bodies

        # then the same connection reads on
        until(read_again, "a message of the new topic", 40)
        assert set(bodies) == {"before", "after"}


@pytest.fixture(scope="module")
def own_broker() -> Iterator[KafkaCluster]:
    """A broker to do harm to. It is of 3.5, which refuses min.insync.replicas above the replicas (4.x caps it)."""
    with kafka_cluster(zookeeper=True) as cluster:
        yield cluster


def test_too_few_replicas_in_sync_end_with_the_publish_timeout_and_pass(own_broker: KafkaCluster) -> None:
    # given a topic that wants two replicas in sync and has one
    corner = new_corner(own_broker.bootstrap_servers, topic_config={"min.insync.replicas": "2"}, publish_timeout=2)
    with corner.connect() as connection:
        began = time.monotonic()
        with pytest.raises(PublishTimedOut, match=r"if it was stored: 1 of 2 replicas.*every broker") as failure:
            publish(connection, "x")
        assert time.monotonic() - began < 2 + 2 + 5 + 10
        assert isinstance(failure.value, connection.connection_errors)
        # when there are enough
        topic = f"{corner.options['topic_prefix']}jobs"
        entry = ConfigEntry("min.insync.replicas", "1", incremental_operation=AlterConfigOpType.SET)
        change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        admin = AdminClient({"bootstrap.servers": own_broker.bootstrap_servers})
        for future in admin.incremental_alter_configs([change]).values():
            future.result(10)
        # then the same connection publishes
        until(lambda: published(connection, "y"), "a confirmed message", 30)


def test_a_broker_that_hangs_is_told_to_publishers_and_consumers_go_on_by_themselves(
    own_broker: KafkaCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "service.transport")
    quick = {"socket.timeout.ms": 2000}
    corner = new_corner(own_broker.bootstrap_servers, publish_timeout=2, request_timeout=2, common_config=quick)
    bodies: list[Any] = []
    with corner.connect() as consuming, corner.connect() as publishing:
        publish(publishing, "before")
        consume(consuming, bodies)
        until(lambda: drained(consuming, bodies, 1), "the first message")
        # when the broker hangs
        own_broker.send(1, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(PublishTimedOut, match=r"unknown if it was stored: .*check"):
                publish(publishing, "lost?", declare=())
            # then a publisher knows within its time
            assert time.monotonic() - began < 2 + 2 + 2 + LOOKING + 10
            until(lambda: drained(consuming, bodies, 9) or "trouble with Kafka" in caplog.text, "a warning", 40)
        finally:
            own_broker.send(1, signal.SIGCONT)
        # and when it is back, both go on over the same connections
        until(lambda: published(publishing, "after"), "a confirmed message", 40)
        until(lambda: drained(consuming, bodies, 9) or "after" in bodies, "the message after", 40)
    # and a person was told once that it began, and once that it is over (of this broker; others may be ending)
    told = [record.getMessage() for record in caplog.records if own_broker.bootstrap_servers in record.getMessage()]
    assert len([text for text in told if text.startswith("trouble with Kafka")]) == 1
    assert len([text for text in told if "works again" in text]) == 1


def publish(connection: Connection, body: Any, declare: Any = (JOBS,)) -> None:
    Producer(connection.default_channel).publish(body, exchange="", routing_key="jobs", declare=list(declare))


def published(connection: Connection, body: Any) -> bool:
    try:
        publish(connection, body, declare=())
    except connection.connection_errors:
        return False
    return True


def consume(connection: Connection, bodies: list[Any]) -> None:
    def take(message: Any) -> None:
        bodies.append(message.payload)
        message.ack()

    Consumer(connection.channel(), [JOBS], on_message=take).consume()


def drained(connection: Connection, bodies: list[Any], count: int) -> bool:
    with contextlib.suppress(TimeoutError):
        connection.drain_events(timeout=0.05)
    return len(bodies) >= count
