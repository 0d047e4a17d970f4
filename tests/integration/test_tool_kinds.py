"""One plan calls a tool of every kind, on the real fleet: each effect is seen where it happened, once."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from email.policy import default
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests
from aiosmtpd.controller import Controller
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.client import ApiClient, wait_for
from tests.integration.conftest import Product, ServicesApart, running_product, services_apart
from tests.tenants import new_tenant

pytestmark = [pytest.mark.kafka, pytest.mark.stack, pytest.mark.timeout(240)]

TOPIC = f"kinds-{os.getpid()}"
HOOK = "whsec_" + "S" * 44
TOKEN = "token-" + secrets.token_hex(12)
ORDER = {"orderId": {"type": "string", "required": True}}

TOOLS: dict[str, Any] = {
    "lookUp": {
        "kind": "sql",
        "parameters": ORDER,
        "connection": "orders",
        "query": "SELECT :orderId AS id, 12.5 AS amount",
    },
    "rate": {
        "kind": "python",
        "parameters": {"name": {"type": "string", "required": True}},
        "plugin": "rating",
        "config": {"scale": ["AAA"], "apiKey": "secret://env/SENTINAI_SECRET_KINDS_TOKEN"},
    },
    "settle": {
        "endpoint": "${toolServerUrl}/tools",
        "path": "/{{ parameters.where }}",
        "parameters": {**ORDER, "where": {"type": "string", "required": True}},
        "body": {"order": {"id": "{{ parameters.orderId }}"}},
        "auth": {"type": "bearer", "secret": "secret://env/SENTINAI_SECRET_KINDS_TOKEN"},
        "success": "body.status == 'ok'",
        "response": {"reference": "body.reference"},
    },
    "openCase": {
        "kind": "kafka",
        "parameters": {**ORDER, "amount": {"type": "number"}, "reference": {"type": "string"}},
        "topic": TOPIC,
        "key": "{{ parameters.orderId }}",
    },
}


def call(order: int, tool: str, **parameters: Any) -> dict[str, Any]:
    params = {"tool": tool, "parameters": parameters}
    return {"step_order": order, "name": tool, "action_type": "call_tool", "params": params}


ID = "{{ exception.rawPayload.orderId }}"


def steps(hook_url: str) -> list[dict[str, Any]]:
    return [
        call(1, "lookUp", orderId=ID),
        call(2, "rate", name="Bank"),
        call(3, "settle", orderId=ID, where="kinds-settle"),
        call(
            4,
            "openCase",
            orderId=ID,
            amount="{{ steps.lookUp.output.rows.0.amount }}",
            reference="{{ steps.settle.output.reference }}",
        ),
        {
            "step_order": 5,
            "name": "hook",
            "action_type": "notify",
            "params": {
                "channel": "webhook",
                "url": hook_url,
                "signingSecret": "secret://env/SENTINAI_SECRET_KINDS_HOOK",
                "text": f"order {ID}",
            },
        },
        {
            "step_order": 6,
            "name": "mail",
            "action_type": "notify",
            "params": {
                "channel": "email",
                "to": ["desk@bank.example"],
                "subject": f"order {ID}",
                "text": "rated {{ steps.rate.output.rating }}",
            },
        },
    ]


@dataclass
class Inbox:
    """Keeps what the mail server is given."""

    messages: list[Message] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.messages.append(message_from_bytes(envelope.content, policy=default))
        return "250 taken"


@pytest.fixture(scope="module")
def inbox() -> Iterator[tuple[Inbox, int]]:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield inbox, port
    controller.stop()


@pytest.fixture(scope="module")
def apart() -> Iterator[ServicesApart]:
    """Services of this module's own."""
    with services_apart("kinds") as services:
        yield services


@pytest.fixture(scope="module")
def product(
    apart: ServicesApart, inbox: tuple[Inbox, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    """A fleet of this module's own, to whose tools the operator gives a database, a topic, mail and a plug-in."""
    place = tmp_path_factory.mktemp("kinds")
    admin = AdminClient({"bootstrap.servers": apart.settings.kafka_bootstrap_servers})
    for made in admin.create_topics([NewTopic(TOPIC, 1, 1)]).values():
        made.result(30)
    everybody = {"tenants": ["*"]}
    resources = {
        "sql": {"orders": {"url": "secret://env/KINDS_ORDERS_URL", **everybody}},
        "kafka": {"topics": {TOPIC: everybody}},
        "mail": {
            "host": "127.0.0.1",
            "port": inbox[1],
            "security": "none",
            "sender": "ops@house.example",
            "recipients": ["*@bank.example"],
        },
        "plugins": {"rating": everybody},
    }
    (place / "resources.json").write_bytes(orjson.dumps(resources))
    environment = {
        **apart.environment,
        "SENTINAI_TOOL_RESOURCES": f"@{place / 'resources.json'}",
        "KINDS_ORDERS_URL": apart.settings.database_url,
        "SENTINAI_SECRET_KINDS_HOOK": HOOK,
        "SENTINAI_SECRET_KINDS_TOKEN": TOKEN,
        "PYTHONPATH": str(installed_plugin(place)),
    }
    with running_product(apart.settings, apart.tool_server_url, place, **environment) as running:
        yield running


def installed_plugin(place: Path) -> Path:
    """A folder with the metadata of an installed package that has the plug-in."""
    metadata = place / "site" / "sentinai_rating-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: sentinai-rating\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[sentinai.tools]\nrating = tests.tools.plugin.example:Rating\n")
    return metadata.parent


def worked(product: Product, client: ApiClient, exception_id: str) -> dict[str, dict[str, Any]]:
    """What each tool gave, by its name, once the exception is resolved."""
    settled = client.wait_settled(exception_id)
    assert settled["status"] == "RESOLVED", client.timeline(exception_id)[-1]
    completed = [event for event in client.timeline(exception_id) if event["type"] == "ToolExecutionCompleted"]
    return {event["data"]["tool"]: event["data"]["output"] for event in completed}


def test_a_plan_calls_a_tool_of_every_kind(product: Product, inbox: tuple[Inbox, int]) -> None:
    # given a receiver of webhooks, and a playbook with a tool of every kind
    hook_url = f"{product.tool_server_url}/webhooks/{TOPIC}"
    assert requests.put(hook_url, json={"secret": HOOK}, timeout=10).status_code == 204

    def adjust(pack: dict[str, Any]) -> None:
        pack["tools"].update(TOOLS)
        pack["exceptionTypes"]["ALL_KINDS"] = {"description": "Needs every kind of tool."}
        pack["playbooks"].insert(0, {"name": "kinds", "exceptionType": "ALL_KINDS", "steps": steps(hook_url)})

    tenant = new_tenant(product.system, adjust=adjust, adjust_tenant=lambda pack: pack.pop("approvedTools"))
    client = product.client(tenant)
    # when an exception comes
    body = {"sourceSystem": "test", "exceptionType": "ALL_KINDS", "rawPayload": {"orderId": "O-77"}}
    exception_id = client.post(body)
    outputs = worked(product, client, exception_id)
    # then each tool gave what its kind gives
    host = product.tool_server_url.removeprefix("http://").split(":")[0]
    assert outputs["lookUp"]["rows"] == [{"id": "O-77", "amount": 12.5}]
    assert outputs["rate"]["rating"] == "AAA"
    assert outputs["settle"]["reference"].startswith("kinds-settle-")
    assert outputs["openCase"]["topic"] == TOPIC
    assert outputs[f"notify:{host}"] == {"status": 204}
    assert outputs["notify:email"] == {"recipients": 1}
    # and the effects are where they belong, made of earlier steps' results, under the ledger's keys
    keys = ledger_keys(client, exception_id)
    assert published(product) == [
        (b"O-77", {"orderId": "O-77", "amount": 12.5, "reference": outputs["settle"]["reference"]}, keys["openCase"])
    ]
    (message,) = (one for one in inbox[0].messages if one["Subject"] != "told")
    assert (message["Subject"], message["Message-ID"]) == ("order O-77", f"<{keys['notify:email']}@house.example>")
    assert "rated AAA" in message.get_payload()
    received = requests.get(f"{product.tool_server_url}/calls?tool={TOPIC}", timeout=10).json()["items"]
    assert [(call["key"], call["outcome"]) for call in received] == [(keys[f"notify:{host}"], "worked")]
    # and no secret is on the timeline
    told = orjson.dumps(client.timeline(exception_id)).decode()
    assert TOKEN not in told
    assert HOOK not in told


def test_whoever_a_policy_names_is_told(product: Product, inbox: tuple[Inbox, int]) -> None:
    # given a receiver of webhooks, a desk, and policies that tell both of what nobody can resolve
    name = f"told-{os.getpid()}"
    hook_url = f"{product.tool_server_url}/webhooks/{name}"
    assert requests.put(hook_url, json={"secret": HOOK}, timeout=10).status_code == 204
    webhook = {"url": hook_url, "signingSecret": "secret://env/SENTINAI_SECRET_KINDS_HOOK", "text": "{{ event.type }}"}
    mail = {"to": "desk@bank.example", "subject": "told", "text": "order {{ exception.rawPayload.orderId }}"}

    def adjust(pack: dict[str, Any]) -> None:
        pack["exceptionTypes"]["NOBODYS"] = {"description": "No playbook is for it."}
        pack["notificationPolicies"] = [
            {"on": ["ExceptionEscalated"], "channel": "webhook", "params": webhook},
            {"on": ["ExceptionEscalated"], "channel": "email", "params": mail},
        ]

    client = product.client(new_tenant(product.system, adjust=adjust))
    # when an exception comes to nothing
    exception_id = client.post({"sourceSystem": "test", "exceptionType": "NOBODYS", "rawPayload": {"orderId": "O-9"}})
    assert client.wait_settled(exception_id)["status"] == "ESCALATED"

    def states() -> list[str]:
        return [one["state"] for one in client.get(exception_id)["notifications"]]

    # then both are told, once
    wait_for(lambda: states() == ["confirmed", "confirmed"], 30, states)
    received = requests.get(f"{product.tool_server_url}/calls?tool={name}", timeout=10).json()["items"]
    assert [call["outcome"] for call in received] == ["worked"]
    told = [message for message in inbox[0].messages if message["Subject"] == "told"]
    assert [message.get_payload().strip() for message in told] == ["order O-9"]


def ledger_keys(client: ApiClient, exception_id: str) -> dict[str, str]:
    requested = [event for event in client.timeline(exception_id) if event["type"] == "ToolExecutionRequested"]
    return {event["data"]["tool"]: event["data"]["idempotencyKey"] for event in requested}


def published(product: Product) -> list[tuple[bytes | None, Any, str]]:
    """All records of the topic: key, value, idempotency key."""
    servers = product.settings.kafka_bootstrap_servers
    consumer = Consumer({"bootstrap.servers": servers, "group.id": TOPIC, "auto.offset.reset": "earliest"})
    consumer.subscribe([TOPIC])
    try:
        found = [consumer.poll(30), consumer.poll(1)]
    finally:
        consumer.close()
    return [
        (record.key(), orjson.loads(record.value() or b""), dict(record.headers() or [])["idempotency-key"].decode())
        for record in found
        if record is not None
    ]
