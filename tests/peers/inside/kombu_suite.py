"""kombu's base test classes for the broker that TEST_BROKER names. Copied beside them as a test module.

kombu has a module like this for each of its transports; the classes and their assertions are kombu's.
"""

import json
import os
from urllib.parse import urlsplit

import kombu
import pytest

from . import test_redis
from .common import (
    BaseEventLoop,
    BaseExchangeTypes,
    BaseFailover,
    BaseMessage,
    BasePriority,
    BaseTimeToLive,
    BasicFunctionality,
)

BROKER = os.environ["TEST_BROKER"]
OPTIONS = json.loads(os.environ["PEERS_TRANSPORT_OPTIONS"])
REDIS = urlsplit(BROKER).scheme == "redis"
DEAD = f"{urlsplit(BROKER).scheme}://localhost:12345"


def connected(**kafka_options):
    options = {} if REDIS else kafka_options
    return kombu.Connection(BROKER, transport_options={**OPTIONS, **options})


@pytest.fixture
def connection():
    return connected()


@pytest.fixture
def invalid_connection():
    return kombu.Connection(DEAD, transport_options=dict(OPTIONS))


@pytest.fixture
def failover_connection():
    return kombu.Connection(f"{DEAD};{BROKER}", transport_options=dict(OPTIONS), connect_timeout=10)


class test_Basic(BasicFunctionality):
    pass


class test_ExchangeTypes(BaseExchangeTypes):
    pass


class test_Message(BaseMessage):
    pass


class test_Failover(BaseFailover):
    pass


class test_TimeToLive(BaseTimeToLive):
    pass


class test_EventLoop(BaseEventLoop):
    @pytest.fixture
    def connection(self):
        """The test asserts the order of two messages without a key: on Kafka that takes a queue of one partition."""
        return connected(partitions=1)


class test_PublishBatch:
    """The two tests of batches in kombu's Redis module that know nothing of Redis."""

    test_manual_flush = test_redis.test_RedisPublishBatch.test_manual_flush_sends_and_batch_continues
    test_topic_routing = test_redis.test_RedisPublishBatch.test_topic_routing


if REDIS:
    # kombu's own adaptation: with Redis a lower number is more urgent, and a drain hands out one message.
    test_Priority = test_redis.test_RedisPriority
else:

    class test_Priority(BasePriority):
        pass
