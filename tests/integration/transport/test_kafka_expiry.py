"""Message expiry on a real broker: what nobody took in time is not handed out, and a Celery task ends REVOKED."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kombu import Connection, Exchange, Producer, Queue

from .conftest import PROJECT, Corner, until
from .consuming import Received, publish

pytestmark = pytest.mark.kafka

JOBS = Queue("jobs")


def expired(connection: Connection) -> int:
    count: int = connection.transport.cluster.counters.snapshot().get("expired", 0)
    return count


def test_an_expired_message_is_finished_and_not_delivered(corner: Corner) -> None:
    # given messages of one partition, of which some have a short life that is over
    corner.options["partitions"] = 1
    with corner.connect() as connection:
        publish(connection, JOBS, "short", expiration=0.05)
        publish(connection, JOBS, "long", expiration=3600)
        publish(connection, JOBS, "short too", expiration=0.05)
        publish(connection, JOBS, "for ever")
        over = time.time() + 0.06
        until(lambda: time.time() > over, "their time is over")
        # when the queue is consumed
        received = Received(connection, JOBS)
        received.wait_for(2)
        # then the others are delivered, with their properties, and the expired are counted
        assert received.bodies == ["long", "for ever"]
        assert received.messages[0].properties["expiration"] == "3600000"
        assert expired(connection) == 2
        for message in received.messages:
            message.ack()
    # and they are finished: nothing waits, and nobody gets them later
    with corner.connect() as connection:
        assert JOBS(connection.default_channel).queue_declare(passive=True).message_count == 0
        Received(connection, JOBS).quiet(1.0)


def test_get_passes_over_what_has_expired(corner: Corner) -> None:
    with corner.connect() as connection:
        publish(connection, JOBS, "short", expiration=0)
        queue = JOBS(connection.default_channel)
        assert queue.get() is None
        assert expired(connection) == 1
        publish(connection, JOBS, "next")
        message = queue.get()
        assert message is not None
        assert message.payload == "next"
        message.ack()


def test_a_temporary_queue_does_not_hand_out_what_has_expired(corner: Corner) -> None:
    with corner.connect() as connection:
        exchange = Exchange("news", type="fanout", durable=False)
        received = Received(connection, Queue("listener", exchange, auto_delete=True))
        producer = Producer(connection.default_channel)
        producer.publish("old", exchange="news", expiration=0)
        producer.publish("news", exchange="news")
        received.wait_for(1)
        assert received.bodies == ["news"]
        assert expired(connection) == 1


def test_waiting_for_an_eta_does_not_begin_a_life_anew(corner: Corner) -> None:
    # given a message whose life ends before it is due
    with corner.connect() as connection:
        received = Received(connection, JOBS)
        publish(connection, JOBS, "now")
        received.wait_for(1)[0].ack()
        eta = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
        publish(connection, JOBS, "too late", headers={"eta": eta}, expiration=0.05)
        publish(connection, JOBS, "in time", headers={"eta": eta}, expiration=600)
        # then it is not delivered when it is due
        received.wait_for(2)
        until(lambda: received.take() and expired(connection) == 1, "the other one is counted as expired")
        assert received.bodies == ["now", "in time"]


_APP = """
import json, os
from celery import Celery
app = Celery("expiring", backend="file://" + os.environ["RESULTS"])
app.conf.update(
    broker_url="kafka://" + os.environ["KAFKA_BOOTSTRAP_SERVERS"] + "//",
    broker_transport="service.transport:Transport",
    broker_transport_options=json.loads(os.environ["TRANSPORT_OPTIONS"]),
)
@app.task
def work():
    return "worked"
"""


def test_a_celery_task_that_expired_ends_revoked(corner: Corner, tmp_path: Path) -> None:
    # given a task whose time is over before a worker starts, and one that has time
    (tmp_path / "expiring.py").write_text(_APP)
    (tmp_path / "results").mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": f"{PROJECT}:{tmp_path}",
        "TRANSPORT_OPTIONS": json.dumps(corner.options),
        "KAFKA_BOOTSTRAP_SERVERS": corner.servers,
        "RESULTS": str(tmp_path / "results"),
    }
    asked = (
        "import sys, time\n"
        "from expiring import *\n"
        "late, fine = work.apply_async(expires=0.05), work.apply_async(expires=600)\n"
        "time.sleep(0.06)\n"
        "print('published', flush=True)\n"
        "fine.get(timeout=50)\n"
        "deadline = time.monotonic() + 20\n"
        "while not late.ready() and time.monotonic() < deadline: time.sleep(.05)\n"
        "print(late.state, fine.state)\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", asked], env=environment, stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    assert caller.stdout.readline() == "published\n"
    # when it starts
    command = [sys.executable, "-m", "celery", "-A", "expiring", "worker", "-P", "solo", "-l", "WARNING"]
    worker = subprocess.Popen(command, env=environment, cwd=tmp_path)
    try:
        # then Celery says of the one that it is revoked
        assert caller.communicate(timeout=70)[0].strip() == "REVOKED SUCCESS"
    finally:
        worker.terminate()
        worker.wait(20)
