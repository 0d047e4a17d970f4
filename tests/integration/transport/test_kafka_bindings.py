"""Bindings are shared: any process publishes to an exchange that another one bound, also when that one is gone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka.admin import ConfigResource
from kombu import Connection, Exchange, Producer, Queue
from kombu.exceptions import ChannelError

from service.transport.cluster import cluster_of
from service.transport.errors import TopicRefused, Unroutable

from .conftest import PROJECT, Corner, Fleet, until

pytestmark = pytest.mark.kafka

EVENTS = Exchange("events", type="topic")
ORDERS = Queue("orders", EVENTS, routing_key="order.#")

_PRELUDE = """
import json, os, sys
from kombu import Connection, Exchange, Producer, Queue
options = json.loads(sys.argv[1])
servers = options.pop("servers")
connection = Connection(f"kafka://{servers}//", transport="service.transport:Transport", transport_options=options)
channel = connection.default_channel
events = Exchange("events", type="topic")
orders = Queue("orders", events, routing_key="order.#")
def publish(body, exchange="events", routing_key="order.1", **more):
    Producer(channel).publish(body, exchange=exchange, routing_key=routing_key, **more)
"""


def start(corner: Corner, code: str, **more: Any) -> subprocess.Popen[str]:
    """Start a process of its own with a connection; it shares nothing with this one but the cluster."""
    options = json.dumps({**corner.options, **more, "servers": corner.servers})
    command = [sys.executable, "-c", f"{_PRELUDE}{code}\nconnection.release()", options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=PROJECT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return printed.strip()


def elsewhere(corner: Corner, code: str, **more: Any) -> str:
    return finish(start(corner, code, **more))


def publish(connection: Connection, body: Any = "x", routing_key: str = "order.1", **more: Any) -> None:
    Producer(connection.default_channel).publish(body, exchange="events", routing_key=routing_key, **more)


def waiting(connection: Connection, queue: str) -> int:
    count: int = connection.default_channel.queue_declare(queue, passive=True).message_count
    return count


def count(connection: Connection, name: str) -> int:
    value: int = connection.transport.cluster.counters.snapshot().get(name, 0)
    return value


@contextmanager
def cold(corner: Corner, **more: Any) -> Iterator[Connection]:
    """A connection of this process that shares no copy with the others: its options differ."""
    with corner.connect(**{"request_timeout": 6.0, **more}) as connection:
        connection.connect()
        yield connection


def test_a_process_that_declared_nothing_publishes_to_an_exchange_that_another_bound(corner: Corner) -> None:
    with corner.connect() as connection:
        ORDERS(connection.default_channel).declare()
        elsewhere(corner, "publish('from elsewhere')")
        message = ORDERS(connection.default_channel).get()
        assert message is not None
        assert message.payload == "from elsewhere"
        assert message.delivery_info["routing_key"] == "order.1"
        message.ack()


def test_a_forked_child_publishes_by_bindings_its_parent_never_knew(corner: Corner) -> None:
    # given a process that has used its connection and then forks, as a prefork worker does
    child = start(
        corner,
        "publish('before', exchange='', routing_key='plain', declare=[Queue('plain')])\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    sys.stdin.readline()\n"
        "    publish('from the child')\n"
        "    os._exit(0)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
    )
    # when the queue is bound after the fork
    with corner.connect() as connection:
        until(lambda: f"{corner.options['topic_prefix']}plain" in corner.topics(), "the parent has published")
        ORDERS(connection.default_channel).declare()
        finish(child)
        # then the child's message is there
        assert waiting(connection, "orders") == 1


def test_a_forked_child_does_not_go_on_with_its_parents_copy(corner: Corner) -> None:
    # given a process that knows a binding and forks
    with corner.connect() as connection:
        ORDERS(connection.default_channel).declare()
        elsewhere(
            corner,
            "publish('from the parent')\n"
            "child = os.fork()\n"
            "if not child:\n"
            "    publish('from the child')\n"
            "    os._exit(0)\n"
            "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
            "publish('from the parent, later')",
        )
        assert waiting(connection, "orders") == 3


def test_bindings_outlive_every_process_that_knew_them(corner: Corner) -> None:
    # given a process that declares and ends
    elsewhere(corner, "orders(channel).declare()")
    # when another publishes, and ends as well
    elsewhere(corner, "publish('still routed')")
    # then a third finds the message, and all the bindings
    printed = elsewhere(
        corner,
        "message = orders(channel).get()\n"
        "message.ack()\n"
        "print(message.payload)\n"
        "print(sorted(channel.list_bindings()))",
    )
    assert printed.splitlines() == ["still routed", "[('orders', 'events', 'order.#')]"]


def test_a_binding_made_a_moment_ago_is_found_before_a_message_is_called_unroutable(corner: Corner) -> None:
    # given a process whose copy of the bindings will not be old for a long time
    with corner.connect(bindings_max_age=600.0) as connection:
        EVENTS(connection.default_channel).declare()
        with pytest.raises(Unroutable, match="'events'"):
            publish(connection)
        # when another process binds a queue, and the message comes at once
        elsewhere(corner, "orders(channel).declare()")
        publish(connection)
        # then it is routed
        assert waiting(connection, "orders") == 1
        assert count(connection, "unroutable") == 1


def test_what_another_process_unbinds_gets_no_more_after_the_greatest_age(corner: Corner) -> None:
    # given a process that routes by a binding
    corner.options["bindings_max_age"] = 0.5
    with corner.connect() as connection:
        ORDERS(connection.default_channel).declare()
        publish(connection)
        # when another process takes it away
        elsewhere(corner, "channel.queue_unbind('orders', 'events', 'order.#')")
        unbound = time.monotonic()
        # then no message that is published later than the greatest age is routed by it
        routed = 0
        while (began := time.monotonic()) - unbound < 20:
            try:
                publish(connection)
            except Unroutable:
                break
            assert began - unbound <= 0.5, "routed by a copy that was too old"
            routed += 1
        assert waiting(connection, "orders") == 1 + routed


def test_a_queue_and_an_exchange_that_another_process_deletes_are_gone_for_all(corner: Corner) -> None:
    with corner.connect(bindings_max_age=0.0) as connection:
        ORDERS(connection.default_channel).declare()
        Queue("audit", EVENTS, routing_key="#")(connection.default_channel).declare()
        publish(connection)
        # when a queue is deleted, its messages go on to the other one
        elsewhere(corner, "orders(channel).delete()")
        publish(connection)
        assert waiting(connection, "audit") == 2
        # and when the exchange is deleted, the queue and its messages stay
        elsewhere(corner, "events(channel).delete()")
        with pytest.raises(Unroutable):
            publish(connection)
        assert waiting(connection, "audit") == 2
        assert list(connection.default_channel.list_bindings()) == []


def test_processes_that_declare_the_same_at_once_do_no_harm(corner: Corner) -> None:
    # given a cluster without any topic of ours, and four processes that begin together
    code = (
        "print('ready', flush=True)\nsys.stdin.readline()\norders(channel).declare()\npublish('x')\nprint('declared')"
    )
    processes = [start(corner, code) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    # then each of them succeeds
    assert [finish(process) for process in processes] == ["declared"] * 4
    with corner.connect() as connection:
        assert waiting(connection, "orders") == 4
        assert list(connection.default_channel.list_bindings()) == [("orders", "events", "order.#")]


def test_an_exchange_that_another_process_declared_otherwise_is_refused(corner: Corner) -> None:
    elsewhere(corner, "events(channel).declare()")
    with corner.connect() as connection:
        with pytest.raises(ChannelError, match=r"PRECONDITION_FAILED.*'events' is topic, not direct") as refused:
            Exchange("events", type="direct")(connection.default_channel).declare()
        assert isinstance(refused.value, connection.channel_errors)
        assert refused.value.reply_code == 406
        # and the connection is as good as before
        ORDERS(connection.default_channel).declare()
        publish(connection)


def test_a_thousand_messages_cost_a_handful_of_looks_at_the_log(corner: Corner) -> None:
    elsewhere(corner, "orders(channel).declare()")
    with cold(corner) as connection:
        began = time.monotonic()
        with Producer(connection.default_channel) as producer, producer.batch(max_size=100):
            for number in range(1000):
                producer.publish(number, exchange="events", routing_key=f"order.{number}")
        seconds = time.monotonic() - began
        assert waiting(connection, "orders") == 1000
        assert count(connection, "bindings_reads") == 1
        assert count(connection, "bindings_checks") <= 2 + seconds


def test_the_default_exchange_never_asks_for_bindings(corner: Corner) -> None:
    elsewhere(corner, "orders(channel).declare()")
    with cold(corner) as connection:
        for number in range(20):
            Producer(connection.default_channel).publish(number, exchange="", routing_key="orders")
        assert waiting(connection, "orders") == 20
        assert count(connection, "bindings_checks") == 0


def test_a_fanout_reaches_stored_and_temporary_queues_alike(corner: Corner) -> None:
    # given a fanout exchange with a stored queue, and a listener in another process
    news = Exchange("news", type="fanout")
    listener = start(
        corner,
        "news = Exchange('news', type='fanout')\n"
        "heard = []\n"
        "queue = Queue('', news, exclusive=True)\n"
        "from kombu import Consumer\n"
        "with Consumer(channel, [queue], on_message=lambda m: heard.append(m.payload), no_ack=True):\n"
        "    publish('listening', exchange='', routing_key='answers', declare=[Queue('answers')])\n"
        "    connection.drain_events(timeout=30)\n"
        "print(heard)",
    )
    with corner.connect() as connection:
        stored = Queue("archive", news)(connection.default_channel)
        stored.declare()
        until(lambda: f"{corner.options['topic_prefix']}answers" in corner.topics(), "the listener listens", 30)
        answers = Queue("answers")(connection.default_channel)
        until(answers.get, "the listener says so", 30)
        # when a message is published
        Producer(connection.default_channel).publish("to all", exchange="news")
        # then both have it
        assert finish(listener) == "['to all']"
        assert waiting(connection, "archive") == 1


def test_a_temporary_queue_of_another_process_hears_a_durable_topic_exchange(corner: Corner) -> None:
    # given a process that has found no queue for a message a moment ago
    with corner.connect() as connection:
        EVENTS(connection.default_channel).declare()
        with pytest.raises(Unroutable):
            publish(connection)
        # when another process binds a temporary queue, and the message comes again at once
        listener = start(
            corner,
            "queue = Queue('', events, routing_key='order.*', exclusive=True)(channel)\n"
            "queue.declare()\n"
            "publish('listening', exchange='', routing_key='answers', declare=[Queue('answers')])\n"
            "import time\n"
            "deadline = time.monotonic() + 30\n"
            "while (message := queue.get()) is None and time.monotonic() < deadline: time.sleep(.01)\n"
            "print(message.payload)",
        )
        answers = Queue("answers")(connection.default_channel)
        until(lambda: f"{corner.options['topic_prefix']}answers" in corner.topics(), "the listener listens", 30)
        until(answers.get, "the listener says so", 30)
        publish(connection, "to whom it concerns")
        # then it is heard
        assert finish(listener) == "to whom it concerns"


def test_bindings_are_kept_by_one_compacted_partition(corner: Corner) -> None:
    with corner.connect() as connection:
        ORDERS(connection.default_channel).declare()
        topic = f"{corner.options['topic_prefix']}_bindings"
        topics = cluster_of(connection.transport.options).topics
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        [described] = topics.admin.describe_configs([resource]).values()
        settings = described.result(10)
        assert settings["cleanup.policy"].value == "compact"
        assert settings["delete.retention.ms"].value == "86400000"
        assert topics.partitions(topic) == 1


def test_a_log_that_was_deleted_is_noticed_and_made_anew(corner: Corner) -> None:
    # given bindings whose topic somebody deletes, and others that are declared in a new one
    corner.options["bindings_max_age"] = 0.0
    with corner.connect() as connection:
        ORDERS(connection.default_channel).declare()
        Queue("audit", EVENTS, routing_key="#")(connection.default_channel).declare()
        publish(connection)
        cluster = cluster_of(connection.transport.options)
        cluster.topics.delete(cluster.names.bindings())
        until(lambda: cluster.names.bindings() not in corner.topics(), "the topic is gone")
        elsewhere(corner, "orders(channel).declare()")
        # then a process that knew the old ones goes by the new ones
        until(published(connection), "the bindings can be checked again")
        before = waiting(connection, "audit")
        publish(connection)
        assert waiting(connection, "audit") == before
        assert [bound[0] for bound in connection.default_channel.list_bindings()] == ["orders"]


def test_without_the_right_to_create_topics_a_declaration_says_what_is_missing(corner: Corner) -> None:
    elsewhere(corner, "Queue('orders')(channel).declare()")
    with corner.connect(create_topics=False) as connection:
        # then what needs no shared bindings works
        Queue("orders")(connection.default_channel).declare()
        # and what does names the topic that somebody must create
        with pytest.raises(TopicRefused, match="_bindings"):
            ORDERS(connection.default_channel).declare()


def published(connection: Connection) -> Callable[[], bool]:
    def attempt() -> bool:
        try:
            publish(connection)
        except Unroutable:
            return False
        return True

    return attempt


def test_a_chain_goes_on_from_pool_processes_although_no_signature_names_a_queue(fleet: Fleet) -> None:
    # given a prefork worker whose queues are bound to a topic exchange
    fleet.start("one")
    fleet.ready("one")
    # when a chain names exchange and routing keys only
    fleet.run(
        "from celery import chain\n"
        "def step(name, *args): return stage.s(*args, name=name).set(exchange='exceptions', routing_key=f'{name}.k')\n"
        "chain(step('intake', []), *map(step, STAGES[1:])).apply_async()"
    )
    # then every stage runs
    until(lambda: len(fleet.journal("stage")) >= 5, "five stages", 40)
    assert [entry["name"] for entry in fleet.journal("stage")] == ["intake", "triage", "policy", "playbook", "tool"]
