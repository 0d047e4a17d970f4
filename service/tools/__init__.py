"""Tools: calling what is outside. HTTP, webhooks, databases, Kafka, mail, plug-ins; docs/tools.md is the reference."""

from service.tools.calls import Answer, PreparedCall, ToolClient, ToolResult
from service.tools.egress import EgressGuard
from service.tools.http_client import HttpToolClient

__all__ = ["Answer", "EgressGuard", "HttpToolClient", "PreparedCall", "ToolClient", "ToolResult"]
