"""The cluster profile: three brokers that stand in for each other. Its application is the chaos runs' business."""

from __future__ import annotations

import signal

import psutil
import pytest
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # as its own examples do

from tests.integration.devstack.conftest import Terminal

pytestmark = [pytest.mark.stack, pytest.mark.kafka]


def test_two_of_three_brokers_confirm_what_is_written(terminal: Terminal) -> None:
    # given a cluster of services
    up = terminal.run("up", "--profile", "cluster", "--services-only", "--detach", "--json", "--name", "three")
    assert up.returncode == 0, up.stderr
    status = terminal.status("three")
    processes = {row["name"]: row["pid"] for row in status["processes"]}
    assert processes.keys() == {"kafka-1", "kafka-2", "kafka-3", "postgres", "redis", "tool-server"}
    servers = status["kafka_bootstrap_servers"]
    assert servers.count(",") == 2
    # and a topic made as the application makes its own
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic("kept", 3, 3)])["kept"].result(20)
    # when a broker is killed
    psutil.Process(processes["kafka-2"]).send_signal(signal.SIGKILL)
    # then what is written everywhere is confirmed by the two that are left
    answers: list[KafkaError | None] = []
    producer = Producer({"bootstrap.servers": servers, "acks": "all", "message.timeout.ms": 30_000, "log_level": 0})
    for partition in range(3):
        producer.produce("kept", b"x", partition=partition, on_delivery=lambda error, _: answers.append(error))
    producer.flush(35)
    assert answers == [None, None, None]
    # and down ends all of it
    assert terminal.run("down", "--profile", "cluster", "--remove", "--name", "three").returncode == 0
    assert terminal.living("three") == []
