"""Publishing over fork() and to the end of a process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from service.transport.cluster import cluster_of

from .conftest import PROJECT, Corner

pytestmark = pytest.mark.kafka

PRELUDE = """
import os, sys, threading, time
sys.path.insert(0, {project!r})
from kombu import Connection, Producer, Queue
c = Connection("kafka://{servers}//", transport="service.transport:Transport", transport_options={options!r})
jobs = Queue("jobs")
jobs(c.default_channel).declare()
p = Producer(c.default_channel)
def publish(body, **options):
    p.publish(body, exchange="", routing_key="jobs", **options)
"""


def run(corner: Corner, code: str) -> str:
    prelude = PRELUDE.format(project=str(PROJECT), servers=corner.servers, options=corner.options)
    done = subprocess.run([sys.executable, "-c", prelude + code], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def stored(corner: Corner) -> int:
    topics = cluster_of(corner.typed).topics
    return sum(topics.ends(f"{corner.options['topic_prefix']}jobs").values())


def test_children_forked_while_a_thread_publishes_publish_too_and_nobody_hangs(corner: Corner) -> None:
    published = run(
        corner,
        """
stop, count = threading.Event(), [0]
def busy():
    mine = Connection(c.as_uri(include_password=True), transport="service.transport:Transport",
                      transport_options=c.transport_options)
    with mine:
        producer = Producer(mine.default_channel)
        while not stop.is_set():
            producer.publish("busy", exchange="", routing_key="jobs")
            count[0] += 1
thread = threading.Thread(target=busy)
thread.start()
while count[0] < 20 and thread.is_alive(): time.sleep(.01)
for number in range(5):
    child = os.fork()
    if not child:
        publish("child")
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0, "a child failed"
before = count[0]
while count[0] < before + 20 and thread.is_alive(): time.sleep(.01)
stop.set(); thread.join(30)
assert not thread.is_alive()
publish("parent")
print(count[0] + 6)
""",
    )
    assert stored(corner) == int(published)


def test_messages_nobody_waited_for_leave_before_the_process_does(corner: Corner) -> None:
    """Events and replies are such messages. The process ends at once, without closing anything."""
    run(corner, "for n in range(500): publish(n, delivery_mode=1)")
    assert stored(corner) == 500
