"""Tools: calling what is outside. One kind so far, HTTP, call by call or in batches."""

from service.tools.calls import Answer, PreparedCall, ToolClient, ToolResult
from service.tools.egress import EgressGuard
from service.tools.http_client import HttpToolClient

__all__ = ["Answer", "EgressGuard", "HttpToolClient", "PreparedCall", "ToolClient", "ToolResult"]
