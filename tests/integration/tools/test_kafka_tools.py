"""Tools of kind kafka against a real broker: a record is confirmed, or it is known whether it may be sent again."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any

import orjson
import pytest
from confluent_kafka import Consumer, Message
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from service.resources import Grant, KafkaCluster
from service.tools import Answer, HttpToolClient, ToolResult
from service.tools.kafka import KafkaPublisher
from service.tools.kinds import CallKind
from tests.stack_fixture import StackUnderTest
from tests.tools.given import TEXT, a_call, a_client, result_of, secrets_with

pytestmark = [pytest.mark.stack, pytest.mark.kafka]

TOPIC = f"tools-{os.getpid()}"
SMALL = f"tools-small-{os.getpid()}"
CASE: dict[str, Any] = {
    "kind": "kafka",
    "topic": TOPIC,
    "version": "3",
    "parameters": {"id": TEXT, "note": {"type": "string"}},
    "key": "case {{ parameters.id }}",
    "value": {"case": {"id": "{{ parameters.id }}", "note": "{{ parameters.note }}"}},
    "headers": {"source": "sentinai"},
    "timeoutSeconds": 20,
}


@pytest.fixture(scope="module")
def brokers(stack: StackUnderTest) -> Iterator[str]:
    servers = stack.environment["KAFKA_BOOTSTRAP_SERVERS"]
    admin = AdminClient({"bootstrap.servers": servers})
    wanted = [NewTopic(TOPIC, 1, 1), NewTopic(SMALL, 1, 1, config={"max.message.bytes": "2000"})]
    for made in admin.create_topics(wanted).values():
        made.result(30)
    yield servers
    for gone in admin.delete_topics([TOPIC, SMALL]).values():
        gone.result(30)


def kinds_for(servers: str) -> Callable[[], Mapping[str, CallKind]]:
    topics = {TOPIC: Grant(tenants=("ACME",)), SMALL: Grant(tenants=("*",)), "tools-nowhere": Grant(tenants=("*",))}
    return lambda: {"kafka": KafkaPublisher(KafkaCluster(topics=topics), servers, secrets_with())}


@contextmanager
def publishing(servers: str) -> Iterator[HttpToolClient]:
    with a_client(kinds=kinds_for(servers)) as client:
        yield client


def published(servers: str, definition: Mapping[str, Any] = CASE, key: str = "0199", **parameters: Any) -> ToolResult:
    with publishing(servers) as client:
        return result_of(client, a_call(definition, parameters or {"id": "7"}, key=key))


@contextmanager
def records(servers: str, topic: str) -> Iterator[Iterator[Message]]:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])

    def arriving() -> Iterator[Message]:
        while True:
            message = consumer.poll(30)
            assert message is not None, "no record within 30 s"
            assert message.error() is None, message.error()
            yield message

    try:
        yield arriving()
    finally:
        consumer.close()


def test_a_record_is_published_and_confirmed(brokers: str) -> None:
    # when many calls are made at once
    with publishing(brokers) as client:
        calls = [a_call(CASE, {"id": str(number)}, key=f"key-{number}") for number in range(50)]
        results = [result for group in client.results(calls) for result in group]
    # then each is confirmed with its place
    assert {result.answer for result in results} == {Answer.CONFIRMED}
    assert sorted((result.output or {})["offset"] for result in results) == list(range(50))
    # and a consumer sees key, value and who sent it
    with records(brokers, TOPIC) as arriving:
        found = {dict(message.headers() or [])["idempotency-key"]: message for message in islice(arriving, 50)}
    message = found[b"key-7"]
    assert message.key() == b"case 7"
    assert orjson.loads(message.value() or b"") == {"case": {"id": "7"}}
    headers = dict(message.headers() or [])
    assert (headers["tenant-id"], headers["tool-version"], headers["source"]) == (b"ACME", b"3", b"sentinai")


@pytest.mark.parametrize(
    ("definition", "tenant", "says"),
    [
        ({**CASE, "topic": "exceptions.events"}, "ACME", "operator"),
        (CASE, "OTHER", "operator"),
        ({**CASE, "topic": "tools-nowhere"}, "ACME", "UNKNOWN_TOPIC"),
        ({**CASE, "topic": SMALL, "key": "k" * 5_000}, "ACME", "TOO_LARGE"),
    ],
    ids=["not allowed", "not this tenant", "no such topic", "too large"],
)
def test_what_no_broker_will_ever_take_is_refused(
    brokers: str, definition: dict[str, Any], tenant: str, says: str
) -> None:
    with publishing(brokers) as client:
        result = result_of(client, a_call(definition, {"id": "7"}, tenant=tenant))
    assert result.answer is Answer.PERMANENT, result
    assert says in (result.error or "")


def test_a_record_that_never_left_may_be_sent_again() -> None:
    # given a broker that is not there
    with closing(socket.socket()) as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{closed.getsockname()[1]}"
        # when a record is published, then it is still in this process's queue when the time is over
        result = published(nobody, {**CASE, "timeoutSeconds": 1})
    assert result.answer is Answer.TRANSIENT
    assert "no broker took" in (result.error or "")


PRODUCE = 0


class Between:
    """Stands between a client and the broker, as its only listener, and keeps to itself what is produced."""

    def __init__(self, servers: str, then: str) -> None:
        self._host, port = servers.split(",")[0].rsplit(":", 1)
        self._port = int(port)
        self._then = then
        self._open: list[socket.socket] = []
        self.kept = threading.Event()

    def __enter__(self) -> str:
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._open):
            one.close()

    def _accept(self) -> None:
        port = self._listener.getsockname()[1]
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            broker = socket.create_connection((self._host, self._port))
            self._open += [client, broker]
            threading.Thread(target=self._requests, args=(client, broker), daemon=True).start()
            threading.Thread(target=self._replies, args=(broker, client, port), daemon=True).start()

    def _requests(self, client: socket.socket, broker: socket.socket) -> None:
        with client.makefile("rb") as incoming:
            while len(size := incoming.read(4)) == 4:
                request = incoming.read(int.from_bytes(size))
                if int.from_bytes(request[:2]) != PRODUCE:
                    broker.sendall(size + request)
                    continue
                self.kept.set()
                if self._then == "cut":
                    client.shutdown(socket.SHUT_RDWR)
                    return

    def _replies(self, broker: socket.socket, client: socket.socket, port: int) -> None:
        # Metadata names the broker's own port: the same number of bytes, ours instead.
        theirs, ours = self._port.to_bytes(4), port.to_bytes(4)
        try:
            while chunk := broker.recv(65536):
                client.sendall(chunk.replace(theirs, ours))
        except OSError:
            return


@pytest.mark.parametrize("then", ["cut", "silence"])
@pytest.mark.parametrize(("idempotent", "expected"), [(False, Answer.UNANSWERED), (True, Answer.TRANSIENT)])
def test_a_record_that_was_on_its_way_is_in_doubt(brokers: str, then: str, idempotent: bool, expected: Answer) -> None:
    # given a connection on which what is produced goes out, and nothing comes back
    between = Between(brokers, then)
    with between as address:
        # when a record is published
        result = published(address, {**CASE, "timeoutSeconds": 3, "idempotent": idempotent})
    # then it left, and nobody says that it did not
    assert between.kept.is_set()
    assert result.answer is expected, result


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_a_producer_of_its_own(brokers: str) -> None:
    # given a client that has published in this process
    with publishing(brokers) as client:
        assert result_of(client, a_call(CASE, {"id": "parent"})).answer is Answer.CONFIRMED
        child = os.fork()
        if child == 0:
            worked = result_of(client, a_call(CASE, {"id": "child"})).answer is Answer.CONFIRMED
            os._exit(0 if worked else 1)
        # then a forked child publishes too, and so does this process afterwards
        assert os.waitpid(child, 0)[1] == 0
        assert result_of(client, a_call(CASE, {"id": "after"})).answer is Answer.CONFIRMED
