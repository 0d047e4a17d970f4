"""Where tools may not be called, in every spelling somebody might try."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from service.tools.egress import EgressGuard, EgressRefusedError, GuardedResolver

GUARD = EgressGuard(["127.0.0.1:9000", "Tools.Internal:8080", "[::1]:8443"])


@pytest.mark.parametrize(
    "url",
    [
        "http://tool.example/x",
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://2130706433/x",
        "https://0x7f000001/x",
        "https://0x7f.0.0.1/x",
        "https://0177.0.0.1/x",
        "https://017700000001/x",
        "https://127.0.0.1:9001/x",
        "https://0.0.0.0/x",
        "https://10.1.2.3/x",
        "https://172.16.0.1/x",
        "https://192.168.0.1/x",
        "https://100.64.0.1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://224.0.0.1/x",
        "https://255.255.255.255/x",
        "https://[::1]/x",
        "https://[::]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://[::ffff:a00:1]/x",
        "https://[64:ff9b::7f00:1]/x",
        "https://[2002:7f00:1::]/x",
        "https://[fe80::1]/x",
        "https://[fc00::1]/x",
        "https://[fec0::1]/x",
        "https://[ff02::1]/x",
        "https://134744072/x",
        "https://user:password@tool.example/x",
        "ftp://tool.example/x",
        "file:///etc/passwd",
        "https:///x",
        "tool.example/x",
        "https://tool.example:99999/x",
        "",
    ],
)
def test_refused(url: str) -> None:
    with pytest.raises(EgressRefusedError):
        GUARD.checked(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://tool.example/x",
        "https://8.8.8.8/x",
        "https://[2606:4700:4700::1111]/x",
        "https://[::ffff:8.8.8.8]/x",
        "http://127.0.0.1:9000/x",
        "http://tools.internal:8080/x",
        "http://TOOLS.internal.:8080/x",
        "https://[::1]:8443/x",
    ],
)
def test_allowed(url: str) -> None:
    GUARD.checked(url)


def test_the_refusal_names_what_to_add_and_no_secret() -> None:
    with pytest.raises(EgressRefusedError, match=r"add 10\.0\.0\.5:443 to SENTINAI_EGRESS_ALLOW"):
        GUARD.checked("https://10.0.0.5/x?token=secret")
    with pytest.raises(EgressRefusedError, match=r"^((?!hunter2).)*$"):
        GUARD.checked("https://user:hunter2@tool.example/x")


class Names(AbstractResolver):
    """Resolves every name to the given addresses."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self._addresses
        ]

    async def close(self) -> None:
        pass


def resolved(host: str, port: int, *addresses: str) -> list[str]:
    found = asyncio.run(GuardedResolver(GUARD, Names(*addresses)).resolve(host, port))
    return [result["host"] for result in found]


@pytest.mark.parametrize("addresses", [("10.0.0.5",), ("93.184.216.34", "127.0.0.1"), ("::ffff:169.254.169.254",)])
def test_a_name_with_any_private_address_is_refused(addresses: tuple[str, ...]) -> None:
    with pytest.raises(EgressRefusedError, match=r"add tool\.example:443"):
        resolved("tool.example", 443, *addresses)


def test_a_name_is_connected_to_where_it_was_checked() -> None:
    assert resolved("tool.example", 443, "93.184.216.34") == ["93.184.216.34"]
    assert resolved("tools.internal", 8080, "10.0.0.5") == ["10.0.0.5"]
