"""From a tool's definition to a call of it, and what a tenant may define differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from service.domain.packs.faults import Fault, path_of
from service.domain.packs.tool_checks import tool_faults
from service.domain.packs.tools import KINDS, HttpTool, KafkaTool, PythonTool, SqlTool, Tool, WebhookTool
from service.domain.plans import ToolCall

OVERRIDABLE = frozenset(
    {
        "endpoint",
        "batchEndpoint",
        "version",
        "timeoutSeconds",
        "maxRetries",
        "maxConcurrency",
        "idempotent",
        "headers",
        "auth",
        "signingSecret",
        "connection",
        "topic",
    }
)
"""What a tenant may say differently of a tool: where it is, how patient to be, and who calls. What a call
means (its kind, its parameters, what it may read, when it counts as done) stays the domain's."""


def tool_call(name: str, tool: Tool, parameters: Mapping[str, Any]) -> ToolCall:
    """One call of a tool."""
    http = tool if isinstance(tool, HttpTool) else None
    return ToolCall(
        tool=name,
        url=address_of(tool),
        parameters=parameters,
        method="POST" if http is None else http.method.value,
        timeout_seconds=tool.timeoutSeconds,
        max_retries=tool.maxRetries,
        idempotent=tool.idempotent,
        batch_url=None if http is None else http.batchEndpoint,
        kind=tool.kind.value,
        options=tool.options,
        max_concurrency=tool.maxConcurrency,
    )


def address_of(tool: Tool) -> str:
    """Where a tool is: its endpoint, or kind and name of what the operator gave (`sql:claims`)."""
    match tool:
        case HttpTool() | WebhookTool():
            return tool.endpoint
        case SqlTool():
            return f"sql:{tool.connection}"
        case KafkaTool():
            return f"kafka:{tool.topic}"
        case PythonTool():
            return f"python:{tool.plugin}"
    return "smtp:"


def override_faults(path: str, tool: Tool, override: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong with a tenant's definition of a tool that the domain has."""
    for key in override:
        if key not in OVERRIDABLE:
            yield Fault(path_of((str(key),), path), f"a tenant may override {', '.join(sorted(OVERRIDABLE))} only")
        elif key not in type(tool).model_fields:
            yield Fault(path_of((str(key),), path), f"a tool of kind {tool.kind} has no {key!r}")
    try:
        changed = merged(tool, override)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_context=False, include_input=False):
            yield Fault(path_of(fault["loc"], path), fault["msg"].removeprefix("Value error, "))
    else:
        yield from tool_faults(path, changed)


def merged(tool: Tool, override: Mapping[str, Any]) -> Tool:
    """The tool as one tenant has it: `override`'s keys in place of its own.

    Raises pydantic's ValidationError; a pack whose `override_faults` were asked has none.
    """
    own = tool.model_dump(mode="json", exclude_unset=True)
    return KINDS[tool.kind].model_validate({**own, **override, "kind": tool.kind.value})
