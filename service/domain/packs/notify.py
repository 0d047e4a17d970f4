"""The step `notify`: what its `params` say, and the tool call that it is.

A notification is a call like any other: it goes through the effect ledger, so it is sent once. Where it goes and
with which secret it is signed are constants of the pack; what it says may come from the exception.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from service.domain.packs.deciding.tool_calls import tool_call
from service.domain.packs.faults import Fault, path_of
from service.domain.packs.parts import VARIABLE
from service.domain.packs.tools import SmtpTool, Tool, WebhookTool
from service.domain.plans import ToolCall

CHANNELS = ("webhook", "email")

_TIMES = ("timeoutSeconds", "maxRetries", "idempotent")
_CONSTANT = frozenset({"channel", "url", "signingSecret", *_TIMES})
_CONTENT = {"webhook": ("type", "text", "data"), "email": ("to", "cc", "replyTo", "subject", "text")}
_REQUIRED = {"webhook": ("url", "signingSecret", "text"), "email": ("to", "subject", "text")}
_MAY_BE = {"to": (str, list), "cc": (str, list), "data": (dict, str)}

DEFAULT_TYPE = "exception.notification"
"""The `type` of a webhook's message that names none."""


def notify_keys(channel: Any) -> frozenset[str]:
    """The keys that `params` may have for a channel."""
    return _CONSTANT | frozenset(_CONTENT.get(channel, ()))


def notify_faults(path: str, params: Mapping[str, Any]) -> Iterator[Fault]:
    """Everything wrong with the `params` of a notify step; the templates in them are checked as in every step."""
    channel = params.get("channel")
    if channel not in CHANNELS:
        yield Fault(f"{path}.channel", f"must be one of {', '.join(CHANNELS)}")
        return
    for key in _REQUIRED[channel]:
        if not params.get(key):
            yield Fault(f"{path}.{key}", f"a notification by {channel} needs {key!r}")
    for key in _CONTENT[channel]:
        if params.get(key) is not None and not isinstance(params[key], _MAY_BE.get(key, (str,))):
            yield Fault(f"{path}.{key}", f"must be {' or '.join(kind.__name__ for kind in _MAY_BE.get(key, (str,)))}")
    for key in _CONSTANT:
        text = params.get(key)
        if isinstance(text, str) and "{" in (VARIABLE.sub("", text) if key == "url" else text):
            yield Fault(f"{path}.{key}", "holds no template: where a notification goes does not come from an exception")
    try:
        notify_tool(params)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_context=False, include_input=False):
            here = path_of(("url" if part == "endpoint" else part for part in fault["loc"]), path)
            if fault["type"] != "missing":
                yield Fault(here, fault["msg"].removeprefix("Value error, "))


def notify_call(params: Mapping[str, Any]) -> ToolCall:
    """The call that a notify step is, with the templates of its `params` resolved."""
    tool = notify_tool(params)
    channel = params["channel"]
    content = {key: params[key] for key in _CONTENT[channel] if params.get(key) is not None}
    if isinstance(tool, WebhookTool):
        content.setdefault("type", DEFAULT_TYPE)
        return tool_call(f"notify:{urlsplit(tool.endpoint).hostname}", tool, content)
    return tool_call("notify:email", tool, content)


def notify_tool(params: Mapping[str, Any]) -> Tool:
    """The tool that a notification uses. Raises pydantic's ValidationError."""
    times = {key: params[key] for key in _TIMES if key in params}
    if params["channel"] == "webhook":
        body = {
            "type": "{{ parameters.type }}",
            "data": {"text": "{{ parameters.text }}", "details": "{{ parameters.data }}"},
        }
        where = {key: params[name] for key, name in _WEBHOOK_KEYS if name in params}
        return WebhookTool.model_validate({"kind": "webhook", "body": body, **where, **times})
    optional: dict[str, Any] = {}
    if params.get("cc"):
        optional["cc"] = ["{{ parameters.cc }}"]
    if params.get("replyTo"):
        optional["replyTo"] = "{{ parameters.replyTo }}"
    written = {
        "kind": "smtp",
        "to": ["{{ parameters.to }}"],
        "subject": "{{ parameters.subject }}",
        "text": "{{ parameters.text }}",
    }
    return SmtpTool.model_validate({**written, **optional, **times})


_WEBHOOK_KEYS = (("endpoint", "url"), ("signingSecret", "signingSecret"))
