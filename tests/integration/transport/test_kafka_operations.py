"""Looking at a real cluster, and moving what must be moved: the operator's side of the transport."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kombu import Connection, Consumer, Exchange, Message, Producer, Queue

from service.transport.cluster import cluster_of, clusters
from service.transport.inspection.inspector import Inspector, QueueReport
from service.transport.metrics import samples
from service.transport.operations.cli import operations

from .conftest import PROJECT, Corner, until

pytestmark = pytest.mark.kafka

JOBS = Queue("jobs", Exchange("jobs", type="topic"), routing_key="jobs.#")


def publish(corner: Corner, count: int, *, queue: Queue = JOBS, **options: object) -> None:
    """Publish numbers, each with a key of its own."""
    with corner.connect() as connection, connection.channel() as channel:
        producer = Producer(channel)
        for number in range(count):
            exchange, key = (queue.exchange, f"jobs.{number}") if queue is JOBS else ("", queue.name)
            producer.publish({"n": number}, exchange=exchange, routing_key=key, declare=[queue], **options)


class Working:
    """A connection that consumes and finishes what ``finish`` says."""

    def __init__(self, connection: Connection, queue: Queue = JOBS) -> None:
        self.connection = connection
        self.messages: list[Message] = []
        Consumer(connection.channel(), [queue], on_message=self.messages.append, accept=["json"]).consume()

    def wait_for(self, count: int) -> list[Message]:
        until(lambda: self._drained(count), f"{count} messages (has {len(self.messages)})")
        return self.messages

    def acknowledge(self, messages: list[Message]) -> None:
        """Finish messages, and wait until the cluster knows."""
        for message in messages:
            message.ack()
        counters = cluster_of(self.connection.transport.options).counters
        before = counters.snapshot().get("commits", 0)
        until(lambda: counters.snapshot().get("commits", 0) > before, "a commit")

    def _drained(self, count: int) -> bool:
        with contextlib.suppress(TimeoutError):
            self.connection.drain_events(timeout=0.05)
        return len(self.messages) >= count


def inspector_of(corner: Corner) -> Inspector:
    return Inspector(cluster_of(corner.typed))


def look(corner: Corner, queue: Queue = JOBS) -> QueueReport:
    [report] = inspector_of(corner).queues([queue.name])
    return report


def arguments_for(corner: Corner) -> list[str]:
    options = corner.options
    return ["-b", corner.servers, "--prefix", options["topic_prefix"], "--group", options["group_id"]]


def operate(corner: Corner, *arguments: str, typed: str = "") -> Result:
    """Run a command as an operator would; ``typed`` is what he answers."""
    return CliRunner().invoke(operations, [*arguments_for(corner), *arguments], input=typed)


def told(corner: Corner, *arguments: str) -> Any:
    """What a command says to a script."""
    result = operate(corner, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@contextlib.contextmanager
def finished(corner: Corner, count: int, upto: int) -> Iterator[None]:
    """A worker got ``count`` messages, finished all but those from ``upto`` on, and is gone."""
    with corner.connect() as connection:
        working = Working(connection)
        working.acknowledge(working.wait_for(count)[:upto])
    yield


def test_a_queue_nobody_consumed_shows_all_its_messages_and_since_when_they_wait(corner: Corner) -> None:
    # given 20 messages and no worker
    before = datetime.now(UTC) - timedelta(seconds=1)
    publish(corner, 20)
    # when somebody looks
    report = look(corner)
    # then all of them wait, in the partitions their keys chose, and the oldest is as old as it is
    assert (report.lag, report.state, report.owners) == (20, "absent", ())
    assert len(report.partitions) == 4
    assert report.oldest is not None
    assert before < report.oldest < datetime.now(UTC) + timedelta(seconds=1)
    assert all((part.oldest is None) == (part.lag == 0) for part in report.partitions)
    assert all(part.leader >= 0 and not part.problem for part in report.partitions)


def test_what_is_finished_behind_an_open_message_does_not_count(corner: Corner) -> None:
    # given a worker that has finished all but one message
    publish(corner, 12)
    with corner.connect() as connection:
        working = Working(connection)
        for message in working.wait_for(12)[1:]:
            message.ack()
        # when its commits have arrived: then one message waits, and the process that has it is named
        until(lambda: look(corner).lag == 1, "one unfinished message", 20)
        report = look(corner)
        [open_one] = [part for part in report.partitions if part.lag]
        assert report.state == "stable"
        assert (open_one.owner or "").startswith(f"{socket.gethostname()}:{os.getpid()}@")
        assert open_one.committed is not None
        assert open_one.end - open_one.committed >= open_one.lag


def test_looking_takes_no_part(corner: Corner) -> None:
    # given messages that somebody looked at, ages and all
    publish(corner, 5)
    for _ in range(2):
        assert look(corner).lag == 5
    # then no group came of it, and a worker gets every message for the first time
    assert look(corner).state == "absent"
    with corner.connect() as connection:
        messages = Working(connection).wait_for(5)
        assert not any(message.delivery_info["redelivered"] for message in messages)
        for message in messages:
            message.ack()


def test_without_a_prefix_a_queue_is_known_by_its_group_or_its_binding(servers: str) -> None:
    # given a cluster that others use too, and no prefix
    name = f"t{uuid.uuid4().hex[:8]}"
    corner = Corner(servers, {"topic_prefix": "", "group_id": f"{name}-group", "partitions": 1, "delays": False})
    bound, consumed = Queue(f"{name}.bound", JOBS.exchange, routing_key=name), Queue(f"{name}.consumed")
    try:
        # when one queue is bound, another consumed, and a third topic is somebody else's
        with corner.connect() as connection, connection.channel() as channel:
            bound(channel).declare()
            Producer(channel).publish({}, exchange="", routing_key=consumed.name, declare=[consumed])
            Working(connection, consumed).wait_for(1)[0].ack()
        cluster_of(corner.typed).topics.ensure([f"{name}.foreign"], 1, 1)
        # then the first two are ours
        ours = [queue for queue in inspector_of(corner).known_queues() if queue.startswith(name)]
        assert ours == [bound.name, consumed.name]
    finally:
        with corner.connect() as connection, connection.channel() as channel:
            bound(channel).delete()
            consumed(channel).delete()
        cluster_of(corner.typed).topics.delete(f"{name}.foreign")


def test_delayed_messages_are_counted_with_the_time_of_the_next(corner: Corner) -> None:
    # given two messages due in hours, and no worker
    now = time.time()
    eta = datetime.fromtimestamp(now + 7 * 3600, UTC).isoformat()
    publish(corner, 2, headers={"eta": eta, "id": "x", "task": "t"})
    # when the delays are looked at
    waiting = [report for report in inspector_of(corner).delays() if report.waiting]
    # then both wait on one level, and leave it before they are due
    assert [report.waiting for report in waiting] == [2]
    assert waiting[0].next_move is not None
    assert now < waiting[0].next_move.timestamp() < now + 7 * 3600 + 1


def test_a_process_exports_what_it_did_and_what_it_holds(corner: Corner) -> None:
    # given a worker that was handed five messages, has finished two, and was late with a delayed one
    publish(corner, 4)
    eta = datetime.fromtimestamp(time.time() + 3, UTC).isoformat()
    publish(corner, 1, queue=Queue(JOBS.name), headers={"eta": eta, "id": "x", "task": "t"})
    with corner.connect() as connection:
        for message in Working(connection).wait_for(5)[:2]:
            message.ack()
        cluster = cluster_of(connection.transport.options)

        def read() -> dict[str, float]:
            return {sample.name: sample.value for sample in samples([cluster])}

        # when its commits are through, and the mover has its confirmation: then every kind of number tells
        until(lambda: read()["kafka_transport_commits_total"], "a commit", 20)
        until(lambda: read()["kafka_transport_delay_lateness_seconds_count"], "a confirmed delivery", 20)
        found = read()
        assert found["kafka_transport_delivered_total"] == 5
        assert found["kafka_transport_unacknowledged_messages"] == 3
        assert found["kafka_transport_rebalances_total"] >= 1
        assert found["kafka_transport_partitions_assigned_total"] >= 4
        assert found["kafka_transport_delay_lateness_seconds_count"] == 1
        assert found["kafka_transport_delay_lateness_seconds_max"] < 60
        assert cluster in clusters()


def test_lag_is_told_by_queue_and_partition_and_a_limit_is_an_exit_code(corner: Corner) -> None:
    # given 20 messages that nobody works
    publish(corner, 20)
    # when a script asks
    report = told(corner, "lag", "jobs")
    # then it gets the numbers, by partition
    [queue] = report["queues"]
    assert (queue["queue"], queue["lag"]) == ("jobs", 20)
    assert sum(part["lag"] for part in queue["partitions"]) == 20
    # and the limit decides the exit code; the reason is on stderr
    assert operate(corner, "lag", "--fail-above", "20").exit_code == 0
    above = operate(corner, "lag", "--fail-above", "19")
    assert above.exit_code == 3
    assert "jobs: 20 messages wait, more than 19" in above.stderr
    assert operate(corner, "lag", "--fail-older", "3600").exit_code == 0
    until(lambda: operate(corner, "lag", "--fail-older", "0.5").exit_code == 3, "the oldest to be older", 20)
    # and a person gets a line for each partition
    lines = operate(corner, "lag", "--partitions").stdout.splitlines()
    assert len([line for line in lines if line.startswith("jobs ")]) == 4


def test_watching_goes_on_until_it_is_interrupted(corner: Corner) -> None:
    publish(corner, 3)
    command = [sys.executable, "-m", "service.transport", *arguments_for(corner)]
    command += ["lag", "--watch", "--interval", "0.2", "--json"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        looks = 0
        for line in watching.stdout:
            looks += '"lag": 3,' in line
            if looks >= 3 * 2:
                break
        watching.send_signal(2)
        watching.stdout.close()
        assert watching.wait(20) == 1


def test_owners_are_told_with_their_partitions(corner: Corner) -> None:
    publish(corner, 1)
    with corner.connect() as connection:
        Working(connection).wait_for(1)
        [owner] = [row for row in told(corner, "owners") if row["queue"] == "jobs"]
    assert owner["client_id"].startswith(f"{socket.gethostname()}:{os.getpid()}")
    assert [part["partition"] for part in owner["partitions"]] == [0, 1, 2, 3]
    # and when it has left, the queue is nobody's
    [nobody] = [row for row in told(corner, "owners") if row["queue"] == "jobs"]
    assert (nobody["state"], nobody["client_id"]) == ("empty", None)


def test_topics_and_bindings_are_listed(corner: Corner) -> None:
    publish(corner, 1)
    rows = {row["topic"]: row for row in told(corner, "topics")}
    jobs = rows[f"{corner.options['topic_prefix']}jobs"]
    assert (jobs["kind"], jobs["queue"], jobs["partitions"], jobs["under_replicated"]) == ("queue", "jobs", 4, 0)
    assert jobs["config"]["min.insync.replicas"] == "1"
    assert {"exchange": "jobs", "type": "topic", "routing_key": "jobs.#", "queue": "jobs"} in told(corner, "bindings")


def test_peeking_shows_messages_and_takes_none(corner: Corner) -> None:
    # given messages, of which a worker finished one in the middle, and one with a long body
    publish(corner, 4, headers={"task": "orders.charge", "id": "the-id", "tenant": "acme"})
    with finished(corner, 4, 2):
        # when somebody peeks
        rows = told(corner, "peek", "jobs")
    # then he sees what is not finished, with key, task and headers
    assert len(rows) == 2
    assert all(row["key"].startswith("jobs.") for row in rows)
    assert {(row["task"], row["id"], row["headers"]["tenant"]) for row in rows} == {("orders.charge", "the-id", "acme")}
    assert {json.loads(row["body"])["n"] for row in rows} <= {0, 1, 2, 3}
    # and the newest, finished or not, a partition from an offset, and a preview that is bounded
    assert len(told(corner, "peek", "jobs", "--newest", "--limit", "3")) == 3
    place = rows[0]
    at = ("--partition", str(place["partition"]), "--offset", str(place["offset"]))
    assert told(corner, "peek", "jobs", *at)[0]["offset"] == place["offset"]
    assert told(corner, "peek", "jobs", "--body-bytes", "3")[0]["body"] == '{"n… (5 bytes more)'
    assert "orders.charge" in operate(corner, "peek", "jobs").stdout
    # and the lag is what it was
    assert look(corner).lag == 2


def test_a_position_moves_only_when_no_worker_is_there_and_a_dry_run_moves_nothing(corner: Corner) -> None:
    # given a worker that has finished everything
    publish(corner, 10)
    with corner.connect() as connection:
        working = Working(connection)
        working.acknowledge(working.wait_for(10))
        # when somebody wants to run all of it again meanwhile: then he is told who is in the way
        refused = operate(corner, "move", "jobs", "--to-earliest", "--yes")
        assert refused.exit_code == 3
        assert f"being consumed by {socket.gethostname()}:{os.getpid()}" in refused.stderr
    # and when the worker has left, a dry run tells what would happen, and nothing does
    rows = told(corner, "move", "jobs", "--to-earliest", "--dry-run")
    assert sum(row["run_again"] for row in rows) == 10
    assert look(corner).lag == 0
    # and without a "y" nothing happens either
    assert operate(corner, "move", "jobs", "--to-earliest", typed="n\n").exit_code == 1
    assert look(corner).lag == 0
    # and with it the next worker gets all messages, marked as seen before
    assert operate(corner, "move", "jobs", "--to-earliest", typed="y\n").exit_code == 0
    with corner.connect() as connection:
        again = Working(connection).wait_for(10)
        assert all(message.delivery_info["redelivered"] for message in again)


def test_a_stuck_message_can_be_skipped_without_running_again_what_is_behind_it(corner: Corner) -> None:
    # given one partition, in which the first message is stuck and the others are finished
    corner.options["partitions"] = 1
    publish(corner, 6)
    with corner.connect() as connection:
        working = Working(connection)
        working.acknowledge(working.wait_for(6)[1:])
    assert look(corner).lag == 1
    # when it is skipped
    done = operate(corner, "move", "jobs", "--by", "1", "--yes")
    assert done.exit_code == 0, done.output
    # then nothing is left
    assert look(corner).lag == 0


def test_a_position_moves_to_a_time_and_to_an_offset(corner: Corner) -> None:
    # given five messages, then a moment, then five more; all unfinished, by a group that committed nothing
    corner.options["partitions"] = 1
    publish(corner, 5)
    time.sleep(0.05)
    moment = datetime.now(UTC)
    publish(corner, 5)
    # when the group is moved to that moment, and back to an offset
    assert operate(corner, "move", "jobs", "--to-time", moment.isoformat(), "--yes").exit_code == 0
    assert look(corner).lag == 5
    assert operate(corner, "move", "jobs", "--to-offset", "0:2", "--yes").exit_code == 0
    assert look(corner).lag == 8
    assert operate(corner, "move", "jobs", "--to-latest", "--yes").exit_code == 0
    assert look(corner).lag == 0
    # and a partition that is not there is wrong usage
    assert operate(corner, "move", "jobs", "--to-offset", "7:0", "--yes").exit_code == 2


def test_a_queue_gets_more_partitions_once_it_is_empty(corner: Corner) -> None:
    # given messages that nobody works
    publish(corner, 5)
    # when somebody asks what growing would mean: then he is told, and nothing changes
    asked = operate(corner, "reshard", "jobs", "--partitions", "6", "--dry-run")
    assert asked.exit_code == 0
    assert "4 → 6 partitions; 5 messages are unfinished" in asked.stdout
    assert "is not kept" in asked.stderr
    # and when it does not run empty in time, nothing changes either
    late = operate(corner, "reshard", "jobs", "--partitions", "6", "--wait-empty", "0.6", "--yes")
    assert late.exit_code == 3
    assert "still has 5 unfinished messages" in late.stderr
    assert len(look(corner).partitions) == 4
    # and when a worker finishes them while the command waits, it grows, and the worker reads the new partitions
    with corner.connect() as connection:
        working = Working(connection)
        results: list[Result] = []
        command = ("reshard", "jobs", "--partitions", "6", "--wait-empty", "60", "--yes")
        waiting = threading.Thread(target=lambda: results.append(operate(corner, *command)))
        waiting.start()
        working.acknowledge(working.wait_for(5))
        waiting.join(60)
        assert results[0].exit_code == 0, results[0].output
        assert len(look(corner).partitions) == 6
        until(lambda: all(part.owner for part in look(corner).partitions), "an owner of the new partitions", 60)
    # and fewer are refused, with the way to get there
    fewer = operate(corner, "reshard", "jobs", "--partitions", "2", "--yes")
    assert fewer.exit_code == 3
    assert "declare it again" in fewer.stderr


def test_dead_letters_are_listed_returned_and_discarded(corner: Corner) -> None:
    # given three messages that a worker refused
    publish(corner, 3, headers={"task": "orders.charge", "id": "the-id"})
    with corner.connect() as connection:
        for message in Working(connection).wait_for(3):
            message.reject()
    letters = told(corner, "dead-letters")
    assert len(letters) == 3
    assert {letter["task"] for letter in letters} == {"orders.charge"}
    assert all("jobs[" in letter["from"] for letter in letters)
    assert told(corner, "lag")["dead_letters"] == 3
    # when the second is returned
    done = operate(corner, "dead-letters", "return", letters[1]["letter"], "--yes")
    assert done.exit_code == 0, done.output
    # then it is off the list, and waits in its queue as it was published
    left = told(corner, "dead-letters")
    assert [letter["letter"] for letter in left] == [letters[0]["letter"], letters[2]["letter"]]
    with corner.connect() as connection:
        [message] = Working(connection).wait_for(1)
        assert message.headers == {"task": "orders.charge", "id": "the-id"}
        message.ack()
    # and what is discarded is gone from the list as well
    assert operate(corner, "dead-letters", "discard", "--all", "--yes").exit_code == 0
    assert told(corner, "dead-letters") == []
    assert told(corner, "lag")["dead_letters"] == 0


def test_a_mistake_is_one_sentence_on_stderr(corner: Corner) -> None:
    missing = operate(corner, "lag", "nowhere")
    assert missing.exit_code == 1
    assert missing.stdout == ""
    assert "there is no queue 'nowhere'" in missing.stderr
    nobody = CliRunner().invoke(operations, ["-b", "127.0.0.1:1", "-o", "request_timeout=1", "lag"])
    assert nobody.exit_code == 1
    assert "127.0.0.1:1" in nobody.stderr
    assert "Traceback" not in nobody.stderr


def test_the_projects_command_line_has_the_same_commands(corner: Corner) -> None:
    command = [sys.executable, "-m", "service.cli", "transport"]
    environment = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": corner.servers}
    done = subprocess.run(
        [*command, "topics", "--json"], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), list)
