"""What tests of tool kinds are given: a tool as a pack defines it, a client, secrets, and what came of a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from service.domain.packs import parse_domain_pack
from service.domain.packs.deciding.tool_calls import tool_call
from service.secrets import KnownSecrets, Owner, Secrets
from service.tools import EgressGuard, HttpToolClient, PreparedCall, ToolResult
from service.tools.kinds import Kinds, no_kinds
from service.tools.limits import CallLimits, CallSlots

TEXT = {"type": "string", "required": True}


def secrets_with(**values: str) -> Secrets:
    """Secrets as `secret://env/NAME`, whoever asks."""

    def read(path: str, owner: Owner) -> str:
        return values[path]

    return Secrets({"env": read}, KnownSecrets())


def a_call(
    definition: Mapping[str, Any], parameters: Mapping[str, Any] | None = None, *, key: str = "k1", tenant: str = "ACME"
) -> PreparedCall:
    """A call of a tool, from its definition in a pack."""
    pack = parse_domain_pack({"domainName": "D", "tools": {"probe": dict(definition)}})
    return PreparedCall(key, tenant, tool_call("probe", pack.tools["probe"], parameters or {}))


@contextmanager
def a_client(*origins: str, secrets: Secrets | None = None, kinds: Kinds = no_kinds) -> Iterator[HttpToolClient]:
    """A client that may call these origins."""
    slots = CallSlots(CallLimits.alike(32))
    client = HttpToolClient(slots, EgressGuard(origins), secrets or secrets_with(), kinds)
    try:
        yield client
    finally:
        client.close()


def result_of(client: HttpToolClient, call: PreparedCall) -> ToolResult:
    """What came of one call."""
    (result,) = [result for group in client.results([call]) for result in group]
    return result
