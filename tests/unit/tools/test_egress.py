"""Where tools may not be called, in every spelling somebody might try; and the lists of operator and tenant.

What happens on the wire is in test_egress_on_the_wire.
"""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from service.tools.egress import EgressGuard, EgressRefusedError, EgressRules, GuardedResolver

GUARD = EgressGuard(["127.0.0.1:9000", "Tools.Internal:8080", "[::1]:8443", "[64:ff9b::808:808]:443"])

VECTORS = {
    "plain http": ["http://tool.example/x", "HTTP://tool.example/x", "http://8.8.8.8/x", "http://tool.example:443/x"],
    "loopback": ["https://127.0.0.1/x", "https://127.255.255.254/x", "https://127.0.0.1:9001/x", "https://[::1]/x"],
    "listed for another port or another spelling of the host": [
        "https://127.0.0.1:9443/x",
        "http://127.0.0.2:9000/x",
        "http://tools.internal:8081/x",
        "http://tools.internal.example:8080/x",
        "http://xtools.internal:8080/x",
        "https://[::1]:8444/x",
    ],
    "fewer than four parts": ["https://127.1/x", "https://127.0.1/x", "https://10.1/x", "https://0/x", "https://1/x"],
    "decimal": ["https://2130706433/x", "https://134744072/x", "https://4294967295/x", "https://99999999999/x"],
    "octal": ["https://0177.0.0.1/x", "https://017700000001/x", "https://0127.0.0.1/x", "https://127.0.0.01/x"],
    "hexadecimal": [
        "https://0x7f000001/x",
        "https://0x7f.0.0.1/x",
        "https://0X7F.1/x",
        "https://127.0.0.0x1/x",
        "https://127.0.0.0x/x",
        "https://0xA9FEA9FE/x",
    ],
    "numbers out of range": ["https://256.1.1.1/x", "https://1.1.1.1.1/x", "https://127.0.0.999/x"],
    "a dot after an address": ["https://127.0.0.1./x", "https://2130706433./x", "https://8.8.8.8./x"],
    "dots in a name": ["https://tool.example../x", "https://.tool.example/x", "https://tool..example/x", "https://./x"],
    "this network and the unspecified": ["https://0.0.0.0/x", "https://0.1.2.3/x", "https://[::]/x", "https://[::0]/x"],
    "private": ["https://10.1.2.3/x", "https://172.16.0.1/x", "https://172.31.255.255/x", "https://192.168.0.1/x"],
    "CGNAT": ["https://100.64.0.1/x", "https://100.127.255.255/x", "https://100.100.100.200/latest"],
    "link-local, metadata": [
        "https://169.254.169.254/latest/meta-data",
        "https://[fe80::1]/x",
        "https://[febf::1]/x",
        "https://[fd00:ec2::254]/latest",
        "https://168.63.129.16/metadata",
    ],
    "multicast and broadcast": [
        "https://224.0.0.1/x",
        "https://239.255.255.255/x",
        "https://255.255.255.255/x",
        "https://[ff02::1]/x",
        "https://[ff0e::1]/x",
    ],
    "reserved, for documents, for benchmarks": [
        "https://240.0.0.1/x",
        "https://192.0.0.8/x",
        "https://192.0.2.1/x",
        "https://198.51.100.1/x",
        "https://203.0.113.1/x",
        "https://198.18.0.1/x",
        "https://192.88.99.1/x",
        "https://[2001:db8::1]/x",
        "https://[3fff::1]/x",
        "https://[100::1]/x",
        "https://[5f00::1]/x",
        "https://[4000::1]/x",
    ],
    "unique and site local": ["https://[fc00::1]/x", "https://[fdff::1]/x", "https://[fec0::1]/x"],
    "IPv4 mapped": [
        "https://[::ffff:127.0.0.1]/x",
        "https://[::ffff:a00:1]/x",
        "https://[::FFFF:0:1]/x",
        "https://[0:0:0:0:0:ffff:7f00:1]/x",
        "https://[::ffff:8.8.8.8]/x",
    ],
    "IPv4 compatible and translated": ["https://[::7f00:1]/x", "https://[::127.0.0.1]/x", "https://[::ffff:0:7f00:1]/x"],
    "NAT64": ["https://[64:ff9b::7f00:1]/x", "https://[64:ff9b::8.8.4.4]/x", "https://[64:ff9b:1::7f00:1]/x"],
    "6to4, Teredo, ORCHID, ISATAP": [
        "https://[2002:7f00:1::]/x",
        "https://[2002:808:808::1]/x",
        "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/x",
        "https://[2001:20::1]/x",
        "https://[2606:4700::5efe:7f00:1]/x",
        "https://[2606:4700::200:5efe:a00:1]/x",
    ],
    "IPv6 zones": ["https://[fe80::1%25eth0]/x", "https://[::1%25lo]/x", "https://[2606:4700::1111%25eth0]/x"],
    "IPv6 that is none": ["https://[::1/x", "https://::1/x", "https://[1:2:3]/x", "https://[127.0.0.1]/x", "https://[]/x"],
    "percent-encoded": ["https://%31%32%37.0.0.1/x", "https://127%2e0%2e0%2e1/x", "https://tool.example%2fx/", "https://%00/"],
    "user information": [
        "https://user:password@tool.example/x",
        "https://tool.example@127.0.0.1/x",
        "https://tool.example:443@127.0.0.1/x",
        "https://@tool.example/x",
        "https://127.0.0.1:9000@tool.example/x",
    ],
    "backslashes": [
        "https://tool.example\\@127.0.0.1/x",
        "https:\\\\127.0.0.1/x",
        "https://127.0.0.1\\.tool.example/x",
        "https://tool.example/\\x",
    ],
    "white space and control characters": [
        " https://tool.example/x",
        "https://tool.example/x\n",
        "https://tool.exa\tmple/x",
        "https://127.0.0.1\r\nHost: tool.example/x",
        "https://tool.example\x00.evil/x",
    ],
    "other alphabets and digits": [
        "https://①②⑦.0.0.1/x",
        "https://127。0。0。1/x",
        "https://１２７.0.0.1/x",  # noqa: RUF001 - full-width digits
        "https://münchen.example/x",
        "https://tool.exаmple/x",  # noqa: RUF001 - a Cyrillic letter
        "https://ⓛocalhost/x",
    ],
    "other schemes and no URL": [
        "ftp://tool.example/x",
        "file:///etc/passwd",
        "gopher://127.0.0.1:25/x",
        "unix:///var/run/docker.sock",
        "https+unix://tool.example/x",
        "//tool.example/x",
        "tool.example/x",
        "https:tool.example/x",
        "https:/tool.example/x",
        "https:///x",
        "https://",
        "https://:443/x",
        "",
    ],
    "ports": ["https://tool.example:99999/x", "https://tool.example:0/x", "https://tool.example:-1/x", "https://t.example:x/"],
    "names that are none": ["https://tool_.-example/x", "https://-tool.example/x", "https://tool!.example/x",
                            "https://" + "a" * 64 + ".example/x", "https://" + "abc." * 64 + "example/x"],
}  # fmt: skip
TABLE = [(why, url) for why, urls in VECTORS.items() for url in urls]


def test_the_table_is_as_long_as_promised() -> None:
    assert len({url for _, url in TABLE}) == len(TABLE) >= 60


@pytest.mark.parametrize(("why", "url"), TABLE)
def test_refused(why: str, url: str) -> None:
    with pytest.raises(EgressRefusedError):
        GUARD.checked(url)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://tool.example/x", "tool.example"),
        ("https://TOOL.example./x", "tool.example"),
        ("https://xn--mnchen-3ya.example/x", "xn--mnchen-3ya.example"),
        ("https://8.8.8.8/x", "8.8.8.8"),
        ("https://172.32.0.1/x", "172.32.0.1"),
        ("https://100.128.0.1/x", "100.128.0.1"),
        ("https://1.example/x", "1.example"),
        ("https://_dmarc.tool.example/x?user=a@b%20c", "_dmarc.tool.example"),
        ("https://[2606:4700:4700::1111]/x", "2606:4700:4700::1111"),
        ("http://127.0.0.1:9000/x", "127.0.0.1"),
        ("http://tools.internal:8080/x", "tools.internal"),
        ("http://TOOLS.internal.:8080/x", "tools.internal"),
        ("https://[::1]:8443/x", "::1"),
        ("https://[0:0::1]:8443/x", "::1"),
        ("https://[64:ff9b::8.8.8.8]/x", "64:ff9b::808:808"),
    ],
)
def test_allowed(url: str, host: str) -> None:
    assert GUARD.checked(url).raw_host == host


def test_the_refusal_names_what_to_add_and_no_secret() -> None:
    with pytest.raises(EgressRefusedError, match=r"add 10\.0\.0\.5:443 to SENTINAI_EGRESS_ALLOW"):
        GUARD.checked("https://10.0.0.5/x?token=secret")
    with pytest.raises(EgressRefusedError, match=r"^((?!hunter2).)*$"):
        GUARD.checked("https://user:hunter2@tool.example/x")


@pytest.mark.parametrize(
    ("entries", "allowed", "refused"),
    [
        (["erp.example"], ["https://erp.example/x", "https://ERP.example.:443/x"], ["https://erp.example:8443/x"]),
        (["erp.example:8443"], ["https://erp.example:8443/x"], ["https://erp.example/x"]),
        (["erp.example:*"], ["https://erp.example/x", "https://erp.example:1/x"], ["https://x.erp.example/x"]),
        (
            ["*.erp.example"],
            ["https://a.erp.example/x", "https://a.b.erp.example/x"],
            ["https://erp.example/x", "https://evilerp.example/x", "https://erp.example.evil/x"],
        ),
        (["[2606:4700::1]"], ["https://[2606:4700:0::1]/x"], ["https://[2606:4700::2]/x", "https://erp.example/x"]),
        (["127.0.0.1:*", "10.0.0.1"], [], ["https://127.0.0.1/x", "https://10.0.0.1/x"]),
        (["0x7f.1", "[zz]", "a:b"], [], ["https://erp.example/x"]),
        ([], [], ["https://erp.example/x"]),
    ],
)
def test_a_tenants_list_is_all_it_may_call_and_opens_nothing_private(
    entries: list[str], allowed: list[str], refused: list[str]
) -> None:
    rules = EgressRules.of(entries, allow_http=False)
    for url in allowed:
        GUARD.checked(url, rules)
    for url in refused:
        with pytest.raises(EgressRefusedError):
            GUARD.checked(url, rules)


def test_plain_http_takes_the_operator_and_the_pack() -> None:
    listed = "http://127.0.0.1:9000/x"
    # a pack without rules says so by its endpoint
    GUARD.checked(listed)
    GUARD.checked(listed, EgressRules.of(["127.0.0.1:9000"], allow_http=True))
    with pytest.raises(EgressRefusedError, match=r"egress\.allowHttp"):
        GUARD.checked(listed, EgressRules.of(["127.0.0.1:9000"], allow_http=False))
    # and without the operator the pack's word is nothing
    with pytest.raises(EgressRefusedError, match="SENTINAI_EGRESS_ALLOW"):
        GUARD.checked("http://tool.example/x", EgressRules.of(["tool.example"], allow_http=True))


def test_the_operators_hosts_stand_above_every_pack() -> None:
    guard = EgressGuard(["127.0.0.1:9000"], ["*.corp.example"])
    guard.checked("https://erp.corp.example/x", EgressRules.of(["erp.corp.example"], allow_http=False))
    guard.checked("http://127.0.0.1:9000/x")
    for rules in (EgressRules(), EgressRules.of(["tool.example"], allow_http=True)):
        with pytest.raises(EgressRefusedError, match="SENTINAI_EGRESS_HOSTS"):
            guard.checked("https://tool.example/x", rules)


def test_the_operator_can_demand_that_every_tenant_has_a_list() -> None:
    guard = EgressGuard(require_list=True)
    with pytest.raises(EgressRefusedError, match=r"egress\.allowHosts"):
        guard.checked("https://tool.example/x")
    guard.checked("https://tool.example/x", EgressRules.of(["tool.example"], allow_http=False))


def test_what_has_no_url_passes_the_same_guard() -> None:
    rules = EgressRules.of(["mail.example"], allow_http=False)
    assert GUARD.endpoint("Mail.Example.", 587, encrypted=True, rules=rules, default_port=587) == "mail.example"
    for host, port in (("mail.example", 25), ("127.1", 587), ("other.example", 587), ("[::1]", 587), ("a b", 587)):
        with pytest.raises(EgressRefusedError):
            GUARD.endpoint(host, port, encrypted=True, rules=rules, default_port=587)


@pytest.mark.parametrize("entry", ["tool.example", "*.tool.example:443", "0x7f.1:80", "tool.example:*", "a b:80", ""])
def test_an_operators_entry_that_is_none_is_told_at_the_start(entry: str) -> None:
    with pytest.raises(ValueError):
        EgressGuard([entry])


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


@pytest.mark.parametrize(
    "addresses",
    [
        ("10.0.0.5",),
        ("93.184.216.34", "127.0.0.1"),
        ("2606:4700::1111", "fd00::1"),
        ("::ffff:169.254.169.254",),
        ("64:ff9b::a00:1",),
        ("fe80::1%eth0",),
    ],
)
def test_a_name_with_any_private_address_is_refused(addresses: tuple[str, ...]) -> None:
    with pytest.raises(EgressRefusedError, match=r"add tool\.example:443") as caught:
        resolved("tool.example", 443, *addresses)
    # Nobody maps the inner network by the error.
    assert not any(address in str(caught.value) for address in addresses)


def test_a_name_is_connected_to_where_it_was_checked() -> None:
    assert resolved("tool.example", 443, "93.184.216.34") == ["93.184.216.34"]
    assert resolved("tools.internal", 8080, "10.0.0.5") == ["10.0.0.5"]
