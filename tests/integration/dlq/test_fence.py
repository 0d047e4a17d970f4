"""A dead letter fences its exception, on the real fleet: later inputs of any kind wait in order, others go on."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from service.engine import reconciliation
from service.persistence.administration import create_key, create_tenant, key_of
from service.persistence.packs import TENANT_PACK, PackKind, activate_pack, put_pack
from service.persistence.unit_of_work import unit_of_work
from tests.client import ApiClient, wait_for
from tests.integration.conftest import Product
from tests.integration.verdicts import broken_promises

pytestmark = [pytest.mark.kafka, pytest.mark.stack, pytest.mark.timeout(120)]

DOMAIN = "Fenced"
PATIENT: dict[str, Any] = {"action_type": "wait", "params": {"seconds": 3}}
SAYS: dict[str, Any] = {"action_type": "add_comment", "params": {"text": "done"}}
DOMAIN_PACK: dict[str, Any] = {
    "domainName": DOMAIN,
    "entities": {"Order": {"attributes": {"account": {"type": "string", "required": True}}}},
    "exceptionTypes": {name: {"description": name} for name in ("PLAIN", "PATIENT", "APPROVED")},
    "severityRules": [{"condition": "exceptionType == 'APPROVED'", "severity": "HIGH"}],
    "playbooks": [
        {"name": "plain", "exceptionType": "PLAIN", "steps": [SAYS]},
        {"name": "patient", "exceptionType": "PATIENT", "steps": [PATIENT, SAYS]},
        {"name": "approved", "exceptionType": "APPROVED", "steps": [SAYS]},
    ],
}
APPROVALS = [{"severity": "HIGH", "requireApproval": True, "timeLimitMinutes": 0.05}]


@dataclass(frozen=True)
class Desk:
    """A tenant with an operator, and what its exceptions wait for as the database has it."""

    product: Product
    tenant_id: str
    client: ApiClient

    def post(self, kind: str, account: str | None = "A") -> str:
        body = {"sourceSystem": "test", "exceptionType": kind, "entity": "Order", "rawPayload": {"account": account}}
        return self.client.post(body)

    def send(self, exception_id: str, call: str, **body: Any) -> int:
        return self.client.send("POST", f"/exceptions/{exception_id}/{call}", json=body).status_code

    def updates(self, exception_id: str, account: str | None) -> int:
        return self.send(exception_id, "events", type="updated", data={"account": account})

    def waiting(self, exception_id: str) -> list[tuple[int, str, bool]]:
        """(sequence, input, ready) of everything that is in the outbox."""
        statement = """
        SELECT o.sequence, i.type, o.ready FROM outbox o JOIN inputs i USING (exception_id, sequence)
         WHERE o.exception_id = %(id)s ORDER BY o.sequence
        """
        with unit_of_work(self.product.system) as transaction:
            return [tuple(row) for row in transaction.rows(statement, {"id": exception_id})]

    def reconcile(self) -> None:
        """What the reconciler would do an hour from now, twice, for it suspects before it acts."""
        now = datetime.now(UTC) + timedelta(hours=1)
        for minutes in (0, 5):
            reconciliation.reconcile(self.product.system, 30, now + timedelta(minutes=minutes))


@pytest.fixture(scope="module")
def desk(product: Product) -> Iterator[Desk]:
    tenant_id = f"fence-{uuid4().hex[:12]}"
    key = key_of(secrets.token_bytes(32))
    tenant_pack = {"tenantId": tenant_id, "domainName": DOMAIN, "humanApprovalRules": APPROVALS}
    with unit_of_work(product.system) as transaction:
        create_tenant(transaction, tenant_id, "a test's tenant")
        create_key(transaction, tenant_id, "operator", "ann", key=key, key_id=uuid4())
        packs = ((PackKind.DOMAIN, DOMAIN, DOMAIN_PACK), (PackKind.TENANT, TENANT_PACK, tenant_pack))
        for kind, name, document in packs:
            stored = put_pack(transaction, tenant_id, kind, name, document, by="test")
            activate_pack(transaction, tenant_id, kind, name, stored.version, datetime.now(UTC))
    yield Desk(product, tenant_id, ApiClient(product.fleet.api_url, key))
    with unit_of_work(product.system) as transaction:
        # What waits behind a dead letter is in the outbox, and is all that may be broken.
        assert broken_promises(transaction, tenant_id).keys() <= {"left in the outbox"}


def test_everything_that_comes_later_waits_in_order_and_others_go_on(desk: Desk) -> None:
    # given an exception that dies at intake
    dead = desk.post("PLAIN", account=None)
    assert desk.client.wait_settled(dead)["status"] == "DEAD_LETTERED"
    # when inputs of several kinds come in for it, one of which would mend it, and the reconciler looks
    assert [desk.updates(dead, f"A{number}") for number in range(3)] == [202] * 3
    assert desk.send(dead, "events", type="comment", data={"text": "any news?"}) == 202
    assert desk.send(dead, "events", type="payment.received") == 202
    assert desk.send(dead, "cancel", comment="never mind") == 409
    desk.reconcile()
    # then others, posted later, are worked to their end
    for exception_id in [desk.post("PLAIN") for _ in range(5)]:
        assert desk.client.wait_settled(exception_id)["status"] == "RESOLVED"
    # and it has not moved: all of them wait behind it, in order
    found = desk.client.get(dead)
    assert (found["status"], found["sequence"], found["lastSequence"]) == ("DEAD_LETTERED", 1, 6)
    kinds = ["updated", "updated", "updated", "comment", "signal"]
    assert desk.waiting(dead) == [(sequence, kind, False) for sequence, kind in enumerate(kinds, 2)]
    # and people see it
    fence = found["blockedBy"]
    assert (fence["sequence"], fence["waiting"]) == (1, 5)
    assert fence["deadLetterId"] == found["deadLetter"]["deadLetterId"]
    marked = [event["sequence"] for event in desk.client.timeline(dead) if event["blockedBy"] == fence]
    assert marked == [2, 3, 4, 5, 6]
    types = [event["type"] for event in desk.client.timeline(dead)]
    assert types == ["ExceptionIngested", "DeadLettered", *["ExceptionUpdated"] * 5]
    listed = desk.client.send("GET", "/exceptions?blocked=true&sort=receivedAt").json()["items"]
    assert dead in [one["exceptionId"] for one in listed]


def test_a_timer_that_fires_meanwhile_waits_too(desk: Desk) -> None:
    # given a plan that waits some seconds, and an update meanwhile that cannot be worked
    exception_id = desk.post("PATIENT")
    assert desk.client.wait_settled(exception_id)["status"] == "WAITING"
    assert desk.updates(exception_id, None) == 202
    wait_for(lambda: desk.client.get(exception_id)["status"] == "DEAD_LETTERED")
    # when its time is over
    wait_for(lambda: desk.client.get(exception_id)["lastSequence"] == 3, 30)
    # and the reconciler looks, and somebody comments
    desk.reconcile()
    assert desk.send(exception_id, "events", type="comment", data={"text": "hm"}) == 202
    assert desk.client.wait_settled(desk.post("PLAIN"))["status"] == "RESOLVED"
    # then the plan has not gone on
    assert desk.waiting(exception_id) == [(3, "step_due", False), (4, "comment", False)]
    found = desk.client.get(exception_id)
    assert (found["status"], found["sequence"]) == ("DEAD_LETTERED", 2)
    assert (found["blockedBy"]["sequence"], found["blockedBy"]["waiting"]) == (2, 2)


def test_an_approval_is_neither_given_nor_acted_on_behind_a_dead_letter(desk: Desk) -> None:
    # given an exception that waits for approval, and an update that cannot be worked
    exception_id = desk.post("APPROVED")
    assert desk.client.wait_settled(exception_id)["status"] == "PENDING_APPROVAL"
    assert desk.updates(exception_id, None) == 202
    wait_for(lambda: desk.client.get(exception_id)["status"] == "DEAD_LETTERED")
    # when somebody approves what they were shown before, then they are told that it does not wait for them now
    assert desk.send(exception_id, "approve", comment="fine") == 409
    assert desk.send(exception_id, "reject", comment="no") == 409
    # when the time for it runs out, then that waits for its turn as well
    wait_for(lambda: desk.waiting(exception_id) == [(3, "approval_expired", False)], 30)
    desk.reconcile()
    assert desk.client.wait_settled(desk.post("PLAIN"))["status"] == "RESOLVED"
    assert desk.waiting(exception_id) == [(3, "approval_expired", False)]
    assert desk.client.get(exception_id)["blockedBy"]["waiting"] == 1
