"""Plug-ins that crash, workers that die as a whole, messages that are no batch, and what is redriven after a fix.

The tests use one fleet, one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer as KafkaProducer
from kombu import Connection, Producer

from service.dispatch.chains import EXCHANGE, STAGE_QUEUES
from service.engine.isolation import SILENT
from service.persistence.unit_of_work import unit_of_work
from tests.client import wait_for
from tests.fleet import Fleet
from tests.integration.conftest import Product
from tests.integration.poison.verdict import (
    assert_only_the_guilty_fell,
    dead_letters,
    resolved,
    wait_until_judged,
)
from tests.integration.verdicts import broken_promises
from tests.tenants import new_tenant, sample

pytestmark = [pytest.mark.kafka, pytest.mark.stack, pytest.mark.timeout(300)]

BATCH = 240


def test_a_plug_in_that_crashes_takes_only_its_own_exceptions_down(product: Product) -> None:
    # given a batch whose plan calls an idempotent plug-in with a native fault, which three of its names meet, one of
    # them when nobody waits for the call any more
    tenant = new_tenant(product.system, adjust=_rated, adjust_tenant=lambda pack: pack.pop("approvedTools"))
    client = product.client(tenant)
    bodies = [{"sourceSystem": "t", "exceptionType": "RATED", "rawPayload": {"name": f"n{n}"}} for n in range(BATCH)]
    bodies[60]["rawPayload"] = {"name": "segfault"}
    bodies[190]["rawPayload"] = {"name": "exit"}
    bodies[120]["rawPayload"] = {"name": "exit late"}
    # when it is posted
    accepted = client.post_batch(bodies)
    wait_until_judged(product, client, accepted, 120)
    # then these three are dead-lettered, with the effect ledger's leave for each call that was repeated
    guilty = [accepted[60], accepted[190], accepted[120]]
    others = [one for one in accepted if one not in guilty]
    slowest = assert_only_the_guilty_fell(product, tenant, guilty, others)
    print(f"slowest of the others: {slowest:.1f} s")
    letters = dead_letters(product, tenant)
    for exception_id, how in zip(guilty, ("signal 11 (SIGSEGV)", "exitcode 3", "exitcode 4"), strict=True):
        assert how in {end["how"] for end in letters[exception_id].evidence["ends"]}
    assert {(letter.error_class, letter.stage) for letter in letters.values()} == {("WorkerCrashed", 4)}


def test_messages_that_are_no_batch_are_kept_and_hold_nothing_up(product: Product) -> None:
    # given messages that no stage can work, of every kind, ahead of an exception
    expected = _unworkable(product)
    client = product.client(product.tenant())
    exception_id = client.post(sample("internal"))
    # then the exception is resolved
    assert client.wait_settled(exception_id)["status"] == "RESOLVED"
    # and each of them is listed for an operator, with what is wrong and where it came from
    wait_for(lambda: len(_letters(product)) >= len(expected), 30, lambda: _letters(product))
    letters = _letters(product)
    for reason, size in expected.items():
        (letter,) = [one for one in letters if reason in one["reason"]]
        assert letter["from"].startswith("triage[")
        assert letter["bytes"] >= size
    assert len(letters) == len(expected)


def test_what_was_convicted_is_worked_after_the_fix(product: Product) -> None:
    # given a dead letter of an exception that killed its worker
    tenant = product.tenant()
    client = product.client(tenant)
    accepted = client.post_batch(poisoned({"exit": 1}, count=2))
    wait_until_judged(product, client, accepted, 60)
    assert client.get(accepted[1])["status"] == "DEAD_LETTERED"
    # when the workers are corrected, and an operator sends it again
    for worker in product.fleet.alive("worker"):
        worker.stop()
    product.fleet.worker_app = "tasks"
    product.fleet.start("worker")
    product.fleet.wait_ready()
    listed = client.send("GET", "/dlq").json()["items"]
    (letter,) = [one for one in listed if one["exceptionId"] == accepted[1]]
    answer = client.send("POST", f"/dlq/{letter['deadLetterId']}/redrive", json={"reason": "fixed"})
    assert answer.status_code == 202, answer.text
    # then it is worked as if nothing had been
    assert client.wait_settled(accepted[1])["status"] == "RESOLVED"
    assert client.ledger()["balanced"]


def test_where_each_crash_costs_a_whole_worker_the_others_are_resolved_in_time_too(product: Product) -> None:
    # given workers with threads instead of processes, which somebody starts again when they die
    for worker in product.fleet.alive("worker"):
        worker.stop()
    product.fleet.worker_app = "tests.chaos.poisoned_worker"
    product.fleet.worker_options = ("-P", "threads", "-c", "2")
    with supervised(product.fleet):
        product.fleet.wait_ready()
        # when a batch comes with an exception that ends its process
        tenant = product.tenant()
        client = product.client(tenant)
        accepted = client.post_batch(poisoned({"exit": 100}, count=200))
        others = [one for number, one in enumerate(accepted) if number != 100]
        # then the others are resolved
        wait_for(lambda: len(resolved(product, others)) == len(others), 120, lambda: product.fleet.logs)
        # and only the guilty is suspected, of what nobody but the journal knows
        wait_for(lambda: "RetryScheduled" in {event["type"] for event in client.timeline(accepted[100])})
        told = [event["data"] for event in client.timeline(accepted[100]) if event["type"] == "RetryScheduled"]
        assert told[0]["errorKind"] == "poison"
        assert SILENT in told[0]["error"]
        with unit_of_work(product.system) as transaction:
            assert broken_promises(transaction, tenant.tenant_id) == {}
        assert dead_letters(product, tenant) == {}


def poisoned(places: dict[str, int], count: int = BATCH) -> list[dict[str, Any]]:
    """Bodies of which some kill their worker at triage: the kinds, and which ones."""
    bodies = [sample("internal", orderId=f"ORD-{n}") for n in range(count)]
    for kind, place in places.items():
        bodies[place]["rawPayload"] |= {"poison": kind, "poisonStage": "triage"}
    return bodies


@contextmanager
def supervised(fleet: Fleet) -> Iterator[None]:
    """A worker that is started again whenever it dies, as a supervisor does."""
    stopped = Event()

    def supervise() -> None:
        while not stopped.wait(0.1):
            if not fleet.alive("worker"):
                fleet.start("worker")

    fleet.start("worker")
    thread = Thread(target=supervise)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _rated(pack: dict[str, Any]) -> None:
    pack["tools"]["rate"] = {
        "kind": "python",
        "parameters": {"name": {"type": "string", "required": True}},
        "plugin": "rating",
        "idempotent": True,
    }
    pack["exceptionTypes"]["RATED"] = {"description": "Needs a rating."}
    params = {"tool": "rate", "parameters": {"name": "{{ exception.rawPayload.name }}"}}
    steps = [{"step_order": 1, "name": "rate", "action_type": "call_tool", "params": params}]
    pack["playbooks"].insert(0, {"name": "rated", "exceptionType": "RATED", "steps": steps})


def _unworkable(product: Product) -> dict[str, int]:
    """Send messages that no worker can work to the triage queue; parts of their reasons, with their sizes."""
    servers = product.settings.kafka_bootstrap_servers
    foreign = KafkaProducer({"bootstrap.servers": servers})
    foreign.produce("triage", b"\x00\xff no message", key=b"k")
    assert foreign.flush(30) == 0
    triage = next(queue for queue in STAGE_QUEUES if queue.name == "triage")
    url = f"kafka://{servers}//"
    options = {"bootstrap_servers": servers, "partitions": product.settings.partitions}
    with Connection(url, transport="service.transport:Transport", transport_options=options) as connection:
        producer = Producer(connection.default_channel, exchange=EXCHANGE)

        def send(body: Any, task: str | None, **more: Any) -> None:
            headers = {} if task is None else {"task": task, "id": str(uuid4()), "lang": "py"}
            producer.publish(body, routing_key="triage.test", headers=headers, declare=[triage], **more)

        embed: dict[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
        send([[{"no": "batch"}], {}, embed], "tasks.triage")
        send([[], {}, embed], "tasks.triage")
        send([[], {}, embed], "tasks.of.somebody.else")
        send({"no": "task"}, None)
        send(b"cos\nsystem\n(S'true'\ntR.", "tasks.triage", content_type="application/x-python-serialize")
        send([[{"batch": "x" * (600 << 10)}], {}, embed], "tasks.triage")
    return {
        "kombu-version": 10,
        "not a batch of references": 10,
        "missing 1 required positional argument": 5,
        "tasks.of.somebody.else": 5,
        "it is no task message": 5,
        "its content is unreadable": 5,
        "max_message_bytes": 600 << 10,
    }


def _letters(product: Product) -> list[dict[str, Any]]:
    done = product.sentinai("transport", "dead-letters", "--json")
    if done.returncode != 0:  # there is no such topic before the first letter
        return []
    letters: list[dict[str, Any]] = json.loads(done.stdout)
    return letters
