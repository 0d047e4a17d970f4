"""The main job, end to end, on real parts: HTTP in, Kafka and workers between, a real tool called, RESOLVED.

What is asserted on is what users can see: the API's answers, the event log, the records on the Kafka topics,
and the tool server's own record of what it was asked to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import requests
from celery import Celery

from service.dispatch.chains import ChainSender
from service.domain.exceptions import Stage
from service.engine.batch import Batch, Reference
from service.persistence.database import Role, open_engine
from service.persistence.unit_of_work import unit_of_work
from tests.client import ApiClient, wait_for
from tests.integration.conftest import Product
from tests.tenants import new_tenant, sample
from tests.topics import TopicReader

pytestmark = [pytest.mark.kafka, pytest.mark.stack]

STRAIGHT = [
    "ExceptionIngested",
    "ExceptionNormalized",
    "TriageCompleted",
    "PolicyEvaluationCompleted",
    "PlaybookMatched",
    "StepExecutionRequested",
    "ToolExecutionRequested",
    "ToolExecutionCompleted",
    "ExceptionResolved",
]
"""What an exception leaves that runs straight through with one tool (DESIGN.md, "The event log")."""

ACCEPTED_LATER = {"ExceptionUpdated"}
"""Events written when an input is accepted, which may be long before it is worked."""


@pytest.fixture
def events_topic(product: Product) -> Iterator[TopicReader]:
    """The events topic from now on."""
    reader = TopicReader(product.settings.kafka_bootstrap_servers, "exceptions.events")
    yield reader
    reader.close()


@pytest.fixture
def dead_letter_topic(product: Product) -> Iterator[TopicReader]:
    """The dead-letter topic from now on."""
    reader = TopicReader(product.settings.kafka_bootstrap_servers, "exceptions.dlq")
    yield reader
    reader.close()


class SecondPublisher:
    """Somebody else on the broker: delivers again what was delivered before, and sees how much is waiting."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def deliver(self, tenant_id: str, exception_id: str, stage: Stage) -> None:
        """Send the chain of an exception's first input from a stage on."""
        reference = Reference(tenant_id, UUID(exception_id), 1)
        ChainSender(self._app).send(Batch.single(reference), stage)

    def wait_until_worked(self) -> None:
        """Wait until every stage queue is empty: what was delivered has been worked or dropped."""
        with self._app.connection_for_read() as connection:
            channel = connection.default_channel
            wait_for(lambda: sum(channel.queue_declare(s.queue, passive=True).message_count for s in Stage) == 0)


@pytest.fixture
def publisher(product: Product) -> Iterator[SecondPublisher]:
    """A publisher of its own, beside the dispatcher."""
    app = Celery("second-publisher", config_source="celeryconfig")
    yield SecondPublisher(app)
    app.close()


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def calls_with_key(product: Product, key: str) -> list[dict[str, Any]]:
    """What the tool server recorded under an idempotency key."""
    answer = requests.get(f"{product.tool_server_url}/calls", params={"key": key}, timeout=10).json()
    calls: list[dict[str, Any]] = answer["items"]
    return calls


class TestE2EAsyncFlow:
    """The five stories every release has to tell."""

    def test_post_exception_worker_chain_playbook_tool_exec(self, product: Product, events_topic: TopicReader) -> None:
        # given a tenant whose pack answers a failed settlement by asking a tool to retry it
        tenant = product.tenant()
        client = product.client(tenant)
        # when its system posts one
        exception_id = client.post(sample("straight", orderId="ORD-E2E-1"))
        # then it is resolved, having left the nine canonical events in order
        assert client.wait_settled(exception_id)["status"] == "RESOLVED"
        timeline = client.timeline(exception_id)
        assert types(timeline) == STRAIGHT
        assert [event["position"] for event in timeline] == list(range(1, 10))
        # and the tool was called exactly once, with the key that the log names
        key = next(e for e in timeline if e["type"] == "ToolExecutionRequested")["data"]["idempotencyKey"]
        (call,) = calls_with_key(product, key)
        assert call["tenant"] == tenant.tenant_id
        # and the same events are on the topic, keyed by the exception, in the same order, with the same ids
        records = events_topic.wait_for(lambda all_: sum(r.key == exception_id for r in all_) >= 9)
        own = [record for record in records if record.key == exception_id]
        assert [r.headers["ce_type"].rpartition(".")[2] for r in own] == STRAIGHT
        assert [r.headers["ce_id"] for r in own] == [event["eventId"] for event in timeline]
        # and the books balance
        ledger = client.ledger()
        assert (ledger["accepted"], ledger["resolved"], ledger["balanced"]) == (1, 1, True)

    def test_ordering_per_exception(self, product: Product, events_topic: TopicReader) -> None:
        # given several exceptions, each updated again and again while it is being worked
        client = product.client(product.tenant())
        rounds, inputs = 4, 6
        ids = client.post_batch(sample("straight", orderId=f"ORD-ORDER-{n}") for n in range(rounds))
        for turn in range(2, inputs + 1):
            for exception_id in ids:
                body = {"type": "updated", "data": {"rawPayload": {"turn": turn}}}
                answer = client.send("POST", f"/exceptions/{exception_id}/events", json=body)
                # then each input is given the next sequence
                assert answer.status_code == 202, answer.text
                assert answer.json()["sequence"] == turn
        # and every exception works all its inputs, one after the other, each stage by stage
        for exception_id in ids:
            client.wait_settled(exception_id)
            timeline = client.timeline(exception_id)
            worked = [e for e in timeline if e["type"] not in ACCEPTED_LATER]
            sequences = [e["sequence"] for e in worked]
            assert sequences == sorted(sequences), "an event of a later input came before an earlier one was finished"
            assert set(sequences) == set(range(1, inputs + 1))
            for sequence in range(1, inputs + 1):
                stages = [Stage[e["stage"].upper()] for e in worked if e["sequence"] == sequence]
                assert stages == sorted(stages)
        # and consumers of the topic see them in that order too
        expected = {exception_id: len(client.timeline(exception_id)) for exception_id in ids}
        records = events_topic.wait_for(
            lambda all_: all(sum(r.key == i for r in all_) >= count for i, count in expected.items())
        )
        for exception_id in ids:
            positions = [int(r.headers["ce_position"]) for r in records if r.key == exception_id]
            assert positions == list(range(1, len(positions) + 1))

    def test_idempotency_duplicate_events(self, product: Product, publisher: SecondPublisher) -> None:
        # given an exception that was posted with an idempotency key, and resolved
        tenant = product.tenant()
        client = product.client(tenant)
        body = sample("straight", orderId="ORD-TWICE")
        first = client.post(body, **{"Idempotency-Key": "order-7"})
        client.wait_settled(first)
        # when the source system sends the same request again
        again = client.post(body, **{"Idempotency-Key": "order-7"})
        # then it gets the same answer, and nothing new is worked
        assert again == first
        assert client.ledger()["accepted"] == 1
        # when it uses the key for something else
        other = client.send("POST", "/exceptions", json=sample("internal"), headers={"Idempotency-Key": "order-7"})
        # then it is told so, and nothing is stored
        assert other.status_code == 422
        assert client.ledger()["accepted"] == 1
        # when Kafka delivers the whole chain again, from every stage, and beside it work that is new
        timeline = client.timeline(first)
        for stage in Stage:
            publisher.deliver(tenant.tenant_id, first, stage)
        later = client.post(sample("straight", orderId="ORD-AFTER"))
        client.wait_settled(later)
        publisher.wait_until_worked()
        # then the log is as it was, and the tool has seen one call
        assert client.timeline(first) == timeline
        key = next(e for e in timeline if e["type"] == "ToolExecutionRequested")["data"]["idempotencyKey"]
        assert len(calls_with_key(product, key)) == 1

    def test_retry_dlq_path(self, product: Product, dead_letter_topic: TopicReader) -> None:
        # given a tenant whose drill tool may be called three times in all
        def three_calls(pack: dict[str, Any]) -> None:
            pack["tools"]["drill"]["maxRetries"] = 2

        tenant = new_tenant(product.system, adjust=three_calls)
        client = product.client(tenant)
        # when the tool fails twice and then works; always fails; and refuses
        recovers = client.post(sample("transient", simulate={"failTimes": 2}))
        exhausts = client.post(sample("transient", simulate={"failTimes": 50}))
        refused = client.post(sample("permanent"))
        # then the first is resolved by its third call
        assert client.wait_settled(recovers)["status"] == "RESOLVED"
        told = types(client.timeline(recovers))
        assert (told.count("RetryScheduled"), told.count("ToolExecutionFailed")) == (2, 2)
        # and the others are dead-lettered: one after three attempts, the other at once
        for exception_id, attempts in ((exhausts, 3), (refused, 1)):
            assert client.wait_settled(exception_id)["status"] == "DEAD_LETTERED"
            last = client.timeline(exception_id)[-1]
            assert (last["type"], last["data"]["attempts"]) == ("DeadLettered", attempts)
        # and both are on the dead-letter topic, saying whose they are, where they failed and why
        records = dead_letter_topic.wait_for(lambda all_: {exhausts, refused} <= {r.key for r in all_})
        headers = next(r.headers for r in records if r.key == exhausts)
        assert headers["tenant"] == tenant.tenant_id
        assert (headers["stage"], headers["attempts"]) == ("tool", "3")
        assert headers["errorClass"] == "ToolUnavailable"
        # and the books balance
        ledger = client.ledger()
        assert (ledger["resolved"], ledger["deadLettered"], ledger["balanced"]) == (1, 2, True)

    def test_tenant_isolation(self, product: Product, publisher: SecondPublisher) -> None:
        # given two tenants, one with an exception
        owner, stranger = product.tenant(), product.tenant()
        exception_id = product.client(owner).post(sample("approval"))
        product.client(owner).wait_settled(exception_id)
        # when the other asks for it, its timeline, or wants to decide it
        client = product.client(stranger)
        update = {"type": "updated", "data": {"rawPayload": {"quantity": 1}}}
        answers = [
            client.send("GET", f"/exceptions/{exception_id}"),
            client.send("GET", f"/exceptions/{exception_id}/events"),
            client.send("POST", f"/exceptions/{exception_id}/approve", json={"comment": "mine"}),
            client.send("POST", f"/exceptions/{exception_id}/events", json=update),
        ]
        # then there is no such exception, and its list and ledger are empty
        assert [answer.status_code for answer in answers] == [404, 404, 404, 404]
        assert client.send("GET", "/exceptions").json()["items"] == []
        assert client.ledger()["accepted"] == 0
        # when it claims in a body to be the owner
        forged = client.send("POST", "/exceptions", json={**sample("internal"), "tenantId": owner.tenant_id})
        # then it is refused
        assert forged.status_code == 403
        # when a message on Kafka claims the owner's exception for the stranger
        before = product.client(owner).timeline(exception_id)
        publisher.deliver(stranger.tenant_id, exception_id, Stage.POLICY)
        publisher.wait_until_worked()
        # then nothing happens to it
        assert product.client(owner).timeline(exception_id) == before
        # and in the database itself the stranger's transaction sees none of the owner's rows
        _assert_invisible(product, stranger.tenant_id, owner.tenant_id)

    def test_a_person_approves_and_completes(self, product: Product) -> None:
        # given an exception that needs an approval, and one whose plan begins with a person's step
        client: ApiClient = product.client(product.tenant())
        approval, manual = client.post(sample("approval")), client.post(sample("manual"))
        assert client.wait_settled(approval)["status"] == "PENDING_APPROVAL"
        assert client.wait_settled(manual)["status"] == "PENDING_STEP"
        # when an operator approves the one and completes the other's step
        approve = client.send("POST", f"/exceptions/{approval}/approve", json={"comment": "checked the position"})
        assert approve.status_code == 202, approve.text
        complete = client.send("POST", f"/exceptions/{manual}/steps/1/complete", json={"comment": "agreed by phone"})
        assert complete.status_code == 202, complete.text
        # then both are worked to their end
        assert client.wait_settled(approval)["status"] == "RESOLVED"
        assert "ApprovalGranted" in types(client.timeline(approval))
        assert client.wait_settled(manual)["status"] == "RESOLVED"
        assert "StepCompleted" in types(client.timeline(manual))

    def test_a_person_rejects_cancels_and_comments(self, product: Product) -> None:
        # given three exceptions that wait for an approval
        client = product.client(product.tenant())
        rejected, cancelled, commented = client.post_batch([sample("approval")] * 3)
        for exception_id in (rejected, cancelled, commented):
            assert client.wait_settled(exception_id)["status"] == "PENDING_APPROVAL"
        # when one is rejected, one is cancelled, and one is only commented on
        for path, body in (
            (f"{rejected}/reject", {"comment": "the position is right"}),
            (f"{cancelled}/cancel", {"reason": "posted by mistake"}),
            (f"{commented}/events", {"type": "comment", "data": {"text": "looking into it"}}),
        ):
            answer = client.send("POST", f"/exceptions/{path}", json=body)
            assert (answer.status_code, answer.json()["sequence"]) == (202, 2), answer.text
        # then a human owns the first, the second is over, and the third still waits
        outcomes = {i: client.wait_settled(i)["status"] for i in (rejected, cancelled, commented)}
        assert outcomes == {rejected: "ESCALATED", cancelled: "CANCELLED", commented: "PENDING_APPROVAL"}
        assert types(client.timeline(commented))[-1] == "CommentAdded"
        # and what was decided cannot be decided again
        again = client.send("POST", f"/exceptions/{rejected}/approve", json={"comment": "after all"})
        assert again.status_code == 409
        assert client.ledger()["balanced"]


def _assert_invisible(product: Product, declared: str, owner: str) -> None:
    engine = open_engine(product.settings.database_url, Role.APPLICATION, pool_size=1)
    try:
        with unit_of_work(engine, [declared]) as transaction:
            for table in ("exceptions", "events", "approvals", "outbox", "api_keys", "packs", "tenants"):
                statement = f"SELECT count(*) AS n FROM {table} WHERE tenant_id = %(owner)s"
                assert transaction.rows(statement, {"owner": owner})[0].n == 0, table
            assert transaction.rows("SELECT current_user AS who")[0].who == Role.APPLICATION
    finally:
        engine.dispose()
