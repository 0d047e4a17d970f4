"""What an address is, and what a host may look like. Pure; `egress` decides with it.

A host is refused rather than interpreted when two programs could read it differently: that difference is how a
check and a connection come to mean two machines.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LONGEST_NAME = 253
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")
_QUAD = re.compile(r"(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}")

_NOT_PUBLIC_V4 = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # "this network": Linux takes 0.0.0.0 for the machine itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # CGNAT; also Alibaba Cloud's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host, which looks public and is not
        "169.254.0.0/16",  # link-local; the metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_UNICAST = ip_network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    ip_network(network)
    for network in (
        "2001::/23",  # Teredo, ORCHID, benchmarking and other protocol assignments
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)
_ISATAP = (0x00005EFE, 0x02005EFE)


class StrangeHostError(ValueError):
    """A host that is written in a way that not everybody reads alike; the message says in which."""


def is_public(address: Address) -> bool:
    """Whether an address is an ordinary one of the public Internet.

    An IPv6 address that carries an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo, ISATAP) is not, whatever
    it carries: who wants the IPv4 address can say so.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address.scope_id is not None or address not in _GLOBAL_UNICAST:
        return False
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return False
    return not any(address in network for network in _NOT_PUBLIC_V6)


def literal(host: str) -> Address | None:
    """The address that a normal host is; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def normal_host(host: str) -> str:
    """A host in lower case, without the dot that may end a name. Raises StrangeHostError.

    Takes names in ASCII (others as punycode), four plain decimal numbers, and IPv6 without a zone or brackets.
    """
    if ":" in host:
        return _normal_v6(host)
    if not host.isascii():
        raise StrangeHostError("its host is not ASCII; write it as punycode (xn--…)")
    name = host.lower().removesuffix(".")
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise StrangeHostError("its host is no name and no address")
    if not _NUMBER.fullmatch(name.rsplit(".", 1)[-1]):
        return name
    # What ends in a number is taken for an address by some, in octal, hexadecimal or fewer parts.
    if not _QUAD.fullmatch(name) or host.endswith("."):
        raise StrangeHostError("its host is an unusual spelling of an address; write it with four decimal numbers")
    try:
        return str(IPv4Address(name))
    except ValueError:
        raise StrangeHostError("its host is no address") from None


def _normal_v6(host: str) -> str:
    if "%" in host:
        raise StrangeHostError("its host names a zone of this machine")
    try:
        return str(IPv6Address(host))
    except ValueError:
        raise StrangeHostError("its host is no IPv6 address") from None


def origin(host: str, port: int) -> str:
    """host:port as people and settings write it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
