"""What is wrong with a tool's definition beyond the form of its keys: rules between keys, templates, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from service.domain.packs.faults import Fault, path_of
from service.domain.packs.parameter_templates import template_faults
from service.domain.packs.tools import (
    Auth,
    HttpTool,
    KafkaTool,
    SmtpTool,
    SqlTool,
    Tool,
    WebhookTool,
)

OURS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "proxy-authorization",
        "te",
        "traceparent",
        "transfer-encoding",
        "upgrade",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
        "x-tenant-id",
        "x-tool-version",
    }
)
"""Headers that a definition cannot set: the client does."""

BOUND = re.compile(r"(?<![:\w\\]):([A-Za-z_]\w*)")
"""A parameter in a query; `::text` is a cast."""

_READS = re.compile(r"\s*(?:select|with|values|table)\b", re.IGNORECASE)


def tool_faults(path: str, tool: Tool) -> Iterator[Fault]:
    """Everything wrong with a tool whose keys are each right in form."""
    match tool:
        case HttpTool():
            yield from _http_faults(path, tool)
        case WebhookTool():
            yield from _header_faults(path, tool.headers, tool)
            yield from template_faults(f"{path}.body", tool.body, tool.parameters)
        case SqlTool():
            yield from _sql_faults(path, tool)
        case KafkaTool():
            yield from template_faults(f"{path}.key", tool.key, tool.parameters)
            yield from template_faults(f"{path}.value", tool.value, tool.parameters)
            yield from _header_faults(path, tool.headers, tool)
        case SmtpTool():
            yield from _smtp_faults(path, tool)
    for key in ("path", "query", "headers", "body", "key", "value", "to", "cc", "replyTo", "subject", "text"):
        yield from _secret_faults(f"{path}.{key}", getattr(tool, key, None))


def auth_faults(path: str, auth: Auth) -> Iterator[Fault]:
    """What is wrong with how a call proves who makes it."""
    named = auth.type in ("header", "query")
    if named and auth.name is None:
        yield Fault(f"{path}.name", f"auth of type {auth.type} needs the name of the {auth.type}")
    if not named and auth.name is not None:
        yield Fault(f"{path}.name", f"auth of type {auth.type} has no name of its own")
    if auth.type != "basic" and auth.username is not None:
        yield Fault(f"{path}.username", "only auth of type basic has a user name")
    if auth.type == "header" and (auth.name or "").lower() in OURS:
        yield Fault(f"{path}.name", "the client sets this header itself")
    if auth.type == "header" and auth.name is not None and not re.fullmatch(r"[A-Za-z0-9-]+", auth.name):
        yield Fault(f"{path}.name", "is not the name of a header")


def _http_faults(path: str, tool: HttpTool) -> Iterator[Fault]:
    if tool.path is not None:
        if not tool.path.startswith("/"):
            yield Fault(f"{path}.path", "must begin with /; it is appended to the endpoint")
        if "?" in tool.path or "#" in tool.path:
            yield Fault(f"{path}.path", "holds no ? and no #; give the query by `query`")
        if "?" in tool.endpoint:
            yield Fault(f"{path}.endpoint", "an endpoint that a path is appended to holds no ?")
        yield from template_faults(f"{path}.path", tool.path, tool.parameters, whole=False)
    yield from template_faults(f"{path}.query", tool.query, tool.parameters)
    yield from template_faults(f"{path}.body", tool.body, tool.parameters)
    yield from _header_faults(path, tool.headers, tool)
    if tool.auth is not None:
        yield from auth_faults(f"{path}.auth", tool.auth)
    if tool.success is None and tool.onFalse != "fail":
        yield Fault(f"{path}.onFalse", "has no effect without `success`")
    if tool.batchEndpoint is None:
        return
    for key in ("path", "query", "body", "response", "success"):
        if getattr(tool, key) not in (None, {}):
            yield Fault(f"{path}.{key}", "does not go with batchEndpoint: a batch has the protocol's own form")
    for name, text in tool.headers.items():
        if "{{" in text:
            yield Fault(path_of((name,), f"{path}.headers"), "a batch has one set of headers, so it holds no template")


def _sql_faults(path: str, tool: SqlTool) -> Iterator[Fault]:
    here = f"{path}.query"
    if not _READS.match(tool.query):
        yield Fault(here, "must be a SELECT (or WITH, VALUES, TABLE): tools of kind sql read only")
    if ";" in tool.query:
        yield Fault(here, "is one statement and holds no ';', not even in a text: write chr(59)")
    if "{{" in tool.query:
        yield Fault(here, "holds no templates; write :name, and the parameter is bound")
    for name in BOUND.findall(tool.query):
        if name not in tool.parameters:
            yield Fault(here, f":{name}: the tool declares no parameter {name!r}; write \\: for a colon that is none")


def _smtp_faults(path: str, tool: SmtpTool) -> Iterator[Fault]:
    for key in ("to", "cc"):
        yield from template_faults(f"{path}.{key}", getattr(tool, key), tool.parameters)
    for key in ("replyTo", "subject", "text"):
        yield from template_faults(f"{path}.{key}", getattr(tool, key), tool.parameters, whole=key == "replyTo")


def _header_faults(path: str, headers: Mapping[str, str], tool: Tool) -> Iterator[Fault]:
    for name, text in headers.items():
        here = path_of((name,), f"{path}.headers")
        if name.lower() in OURS:
            yield Fault(here, "the client sets this header itself")
        if name.lower() == "authorization":
            yield Fault(here, "is given by `auth`, which takes a reference to a secret")
        yield from template_faults(here, text, tool.parameters)


def _secret_faults(path: str, template: Any) -> Iterator[Fault]:
    """A reference anywhere else would be sent as it stands: it is never resolved there."""
    if isinstance(template, str):
        if "secret://" in template:
            yield Fault(path, "a secret is given by `auth` or `signingSecret` only")
    elif isinstance(template, Mapping):
        for key, item in template.items():
            yield from _secret_faults(path_of((str(key),), path), item)
    elif isinstance(template, list | tuple):
        for index, item in enumerate(template):
            yield from _secret_faults(f"{path}[{index}]", item)
