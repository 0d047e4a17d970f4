"""Tools as packs define them: each kind has its keys, and every fault is told at its place."""

from __future__ import annotations

from typing import Any

import pytest

from service.domain.packs import PackInvalidError, parse_domain_pack
from service.domain.packs.deciding.tool_calls import tool_call
from service.domain.packs.notify import notify_call, notify_faults

TEXT = {"type": "string", "required": True}
HTTP: dict[str, Any] = {"endpoint": "https://tools.example/a", "parameters": {"id": TEXT, "note": {"type": "string"}}}
WEBHOOK: dict[str, Any] = {
    "kind": "webhook",
    "endpoint": "https://tools.example/a",
    "signingSecret": "secret://env/SENTINAI_SECRET_W",
}
SQL: dict[str, Any] = {"kind": "sql", "connection": "claims", "query": "SELECT :id::text", "parameters": {"id": TEXT}}
MAIL: dict[str, Any] = {"kind": "smtp", "to": ["ops@example.com"], "subject": "s", "text": "t"}
KAFKA: dict[str, Any] = {"kind": "kafka", "topic": "cases", "parameters": {"id": TEXT}}


def faults_of(definition: dict[str, Any]) -> list[str]:
    try:
        parse_domain_pack({"domainName": "D", "tools": {"t": definition}})
    except PackInvalidError as error:
        return [fault.path for fault in error.faults]
    return []


@pytest.mark.parametrize(
    "definition",
    [HTTP, WEBHOOK, SQL, MAIL, KAFKA, {"kind": "python", "plugin": "rating"}],
    ids=lambda definition: definition.get("kind", "http"),
)
def test_each_kind_is_read_with_its_keys(definition: dict[str, Any]) -> None:
    tool = parse_domain_pack({"domainName": "D", "tools": {"t": definition}}).tools["t"]
    assert tool.kind == definition.get("kind", "http")
    call = tool_call("t", tool, {})
    assert call.kind == tool.kind


def test_a_plain_http_tool_carries_no_options() -> None:
    tool = parse_domain_pack({"domainName": "D", "tools": {"t": HTTP}}).tools["t"]
    assert tool_call("t", tool, {}).options == {}


@pytest.mark.parametrize(
    ("definition", "path"),
    [
        ({**HTTP, "kind": "ftp"}, "tools.t.kind"),
        ({"kind": "http"}, "tools.t.endpoint"),
        ({**HTTP, "auth": {"type": "bearer", "secret": "hunter2"}}, "tools.t.auth.secret"),
        ({**HTTP, "auth": {"type": "header", "secret": "secret://env/A"}}, "tools.t.auth.name"),
        ({**HTTP, "auth": {"type": "bearer", "secret": "secret://env/A", "name": "X"}}, "tools.t.auth.name"),
        ({**HTTP, "auth": {"type": "bearer", "secret": "secret://env/A", "username": "u"}}, "tools.t.auth.username"),
        ({**HTTP, "headers": {"X-A": "{{ exception.rawPayload.id }}"}}, "tools.t.headers.X-A"),
        ({**HTTP, "headers": {"X-A": "{{ parameters.other }}"}}, "tools.t.headers.X-A"),
        ({**HTTP, "headers": {"X-A": "no. {{ parameters.note }}"}}, "tools.t.headers.X-A"),
        ({**HTTP, "headers": {"Host": "elsewhere"}}, "tools.t.headers.Host"),
        ({**HTTP, "headers": {"Idempotency-Key": "mine"}}, "tools.t.headers.Idempotency-Key"),
        ({**HTTP, "headers": {"Authorization": "Basic eA=="}}, "tools.t.headers.Authorization"),
        ({**HTTP, "body": {"key": "secret://env/A"}}, "tools.t.body.key"),
        ({**HTTP, "body": {"list": ["{{ parameters.no }}"]}}, "tools.t.body.list[0]"),
        ({**HTTP, "path": "orders"}, "tools.t.path"),
        ({**HTTP, "path": "/orders?x=1"}, "tools.t.path"),
        ({**HTTP, "path": "/orders/{{ parameters.note }}"}, "tools.t.path"),
        ({**HTTP, "success": "body.state =="}, "tools.t.success"),
        ({**HTTP, "success": "answer.state == 'ok'"}, "tools.t.success"),
        ({**HTTP, "onFalse": "retry"}, "tools.t.onFalse"),
        ({**HTTP, "response": {"id": "answer.id"}}, "tools.t.response.id"),
        ({**HTTP, "batchEndpoint": "https://tools.example/b", "success": "true"}, "tools.t.success"),
        ({**WEBHOOK, "signingSecret": "whsec_abc"}, "tools.t.signingSecret"),
        ({**WEBHOOK, "headers": {"Webhook-Id": "1"}}, "tools.t.headers.Webhook-Id"),
        ({**SQL, "query": "DELETE FROM claims"}, "tools.t.query"),
        ({**SQL, "query": "SELECT 1; DROP TABLE claims"}, "tools.t.query"),
        ({**SQL, "query": "SELECT :stranger"}, "tools.t.query"),
        ({**SQL, "query": "SELECT '{{ parameters.id }}'"}, "tools.t.query"),
        ({**SQL, "maxRows": 0}, "tools.t.maxRows"),
        ({**KAFKA, "topic": "a topic"}, "tools.t.topic"),
        ({**KAFKA, "key": "{{ parameters.other }}"}, "tools.t.key"),
        ({**MAIL, "to": []}, "tools.t.to"),
        ({**MAIL, "subject": "{{ parameters.other }}"}, "tools.t.subject"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_fault_is_told_at_its_place(definition: dict[str, Any], path: str) -> None:
    assert path in faults_of(definition)


def test_a_text_where_a_secret_belongs_is_not_repeated() -> None:
    with pytest.raises(PackInvalidError) as raised:
        parse_domain_pack(
            {"domainName": "D", "tools": {"t": {**HTTP, "auth": {"type": "bearer", "secret": "hunter2"}}}}
        )
    assert "hunter2" not in str(raised.value)


def test_a_notification_is_a_call_with_the_ledgers_key() -> None:
    hook = {"channel": "webhook", "url": "https://hooks.example/x", "signingSecret": "secret://env/A", "text": "late"}
    call = notify_call(hook)
    assert (call.kind, call.tool, call.url) == ("webhook", "notify:hooks.example", "https://hooks.example/x")
    mail = notify_call({"channel": "email", "to": "a@example.com", "subject": "s", "text": "t"})
    assert (mail.kind, mail.tool, mail.parameters["to"]) == ("smtp", "notify:email", "a@example.com")


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"channel": "pigeon"}, "p.channel"),
        ({"channel": "email", "to": "a@b.c", "text": "t"}, "p.subject"),
        ({"channel": "webhook", "url": "https://a.example", "text": "t"}, "p.signingSecret"),
        ({"channel": "webhook", "url": "ftp://a.example", "signingSecret": "secret://env/A", "text": "t"}, "p.url"),
        ({"channel": "webhook", "url": "https://{{ x }}", "signingSecret": "secret://env/A", "text": "t"}, "p.url"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_notification_is_told_when_the_pack_is_read(params: dict[str, Any], path: str) -> None:
    assert path in [fault.path for fault in notify_faults("p", params)]


def test_a_policy_about_an_event_that_nobody_is_told_of_is_warned_of() -> None:
    params = {"to": "ops@example.org", "subject": "s", "text": "t", "sound": "gong"}
    policy = {"on": ["ExceptionEscalated", "DuplicateIgnored"], "channel": "email", "params": params}
    pack = parse_domain_pack({"domainName": "D", "notificationPolicies": [policy]})
    assert [warning.path for warning in pack.warnings] == [
        "notificationPolicies[0].on[1]",
        "notificationPolicies[0].params.sound",
    ]
