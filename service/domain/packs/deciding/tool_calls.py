"""From a tool's definition to a call of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.domain.packs.tools import HttpTool, KafkaTool, PythonTool, SqlTool, Tool, WebhookTool
from service.domain.plans import ToolCall


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
