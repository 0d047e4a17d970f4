"""People and time in plans, on the real fleet: waits, signals, forms, approvals, and calls nobody knows the answer of.

Every story has an exception of its own. All run at once, so that the whole takes as long as the longest.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import requests

from service.persistence.administration import create_key, create_tenant, key_of
from service.persistence.packs import TENANT_PACK, PackKind, activate_pack, put_pack
from service.persistence.unit_of_work import unit_of_work
from tests.client import ApiClient, wait_for
from tests.integration.conftest import Product

pytestmark = [pytest.mark.kafka, pytest.mark.stack, pytest.mark.timeout(180)]

DOMAIN = "Patience"
FORM = {"type": "object", "required": ["agreed"], "properties": {"agreed": {"type": "number"}}}


def step(action_type: str, **step: Any) -> dict[str, Any]:
    return {"action_type": action_type, **step}


def says(text: str) -> dict[str, Any]:
    return step("add_comment", params={"text": text})


def by_hand(instructions: str, **more: Any) -> dict[str, Any]:
    return step("manual", params={"instructions": instructions}, **more)


def calls(tool: str) -> dict[str, Any]:
    return step("call_tool", name="book", params={"tool": tool, "parameters": {}})


PLAYBOOKS: Mapping[str, tuple[str, list[dict[str, Any]]]] = {
    # type: (severity, steps); the severity decides about approval
    "PATIENT": ("LOW", [step("wait", params={"seconds": 4}), says("four seconds later")]),
    "SIGNALLED": ("LOW", [step("wait", params={"event": "payment.received", "timeoutMinutes": 60}), says("it came")]),
    "ASKED": (
        "LOW",
        [
            step("manual", name="amount", params={"instructions": "Agree the amount", "form": FORM}),
            says("agreed on {{ steps.amount.output.agreed }}"),
        ],
    ),
    "BY_MANY_HANDS": ("LOW", [step("parallel", params={"branches": [[by_hand("count")], [by_hand("weigh")]]})]),
    "APPROVED": ("HIGH", [says("moved {{ exception.rawPayload.amount }}")]),
    "BY_FOUR_EYES": ("CRITICAL", [says("both agreed")]),
    "FORGOTTEN": ("MEDIUM", [says("nobody reads this")]),
    "UNHEARD": ("LOW", [calls("bookUnheard")]),
    "IN_DOUBT": ("LOW", [calls("bookInDoubt")]),
}
DOMAIN_PACK: dict[str, Any] = {
    "domainName": DOMAIN,
    "exceptionTypes": {name: {"description": name} for name in PLAYBOOKS},
    "severityRules": [
        {"condition": f"exceptionType == '{name}'", "severity": severity} for name, (severity, _) in PLAYBOOKS.items()
    ],
    "tools": {
        name: {
            "endpoint": f"${{toolServerUrl}}/tools/{name}",
            "timeoutSeconds": 1,
            "idempotent": False,
        }
        for name in ("bookUnheard", "bookInDoubt")
    },
    "playbooks": [{"name": name, "exceptionType": name, "steps": steps} for name, (_, steps) in PLAYBOOKS.items()],
}
APPROVALS = [
    {"severity": "HIGH", "requireApproval": True},
    {"severity": "CRITICAL", "requireApproval": True, "fourEyes": True},
    {"severity": "MEDIUM", "requireApproval": True, "timeLimitMinutes": 0.03},
]


@dataclass(frozen=True)
class People:
    """Two operators of one tenant, its exceptions, and the tools they are worked with."""

    ann: ApiClient
    bob: ApiClient
    tool_server_url: str

    def post(self, kind: str, **payload: Any) -> str:
        return self.ann.post({"sourceSystem": "test", "exceptionType": kind, "rawPayload": payload})

    def settled(self, exception_id: str, status: str) -> dict[str, Any]:
        """The exception once it rests in that status; fails when it rests in another."""
        found = self.ann.wait_settled(exception_id)
        assert found["status"] == status, self.ann.timeline(exception_id)[-3:]
        return found

    def act(self, exception_id: str, call: str, code: int = 202, by: ApiClient | None = None, **body: Any) -> Any:
        """One call of an operator's, answered with that code."""
        answer = (by or self.ann).send("POST", f"/exceptions/{exception_id}/{call}", json=body)
        assert answer.status_code == code, answer.text
        return answer.json()

    def tool_behaves(self, tool: str, **behaviour: Any) -> None:
        answer = requests.put(f"{self.tool_server_url}/behaviours/{tool}", json=behaviour, timeout=10)
        answer.raise_for_status()

    def comments(self, exception_id: str) -> list[str]:
        return [event["data"]["text"] for event in self.events(exception_id, "CommentAdded")]

    def events(self, exception_id: str, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.ann.timeline(exception_id) if event["type"] == kind]


def a_wait_ends_by_itself(people: People) -> None:
    # given a plan that waits four seconds
    exception_id = people.post("PATIENT")
    # then it tells until when
    resting = people.settled(exception_id, "WAITING")
    (waiting,) = resting["waitingFor"]
    assert (waiting["kind"], waiting["step"]) == ("time", "1")
    # and goes on by itself, not before that, and soon after
    wait_for(lambda: people.ann.get(exception_id)["status"] == "RESOLVED", 30)
    (due,) = [e for e in people.events(exception_id, "ExceptionUpdated") if e["data"]["type"] == "step_due"]
    late = datetime.fromisoformat(due["occurredAt"]) - datetime.fromisoformat(waiting["until"])
    assert 0 <= late.total_seconds() < 20
    assert people.comments(exception_id) == ["four seconds later"]


def a_signal_is_waited_for(people: People) -> None:
    # given a plan that waits for a signal
    exception_id = people.post("SIGNALLED")
    (waiting,) = people.settled(exception_id, "WAITING")["waitingFor"]
    assert (waiting["kind"], waiting["signal"]) == ("signal", "payment.received")
    # when another comes, then it goes on waiting
    people.act(exception_id, "events", type="payment.refused")
    assert people.settled(exception_id, "WAITING")["sequence"] == 2
    # when it comes, then it goes on
    people.act(exception_id, "events", type="payment.received", data={"amount": 5})
    people.settled(exception_id, "RESOLVED")
    assert people.comments(exception_id) == ["it came"]


def a_form_is_answered(people: People) -> None:
    # given a step with a form
    exception_id = people.post("ASKED")
    (waiting,) = people.settled(exception_id, "PENDING_STEP")["waitingFor"]
    assert (waiting["instructions"], waiting["form"]) == ("Agree the amount", FORM)
    # when it is answered wrongly, then that is told, and it waits
    refused = people.act(exception_id, "steps/1/complete", 422, answer={"agreed": "five"})
    assert [fault["path"] for fault in refused["errors"]] == ["answer.agreed"]
    assert people.ann.get(exception_id)["status"] == "PENDING_STEP"
    # when it is answered rightly, then the next step reads the answer
    people.act(exception_id, "steps/1/complete", answer={"agreed": 5}, comment="by phone")
    people.settled(exception_id, "RESOLVED")
    assert people.comments(exception_id) == ["agreed on 5"]


def several_people_work_at_once(people: People) -> None:
    # given a plan that waits for two people
    exception_id = people.post("BY_MANY_HANDS")
    waiting = people.settled(exception_id, "PENDING_STEP")["waitingFor"]
    assert sorted(one["instructions"] for one in waiting) == ["count", "weigh"]
    # when the second is ready first, then the plan waits for the other
    paths = [one["step"] for one in waiting]
    people.act(exception_id, f"steps/{requests.utils.quote(paths[1], safe='')}/complete")
    left = people.settled(exception_id, "PENDING_STEP")["waitingFor"]
    assert [one["step"] for one in left] == paths[:1]
    # when that is done too, then it goes on
    people.act(exception_id, f"steps/{requests.utils.quote(paths[0], safe='')}/complete")
    people.settled(exception_id, "RESOLVED")


def an_update_voids_what_was_asked(people: People) -> None:
    # given an operator who looks at a plan, and an update that changes it meanwhile
    exception_id = people.post("APPROVED", amount=5)
    seen = people.settled(exception_id, "PENDING_APPROVAL")["approval"]["planHash"]
    people.act(exception_id, "events", type="updated", data={"amount": 500})
    wait_for(lambda: people.ann.get(exception_id)["sequence"] == 2, 30)
    now = people.settled(exception_id, "PENDING_APPROVAL")["approval"]["planHash"]
    # then another plan is asked for
    assert now != seen
    # when the operator approves what they saw, then that is refused
    assert "plan changed" in people.act(exception_id, "approve", 409, comment="ok", planHash=seen)["detail"]
    # when they approve what there is, then that is what happens
    people.act(exception_id, "approve", comment="ok, 500", planHash=now)
    people.settled(exception_id, "RESOLVED")
    assert people.comments(exception_id) == ["moved 500"]


def two_people_approve(people: People) -> None:
    # given a plan that two people have to approve
    exception_id = people.post("BY_FOUR_EYES")
    assert people.settled(exception_id, "PENDING_APPROVAL")["approval"]["approvalsNeeded"] == 2
    # when one does, twice
    first = people.act(exception_id, "approve", comment="fine")
    assert (first["status"], first["approvalsGiven"]) == ("PENDING_APPROVAL", 1)
    people.act(exception_id, "approve", 409, comment="really")
    # then it waits for the other
    people.act(exception_id, "approve", comment="fine with me", by=people.bob)
    people.settled(exception_id, "RESOLVED")
    assert [event["data"]["by"] for event in people.events(exception_id, "ApprovalGranted")] == ["ann", "bob"]


def an_approval_expires(people: People) -> None:
    # given an approval that nobody gives within its 1.8 seconds
    exception_id = people.post("FORGOTTEN")
    wait_for(lambda: people.ann.get(exception_id)["status"] == "ESCALATED", 30)
    # then a person owns the exception, and nothing can be approved any more
    assert people.ann.get(exception_id)["approval"]["state"] == "expired"
    people.act(exception_id, "approve", 409, comment="too late")
    assert people.comments(exception_id) == []


def a_call_is_sent_again(people: People) -> None:
    # given a call that went out and had no answer in time, of a tool that must not be called twice
    people.tool_behaves("bookUnheard", hang=True)
    exception_id = people.post("UNHEARD")
    (effect,) = people.settled(exception_id, "PENDING_STEP")["unknownEffects"]
    # when somebody found out that it may be called again
    people.tool_behaves("bookUnheard")
    call = f"effects/{effect['idempotencyKey']}/resolve"
    people.act(exception_id, call, verdict="resend", comment="they never got it")
    # then it is, and answers; and nobody can say anything else
    people.settled(exception_id, "RESOLVED")
    people.act(exception_id, call, 409, verdict="done", comment="hm")
    assert len(people.events(exception_id, "ToolExecutionCompleted")) == 1


def a_call_was_done(people: People) -> None:
    # given such a call
    people.tool_behaves("bookInDoubt", hang=True)
    exception_id = people.post("IN_DOUBT")
    (effect,) = people.settled(exception_id, "PENDING_STEP")["unknownEffects"]
    # when somebody found out that the tool worked it, then the plan goes on, and it is not called again
    call = f"effects/{effect['idempotencyKey']}/resolve"
    people.act(exception_id, call, verdict="done", comment="it is in their books", output={"entry": 17})
    found = people.settled(exception_id, "RESOLVED")
    assert (found["unknownEffects"], found["plan"]["steps"][0]["effect"]) == ([], "confirmed")
    assert len(people.events(exception_id, "ToolExecutionRequested")) == 1


STORIES: list[Callable[[People], None]] = [
    a_wait_ends_by_itself,
    a_signal_is_waited_for,
    a_form_is_answered,
    several_people_work_at_once,
    an_update_voids_what_was_asked,
    two_people_approve,
    an_approval_expires,
    a_call_is_sent_again,
    a_call_was_done,
]


@pytest.fixture(scope="module")
def told(product: Product) -> Iterator[dict[str, Future[None]]]:
    """All stories under way."""
    people = _people(product)
    with ThreadPoolExecutor(len(STORIES)) as pool:
        yield {story.__name__: pool.submit(story, people) for story in STORIES}


@pytest.mark.parametrize("story", [story.__name__ for story in STORIES])
def test_the_story_of(told: dict[str, Future[None]], story: str) -> None:
    told[story].result(timeout=120)


def _people(product: Product) -> People:
    tenant_id = f"people-{uuid4().hex[:12]}"
    keys = {name: key_of(secrets.token_bytes(32)) for name in ("ann", "bob")}
    tenant_pack = {
        "tenantId": tenant_id,
        "domainName": DOMAIN,
        "humanApprovalRules": APPROVALS,
    }
    with unit_of_work(product.system) as transaction:
        create_tenant(transaction, tenant_id, "a test's tenant")
        for name, key in keys.items():
            create_key(transaction, tenant_id, "operator", name, key=key, key_id=uuid4())
        packs = ((PackKind.DOMAIN, DOMAIN, DOMAIN_PACK), (PackKind.TENANT, TENANT_PACK, tenant_pack))
        for kind, name, document in packs:
            stored = put_pack(transaction, tenant_id, kind, name, document, by="test")
            activate_pack(transaction, tenant_id, kind, name, stored.version, datetime.now(UTC))
    clients = {name: ApiClient(product.fleet.api_url, key) for name, key in keys.items()}
    return People(clients["ann"], clients["bob"], product.tool_server_url)
