"""The egress guard: where tools may be called. Packs are data of tenants, so a URL in them is not trusted.

https to public addresses is allowed; whatever else is needed is listed as `host:port` in the settings.
The guard checks twice: the URL as it is written, and each address its name resolves to, which is then
the one connected to, so a name that changes its address between check and connection gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from service.errors import PermanentError

Address = IPv4Address | IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class EgressRefusedError(PermanentError):
    """A tool's URL leads where this installation does not allow."""

    def __init__(self, cause: str, origin: str | None = None) -> None:
        remedy = f"; if it may be called, add {origin} to SENTINAI_EGRESS_ALLOW" if origin else ""
        super().__init__(f"{cause}{remedy}")


class EgressGuard:
    """Decides where a tool may be called."""

    def __init__(self, allow: Iterable[str] = ()) -> None:
        """`allow`: `host:port` pairs that may be private addresses and plain http; IPv6 as `[::1]:8080`."""
        self._allowed = frozenset(entry.lower() for entry in allow)

    def checked(self, url: str) -> URL:
        """The parsed URL. Raises EgressRefusedError, naming what to do, when it must not be called."""
        try:
            parsed = URL(url)
            host, port = parsed.raw_host, parsed.port
        except ValueError:
            raise EgressRefusedError("its URL cannot be read; correct it in the pack") from None
        if parsed.scheme not in _DEFAULT_PORTS or not host or port is None:
            raise EgressRefusedError("its URL is not http(s)://host/…; correct it in the pack")
        if parsed.raw_user or parsed.raw_password:
            raise EgressRefusedError("its URL carries credentials; take them out of the pack")
        if self._listed(host, port):
            return parsed
        if parsed.scheme != "https":
            raise EgressRefusedError("plain http is not allowed", _origin(host, port))
        literal = _literal(host)
        if literal is not None:
            self.check_address(host, port, literal)
        return parsed

    def check_address(self, host: str, port: int, address: Address) -> None:
        """Raise EgressRefusedError when `host`, which has this address, must not be connected to."""
        if not self._listed(host, port) and not is_public(address):
            raise EgressRefusedError(f"{host} has the address {address}, which is not public", _origin(host, port))

    def _listed(self, host: str, port: int) -> bool:
        return _origin(host, port) in self._allowed


class GuardedResolver(AbstractResolver):
    """Resolves names for aiohttp's connector, which connects to exactly the addresses this returns."""

    def __init__(self, guard: EgressGuard, resolver: AbstractResolver | None = None) -> None:
        """Needs a running event loop unless a resolver is given."""
        self._guard = guard
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises EgressRefusedError when any of them must not be connected to."""
        found = await self._resolver.resolve(host, port, family)
        for result in found:
            self._guard.check_address(host, port, ipaddress.ip_address(result["host"]))
        return found

    async def close(self) -> None:
        """Release the resolver."""
        await self._resolver.close()


def is_public(address: Address) -> bool:
    """Whether an address is one of the public Internet, also when it is an IPv4 address written as IPv6."""
    if isinstance(address, IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def _literal(host: str) -> Address | None:
    """The address that a host is already; None for a name. Raises EgressRefusedError for disguised spellings."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        socket.inet_aton(host)
    except (OSError, UnicodeError):
        return None
    raise EgressRefusedError(f"{host} is an unusual spelling of an address; write it with four decimal numbers")


def _origin(host: str, port: int) -> str:
    name = host.lower().rstrip(".")
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
