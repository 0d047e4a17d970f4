"""A tenant whose exceptions somebody is told of, with a real receiver of webhooks, a real mail server, and senders."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from email.policy import default
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import requests
from aiosmtpd.controller import Controller
from sqlalchemy import Engine

from service.domain.identifiers import notification_key
from service.domain.packs import build_pack_set, parse_domain_pack, parse_tenant_pack
from service.engine.batch import Reference
from service.engine.notifier import Notifier
from service.engine.packs import PackSource
from service.persistence.database import Role, open_engine
from service.persistence.notifications import NotificationReference
from service.persistence.packs import StoredPacks
from service.persistence.sealing import Sealing
from service.resources import MailServer
from service.settings import Settings
from service.tools.admission import AdmitAll
from service.tools.calls import ToolClient
from service.tools.kinds import BlockingKind
from service.tools.mail import Mailer
from tests.integration.engine.plans import AGAIN, ONCE, World, call
from tests.tenants import new_tenant
from tests.tools.given import a_client, secrets_with

HOOK = "whsec_" + "N" * 44
VARIABLES = {"toolServerUrl": "https://tools.example"}


@dataclass
class Inbox:
    """Keeps what the mail server is given."""

    messages: list[Message] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.messages.append(message_from_bytes(envelope.content, policy=default))
        return "250 taken"


@dataclass
class Told:
    """A world of exceptions, whom its policies tell, and what arrived there."""

    world: World
    client: ToolClient
    inbox: Inbox
    hook: str
    """Name of the webhook's receiver."""
    tool_server_url: str
    application: Engine

    def notifier(self, client: ToolClient | None = None) -> Notifier:
        """A sender, as a worker process has one."""
        packs = PackSource(
            StoredPacks(), lambda d, t, v: build_pack_set(parse_domain_pack(d, VARIABLES), parse_tenant_pack(t), v)
        )
        return Notifier(self.application, packs, client or self.client, AdmitAll(), lambda: self.world.now, lambda: 0.0)

    def resolved(self) -> Reference:
        """An exception that was carried to its end."""
        reference = self.world.planned()
        self.world.delivered(reference)
        assert self.world.status(reference) == "RESOLVED"
        return reference

    def rows(self, columns: str = "channel, state, attempts, error") -> list[tuple[Any, ...]]:
        """All notifications of the tenant, by policy."""
        found = self.world.rows(f"SELECT {columns} FROM notifications WHERE {{own}} ORDER BY policy")
        return [tuple(row) for row in found]

    def references(self) -> list[NotificationReference]:
        """As a dispatcher hands them out now, without asking whether they are due."""
        found = self.rows("tenant_id, exception_id, position, policy, claim")
        return [NotificationReference(*row) for row in found]

    def hooked(self) -> list[tuple[str, str]]:
        """What the receiver of webhooks got: ids and outcomes."""
        listed = requests.get(f"{self.tool_server_url}/calls?tool={self.hook}", timeout=10).json()["items"]
        return [(item["key"], item["outcome"]) for item in listed]


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, int]]:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = Inbox()
    controller = Controller(kept, hostname="127.0.0.1", port=port)
    controller.start()
    yield kept, port
    controller.stop()


@pytest.fixture
def application(migrated: Settings) -> Iterator[Engine]:
    engine = open_engine(migrated.database_url, Role.APPLICATION, pool_size=4, sealing=Sealing())
    yield engine
    engine.dispose()


@pytest.fixture
def told(system: Engine, application: Engine, inbox: tuple[Inbox, int], tool_server_url: str) -> Iterator[Told]:
    """Whoever resolves an exception has a webhook and an e-mail sent; a dead letter is told by webhook only."""
    hook = f"told-{uuid4().hex[:8]}"
    assert requests.put(f"{tool_server_url}/webhooks/{hook}", json={"secret": HOOK}, timeout=10).status_code == 204
    webhook = {
        "url": f"{tool_server_url}/webhooks/{hook}",
        "signingSecret": "secret://env/HOOK",
        "text": "{{ event.type }}",
    }
    mail = {
        "to": "desk@bank.example",
        "subject": "{{ exception.exceptionId }}",
        "text": "{{ exception.rawPayload.price }}",
    }
    policies = [
        {"on": ["ExceptionResolved", "DeadLettered"], "channel": "webhook", "params": webhook},
        {"on": ["ExceptionResolved"], "channel": "email", "params": mail},
    ]
    secrets = secrets_with(HOOK=HOOK)
    server = MailServer(
        host="127.0.0.1", port=inbox[1], security="none", sender="ops@house.example", recipients=("*@bank.example",)
    )
    kinds = {"smtp": BlockingKind(Mailer(server, secrets))}
    with a_client(urlsplit(tool_server_url).netloc, secrets=secrets, kinds=lambda: kinds) as client:
        yield Told(_world(application, system, policies), client, inbox[0], hook, tool_server_url, application)


def _world(application: Engine, system: Engine, policies: Sequence[Mapping[str, Any]]) -> World:
    tool = {"parameters": {}, "endpoint": "https://tools.example/once", "maxRetries": 0}

    def adjust(domain: dict[str, Any]) -> None:
        domain["tools"] = {**domain["tools"], ONCE: tool, AGAIN: tool}
        steps = [call(1, ONCE, "one")]
        domain["playbooks"] = [{"name": "tested", "exceptionType": "STALE_PRICE_ALERT", "steps": steps}]
        domain["testSuites"] = []
        domain["notificationPolicies"] = list(policies)

    # A day ahead, so that no dispatcher of other tests finds these notifications due.
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    return World(application, system, new_tenant(system, adjust=adjust), now=tomorrow)


def key_of(row: tuple[UUID, int, str]) -> str:
    """The idempotency key of exception, position and policy, as receivers see it."""
    return notification_key(*row)
