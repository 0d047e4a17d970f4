"""AMQP's smaller print on a real broker: what users of kombu's other transports expect, or are told by name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import Empty
from typing import Any

import pytest
from kombu import Connection, Exchange, Producer, Queue
from kombu.exceptions import ChannelError

from service.transport.channels.refusals import NotFound, NotOffered, PreconditionFailed
from service.transport.errors import ChannelFailed, Unroutable

from .conftest import Corner, until
from .consuming import Received, publish

pytestmark = pytest.mark.kafka

JOBS = Queue("jobs")
EVENTS = Exchange("events", type="topic")
NEWS = Exchange("news", type="fanout", durable=False)


def count(connection: Connection, name: str) -> int:
    value: int = connection.transport.cluster.counters.snapshot().get(name, 0)
    return value


# -- declaring ---------------------------------------------------------------------------------------------------


def test_what_nobody_declared_is_not_found(corner: Corner) -> None:
    with corner.connect() as connection:
        channel = connection.default_channel
        asked: list[Callable[[], Any]] = [
            lambda: channel.exchange_declare("events", passive=True),
            lambda: channel.queue_declare("jobs", passive=True),
            lambda: channel.queue_bind("jobs", "amq.direct", "jobs"),
        ]
        for ask in asked:
            with pytest.raises(ChannelError, match=r"NOT_FOUND - no (queue 'jobs'|exchange 'events')") as missing:
                ask()
            assert missing.value.reply_code == 404
            assert isinstance(missing.value, connection.channel_errors)
        # nor does asking create anything
        assert f"{corner.options['topic_prefix']}jobs" not in corner.topics()
        channel.queue_declare("jobs")
        with pytest.raises(NotFound, match="exchange 'events'"):
            channel.queue_bind("jobs", "events", "a")


def test_what_another_connection_declared_is_found_at_once(corner: Corner) -> None:
    with corner.connect() as one, corner.connect(request_timeout=6.0) as other:
        # given names that this side knows to be missing
        channel = one.default_channel
        for ask in (lambda: channel.queue_declare("jobs", passive=True), lambda: EVENTS(channel).declare(passive=True)):
            with pytest.raises(NotFound):
                ask()
        # when the other side declares them
        JOBS(other.default_channel).declare()
        EVENTS(other.default_channel).declare()
        NEWS(other.default_channel).declare()
        # then this side finds them, whether they are durable or not
        assert channel.queue_declare("jobs", passive=True).message_count == 0
        channel.exchange_declare("events", passive=True)
        channel.exchange_declare("news", passive=True)


def test_an_exchange_is_what_it_was_declared_as(corner: Corner) -> None:
    with corner.connect() as connection:
        channel = connection.default_channel
        for exchange in (EVENTS, NEWS):
            exchange(channel).declare()
            exchange(channel).declare()
            with pytest.raises(PreconditionFailed, match=f"{exchange.name!r} is {exchange.type}, not direct"):
                channel.exchange_declare(exchange.name, "direct", durable=exchange.durable)


def test_a_queue_without_a_name_gets_one(corner: Corner) -> None:
    with corner.connect() as connection:
        queue = Queue("", NEWS, exclusive=True)(connection.default_channel)
        queue.declare()
        assert queue.name.startswith("amq.gen-")
        Producer(connection.default_channel).publish("x", exchange="news")
        message = until(queue.get, "the message")
        assert message.payload == "x"


def test_amqs_own_exchanges_need_no_declaration(corner: Corner) -> None:
    with corner.connect() as connection:
        channel = connection.default_channel
        Queue("audit", Exchange("amq.topic", type="topic"), routing_key="order.#")(channel).declare()
        channel.queue_declare("jobs")
        channel.queue_bind("jobs", routing_key="work")
        Producer(channel).publish("x", exchange="amq.topic", routing_key="order.1")
        Producer(channel).publish("x", exchange="amq.direct", routing_key="work")
        assert [channel.queue_declare(name, passive=True).message_count for name in ("audit", "jobs")] == [1, 1]


def test_what_is_not_offered_says_so_by_name(corner: Corner) -> None:
    with corner.connect() as connection:
        channel = connection.default_channel
        refused: list[tuple[Callable[[], Any], str]] = [
            (lambda: channel.exchange_declare("h", "headers"), "there are direct, topic, fanout exchanges"),
            (lambda: EVENTS(channel).bind_to("amq.topic"), "bind its queues"),
            (lambda: EVENTS(channel).unbind_from("amq.topic"), "no such bindings"),
            (lambda: Queue("urgent", max_priority=10)(channel).declare(), "a queue for each priority"),
            (lambda: channel.queue_declare("q", arguments={"x-max-priority": 3}), "a queue for each priority"),
            (lambda: channel.queue_declare("q", arguments={"x-dead-letter-exchange": "d"}), "dead_letter_topic"),
            (lambda: channel.basic_recover(), "requeue=True"),
            (lambda: channel.flow(False), "cancel its consumers"),
        ]
        for ask, advice in refused:
            with pytest.raises(NotOffered, match=advice) as failure:
                ask()
            assert isinstance(failure.value, connection.channel_errors)
        assert f"{corner.options['topic_prefix']}q" not in corner.topics()


def test_a_limit_without_effect_is_told_once_by_process(corner: Corner, caplog: pytest.LogCaptureFixture) -> None:
    with corner.connect() as connection, caplog.at_level(logging.WARNING, "service.transport"):
        for _ in range(3):
            Queue("jobs", message_ttl=5.0, max_length=9)(connection.channel()).declare()
        told = [record.getMessage() for record in caplog.records if "no effect" in record.getMessage()]
        assert sorted(sentence.split("=")[0] for sentence in told) == [
            "queue 'jobs' was declared with x-max-length",
            "queue 'jobs' was declared with x-message-ttl",
        ]


def test_a_priority_has_no_effect_and_is_told_once(corner: Corner, caplog: pytest.LogCaptureFixture) -> None:
    with corner.connect() as connection, caplog.at_level(logging.WARNING, "service.transport"):
        publish(connection, JOBS, 1, 2, 3, priority=5)
        publish(connection, JOBS, 4, priority=0)
        assert count(connection, "priorities_ignored") == 3
        assert sum("priority" in record.getMessage() for record in caplog.records) == 1
        assert sorted(message.payload for message in Received(connection, JOBS).wait_for(4)) == [1, 2, 3, 4]


# -- routing -----------------------------------------------------------------------------------------------------


def test_an_unbound_temporary_queue_hears_nothing_more(corner: Corner) -> None:
    with corner.connect() as connection:
        channel = connection.default_channel
        queue = Queue("listener", EVENTS, routing_key="a.#", exclusive=True)(channel)
        queue.declare()
        channel.queue_bind("listener", "events", "b")
        assert sorted(channel.list_bindings()) == [("listener", "events", "a.#"), ("listener", "events", "b")]
        channel.queue_unbind("listener", "events", "a.#")
        producer = Producer(channel)
        producer.publish("not for us", exchange="events", routing_key="a.1")
        producer.publish("for us", exchange="events", routing_key="b")
        message = until(queue.get, "the message")
        assert message.payload == "for us"
        assert list(channel.list_bindings()) == [("listener", "events", "b")]


def test_a_deleted_exchange_reaches_nobody(corner: Corner) -> None:
    with corner.connect() as connection:
        channel = connection.default_channel
        listener = Queue("listener", EVENTS, routing_key="#", exclusive=True)(channel)
        listener.declare()
        Queue("jobs", EVENTS, routing_key="#")(channel).declare()
        # when it is in use, a careful deletion does nothing
        EVENTS(channel).delete(if_unused=True)
        Producer(channel).publish("x", exchange="events", routing_key="a")
        until(listener.get, "the message")
        EVENTS(channel).delete()
        with pytest.raises(Unroutable):
            Producer(channel).publish("y", exchange="events", routing_key="a")
        assert channel.queue_declare("jobs", passive=True).message_count == 1
        # and what is declared again has no bindings, until some are made
        EVENTS(channel).declare()
        Producer(channel).publish("z", exchange="events", routing_key="a")
        listener.declare()
        Producer(channel).publish("heard", exchange="events", routing_key="a")
        assert until(listener.get, "the message").payload == "heard"
        assert channel.queue_declare("jobs", passive=True).message_count == 1


def test_a_mandatory_message_that_no_queue_takes_is_returned(corner: Corner) -> None:
    with corner.connect(unroutable="drop") as connection:
        channel = connection.default_channel
        EVENTS(channel).declare()
        returned: list[tuple[Any, ...]] = []
        # given one producer that wants returns, and before it one that has no use for them
        with pytest.raises(Unroutable):
            Producer(channel).publish("x", exchange="events", routing_key="nobody", mandatory=True)
        producer = Producer(channel, on_return=lambda *told: returned.append(told))
        producer.publish("back", exchange="events", routing_key="nobody", mandatory=True)
        # then it gets the message and the reason
        [(reason, exchange, routing_key, message)] = returned
        assert isinstance(reason, Unroutable)
        assert (exchange, routing_key, message.payload) == ("events", "nobody", "back")
        # and what is not mandatory is dropped; all are counted
        producer.publish("dropped", exchange="events", routing_key="nobody")
        assert count(connection, "unroutable") == 3


# -- unacknowledged ----------------------------------------------------------------------------------------------


def test_a_closed_channels_messages_are_handed_out_on_another(corner: Corner) -> None:
    # given messages of one key, the first of which a channel holds, and a channel that waits for work
    with corner.connect() as connection:
        publish(connection, JOBS, 1, 2, partition_key="k")
        holder = Received(connection, JOBS)
        [held] = holder.wait_for(1)
        # when the channel that holds it is closed
        holder.consumer.channel.close()
        # then another one on this connection gets it again, knows so, and the key goes on in order
        other = Received(connection, JOBS)
        other.wait_for(1)[0].ack()
        other.wait_for(2)[1].ack()
        assert other.bodies == [1, 2]
        assert [message.delivery_info["redelivered"] for message in other.messages] == [True, False]
        assert not held.acknowledged
    # and nothing is left over
    with corner.connect() as connection:
        assert JOBS(connection.default_channel).queue_declare(passive=True).message_count == 0


def test_a_message_that_was_got_is_given_back_when_its_channel_closes(corner: Corner) -> None:
    with corner.connect() as connection:
        publish(connection, JOBS, "x")
        with connection.channel() as channel:
            assert JOBS(channel).get() is not None
        with connection.channel() as channel:
            again = until(JOBS(channel).get, "the message again")
            assert again.delivery_info["redelivered"]
            again.ack()


def test_a_message_that_was_got_without_acknowledgement_is_finished(corner: Corner) -> None:
    corner.options["partitions"] = 1
    with corner.connect() as connection:
        publish(connection, JOBS, 1, 2)
        assert JOBS(connection.default_channel).get(no_ack=True).payload == 1
    with corner.connect() as connection:
        received = Received(connection, JOBS)
        assert [message.payload for message in received.wait_for(1)] == [2]
        assert not received.messages[0].delivery_info["redelivered"]


def test_recover_hands_out_again_what_is_unacknowledged(corner: Corner) -> None:
    with corner.connect() as connection:
        publish(connection, JOBS, 1, 2, 3)
        received = Received(connection, JOBS)
        first = received.wait_for(3)[0]
        first.ack()
        received.consumer.recover(requeue=True)
        received.wait_for(5)
        received.quiet()
        assert sorted(received.bodies[3:]) == sorted(received.bodies[1:3])
        assert all(message.delivery_info["redelivered"] for message in received.messages[3:])


def test_one_acknowledgement_for_all_that_came_before(corner: Corner) -> None:
    with corner.connect() as connection:
        publish(connection, JOBS, 1, 2, 3, 4)
        received = Received(connection, JOBS)
        messages = received.wait_for(4)
        messages[2].ack(multiple=True)
        last = messages[3].payload
    with corner.connect() as connection:
        received = Received(connection, JOBS)
        assert [message.payload for message in received.wait_for(1)] == [last]
        received.quiet()


def test_a_temporary_queues_message_can_be_requeued(corner: Corner) -> None:
    with corner.connect() as connection:
        received = Received(connection, Queue("listener", NEWS, auto_delete=True))
        Producer(connection.default_channel).publish("x", exchange="news")
        received.wait_for(1)[0].requeue()
        received.wait_for(2)[1].ack()
        received.quiet()
        # also by closing the channel
        Producer(connection.default_channel).publish("y", exchange="news")
        received.wait_for(3)
        received.consumer.channel.close()
        other = Received(connection, Queue("listener", NEWS, auto_delete=True))
        assert [message.payload for message in other.wait_for(1)] == ["y"]


# -- kombu's simple interface ------------------------------------------------------------------------------------


def test_a_simple_queue(corner: Corner) -> None:
    with corner.connect() as connection:
        with connection.SimpleQueue("simple") as queue:
            for number in range(3):
                queue.put({"n": number})
            assert queue.qsize() == 3
            message = queue.get(timeout=20)
            assert message.payload in ({"n": 0}, {"n": 1}, {"n": 2})
            message.ack()
            queue.get(timeout=20).ack()
        # what was prefetched and not taken is there for the next
        with connection.SimpleQueue("simple") as queue:
            queue.get(timeout=20).ack()
            with pytest.raises(Empty):
                queue.get(timeout=0.5)
            queue.put("gone")
            assert queue.clear() == 1


def test_a_simple_buffer(corner: Corner) -> None:
    with corner.connect() as connection, connection.SimpleBuffer("buffer") as buffer:
        buffer.put("x")
        assert buffer.get(timeout=20).payload == "x"
        with pytest.raises(Empty):
            buffer.get(timeout=0.2)


def test_every_error_of_a_channel_is_one_for_kombu(corner: Corner) -> None:
    with corner.connect() as connection:
        for kind in (NotFound, PreconditionFailed, NotOffered, Unroutable):
            assert issubclass(kind, ChannelFailed)
            assert issubclass(kind, connection.channel_errors)
            assert not issubclass(kind, connection.connection_errors)
