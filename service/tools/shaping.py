"""A call of a tool whose definition says how: its request, and what of the answer is the output.

For tools of kind http with more than an endpoint, and for webhooks. Templates see the call's parameters only.
Secrets are resolved here, when the request is about to leave, and only where the definition itself has a
reference: a value that came with an exception is never looked up.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from standardwebhooks import Webhook

from service.domain.packs.parameter_templates import ParameterMissingError, rendered, rendered_path, rendered_text
from service.domain.packs.predicates import compile_predicate
from service.errors import PermanentError
from service.secrets import Secrets
from service.tools.calls import PreparedCall

Json = Mapping[str, Any]

_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SIGNING_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{32,}={0,2}")
"""24 bytes at least, as the specification asks."""

_BODILESS = frozenset({"GET", "DELETE"})


class UnsendableCallError(PermanentError):
    """A call from which no request can be made."""


class SigningSecretError(UnsendableCallError):
    """The secret of a webhook is none; the message does not repeat it."""

    def __init__(self) -> None:
        super().__init__("its signingSecret is not `whsec_` and base64; correct what the reference leads to")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request that is about to leave. Holds secrets: it is in no log and no error."""

    body: bytes | None
    headers: dict[str, str] = field(repr=False)
    path: str | None = None
    """Percent-encoded, to be appended to the endpoint."""
    query: Mapping[str, str] | None = field(default=None, repr=False)


def shaped(call: PreparedCall, secrets: Secrets, now: datetime) -> Outgoing:
    """The request of a call that goes alone. Raises UnsendableCallError, SecretUnavailableError."""
    options = call.call.options
    try:
        body = _body(call, options)
        headers = own_headers(call.tenant_id, options, call.call.parameters)
        path = options.get("path")
        path = None if path is None else rendered_path(path, call.call.parameters)
        query = _texts(options.get("query", {}), call.call.parameters)
    except ParameterMissingError as error:
        raise UnsendableCallError(f"its definition needs {error}, which the step did not give") from None
    headers["Idempotency-Key"] = call.key
    add_auth(options.get("auth"), call.tenant_id, secrets, headers, query)
    if call.call.kind == "webhook":
        secret = secrets.resolve(options["signingSecret"], call.tenant_id)
        headers |= signature(secret, call.key, body or b"", now)
    return Outgoing(body, headers, path, query or None)


def own_headers(tenant_id: str, options: Json, parameters: Json) -> dict[str, str]:
    """Tenant, version, and what the definition adds. Raises ParameterMissingError, UnsendableCallError."""
    headers = {"X-Tenant-Id": tenant_id}
    if "version" in options:
        headers["X-Tool-Version"] = options["version"]
    given = options.get("headers")
    if given:
        headers |= _texts(given, parameters)
        if any(_UNSENDABLE.search(text) for text in headers.values()):
            raise UnsendableCallError("a header would hold a control character; correct the step's parameters")
    return headers


def add_auth(
    auth: Json | None, tenant_id: str, secrets: Secrets, headers: dict[str, str], query: dict[str, str]
) -> None:
    """Put the proof of who calls where the definition wants it. Raises SecretUnavailableError."""
    if auth is None:
        return
    secret = secrets.resolve(auth["secret"], tenant_id).strip()
    if _UNSENDABLE.search(secret):
        raise UnsendableCallError("its secret holds a control character; correct what the reference leads to")
    match auth["type"]:
        case "bearer":
            headers["Authorization"] = f"Bearer {secret}"
        case "basic":
            pair = f"{auth['username']}:{secret}" if "username" in auth else secret
            encoded = base64.b64encode(pair.encode()).decode()
            secrets.known.add(encoded)
            headers["Authorization"] = f"Basic {encoded}"
        case "header":
            headers[auth["name"]] = secret
        case "query":
            query[auth["name"]] = secret


def signature(secret: str, key: str, body: bytes, now: datetime) -> dict[str, str]:
    """The headers of Standard Webhooks. Several secrets, separated by spaces, sign while one replaces the other."""
    secrets = secret.split()
    # The library skips over characters that are not base64, and would sign with what is left.
    if not secrets or not all(_SIGNING_SECRET.fullmatch(one) for one in secrets):
        raise SigningSecretError
    signed = [Webhook(one).sign(key, now, body.decode()) for one in secrets]
    return {
        "webhook-id": key,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signed),
    }


def json_body(value: Any) -> bytes:
    """A value as JSON. Raises UnsendableCallError when it has no JSON form."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise UnsendableCallError("a parameter has no JSON form; correct the step in the pack") from None


class AnswerUnusableError(ValueError):
    """An answer that does not have what the definition looks for; the message repeats nothing of it."""


def says_done(call: PreparedCall, status: int, headers: Mapping[str, str], body: Any) -> bool:
    """Whether the answer says that the call was worked. Raises AnswerUnusableError."""
    source = call.call.options.get("success")
    if source is None:
        return True
    try:
        return compile_predicate(source).holds(status, _lower(headers), body)
    except ValueError as error:
        raise AnswerUnusableError(str(error)) from None


def picked(fields: Mapping[str, str], status: int, headers: Mapping[str, str], body: Any) -> dict[str, Any]:
    """The output that a definition's `response` makes of an answer. What is not there becomes null."""
    return {name: _at(path, status, headers, body) for name, path in fields.items()}


def _body(call: PreparedCall, options: Json) -> bytes | None:
    template = options.get("body")
    if template is not None:
        return json_body(rendered(template, call.call.parameters))
    if call.call.method in _BODILESS and ("path" in options or "query" in options):
        return None
    return json_body(call.call.parameters)


def _texts(templates: Mapping[str, str], parameters: Json) -> dict[str, str]:
    texts = ((name, rendered_text(template, parameters)) for name, template in templates.items())
    return {name: text for name, text in texts if text is not None}


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _at(path: str, status: int, headers: Mapping[str, str], body: Any) -> Any:
    root, *parts = path.split(".")
    if root == "status":
        return status
    if root == "headers":
        return _lower(headers).get(parts[0].lower())
    value = body
    for part in parts:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value
