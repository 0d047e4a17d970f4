"""The egress guard: where tools may be called. Packs are data of tenants, so what they name is not trusted.

Everything that goes out passes here, of whatever kind. It has to get past four checks:
1. the text: hosts that can be read in two ways, credentials and anything but http(s) are refused;
2. the lists: what the operator allows at all, and what the tenant's own pack allows of it;
3. the addresses: every one that the name has must be public, or listed by the operator, and the connection is
   made to one of exactly these, so that a name which changes between check and connection gains nothing;
4. the socket: just before it connects, once more, whatever brought it there.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from service.domain.packs.models import TenantPack
from service.errors import PermanentError, TransientError
from service.tools.addresses import Address, StrangeHostError, is_public, literal, normal_host, origin

_DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"(?i:https?)://([^/?#]*)")
_UNWANTED = re.compile(r"[\x00-\x20\x7f\\]")


class EgressRefusedError(PermanentError):
    """A tool's URL leads where this installation, or the tenant's pack, does not allow."""

    def __init__(self, cause: str, remedy: str | None = None) -> None:
        super().__init__(f"{cause}; {remedy}" if remedy else cause)


class NameUnknownError(TransientError):
    """A name has no address right now."""

    def __init__(self, host: str) -> None:
        super().__init__(f"the name {host} has no address")


@dataclass(frozen=True, slots=True)
class HostPattern:
    """An entry of an allow list: `host`, `host:port`, `host:*`, with `*.` before it for every name below."""

    host: str
    below: bool
    port: int | None
    """None: any; 0: the default port of what is spoken there."""

    @classmethod
    def of(cls, text: str) -> HostPattern:
        """Read an entry. Raises ValueError."""
        below = text.startswith("*.")
        rest = text.removeprefix("*.")
        host, colon, port = rest.rpartition(":")
        if not colon or (rest.startswith("[") and rest.endswith("]")):
            host, port = rest, ""
        number = None if port == "*" else int(port or 0)
        if number is not None and not (0 <= number <= 65535):
            raise ValueError(f"{text!r} has no port")
        return cls(normal_host(host.removeprefix("[").removesuffix("]")), below, number)

    def matches(self, host: str, port: int, default_port: int | None) -> bool:
        """Whether a normal host and a port are what is meant."""
        named = host.endswith(f".{self.host}") if self.below else host == self.host
        return named and self.port in (None, port, 0 if port == default_port else port)


@dataclass(frozen=True, slots=True)
class EgressRules:
    """What one tenant's pack allows. The operator's settings stand above it."""

    hosts: tuple[HostPattern, ...] | None = None
    """None: the pack has no list, and its tools' own endpoints are what it allows."""
    plain_http: bool = True
    """Whether an http:// endpoint of the pack may be called where the operator allows it."""

    @classmethod
    def of(cls, allow_hosts: Iterable[str] | None, allow_http: bool) -> EgressRules:
        """The rules of a pack's `egress`. An entry that is no host allows nothing."""
        return cls(None if allow_hosts is None else tuple(_readable(allow_hosts)), allow_http)


NO_RULES = EgressRules()


def rules_of(pack: TenantPack) -> EgressRules:
    """The rules that a tenant's pack has."""
    return NO_RULES if pack.egress is None else EgressRules.of(pack.egress.allowHosts, pack.egress.allowHttp)


class EgressGuard:
    """Decides where tools may be called."""

    def __init__(self, allow: Iterable[str] = (), hosts: Iterable[str] = (), *, require_list: bool = False) -> None:
        """The operator's settings.

        `allow`: `host:port` pairs that may be private addresses and plain http; IPv6 as `[::1]:8080`.
        `hosts`: the most that any tenant may call beside these, as patterns; empty: everything public.
        `require_list`: tenants whose pack has no list of its own may call nothing.
        """
        self._allowed = frozenset(_normal_origin(entry) for entry in allow)
        self._hosts = tuple(HostPattern.of(entry) for entry in hosts)
        self._require_list = require_list
        self._admitted: set[tuple[Address, int]] = set()

    def checked(self, url: str, rules: EgressRules = NO_RULES) -> URL:
        """The parsed URL. Raises EgressRefusedError, naming what to do, when it must not be called."""
        authority = _AUTHORITY.match(url)
        if authority is None:
            raise EgressRefusedError("its URL is not http(s)://host/…; correct it in the pack")
        if "@" in authority[1]:
            raise EgressRefusedError("its URL carries credentials; take them out of the pack")
        if _UNWANTED.search(url) or "%" in authority[1]:
            raise EgressRefusedError("its URL has characters that no host can have; correct it in the pack")
        try:
            parsed = URL(url)
            host, port = parsed.raw_host, parsed.port
        except ValueError:
            raise EgressRefusedError("its URL cannot be read; correct it in the pack") from None
        if parsed.scheme not in _DEFAULT_PORTS or not host or not port or not authority[1].isascii():
            raise EgressRefusedError("its URL has no usable host; write names in punycode (xn--…)")
        normal = self.endpoint(host, port, encrypted=parsed.scheme == "https", rules=rules)
        return parsed if normal == host else parsed.with_host(normal)

    def endpoint(
        self,
        host: str,
        port: int,
        *,
        encrypted: bool,
        rules: EgressRules = NO_RULES,
        default_port: int | None = None,
    ) -> str:
        """The host to resolve and to name in TLS. Raises EgressRefusedError when it must not be connected to.

        For what has no URL, such as SMTP; `default_port` is what a list's entry without a port means there.
        """
        try:
            normal = normal_host(host)
        except StrangeHostError as error:
            raise EgressRefusedError(f"{error}; correct it in the pack") from None
        default = default_port or _DEFAULT_PORTS["https" if encrypted else "http"]
        self._check_lists(normal, port, default, rules)
        if not encrypted and not self._listed(normal, port):
            raise EgressRefusedError("plain http is not allowed", _operators_remedy(normal, port))
        if not encrypted and not rules.plain_http:
            raise EgressRefusedError("plain http is not allowed", "set egress.allowHttp in the tenant pack")
        address = literal(normal)
        if address is not None:
            self.check_address(normal, port, address)
        return normal

    def check_address(self, host: str, port: int, address: Address) -> None:
        """Raise EgressRefusedError when `host`, which has this address, must not be connected to."""
        if is_public(address):
            return
        if not self._listed(host, port):
            # Not which: whoever writes packs could map the network behind this installation.
            raise EgressRefusedError(f"{host} has an address that is not public", _operators_remedy(host, port))
        self._admitted.add((address, port))

    def open_socket(self, info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        """A socket for one entry of getaddrinfo, unless it leads where no check has allowed. The last gate."""
        family, kind, protocol, _, where = info
        address = ip_address(where[0])
        if not is_public(address) and (address, where[1]) not in self._admitted:
            raise EgressRefusedError(f"a connection to {address} was about to be made, which nothing allowed")
        return socket.socket(family, kind, protocol)

    def addresses(self, host: str, port: int) -> Sequence[tuple[Any, Any, int, str, tuple[Any, ...]]]:
        """Where to connect for a host that `endpoint` gave, as getaddrinfo has it: connect to these, not to the name.

        Blocks while the name is looked up. Raises NameUnknownError, EgressRefusedError when any address is refused.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            raise NameUnknownError(host) from None
        for *_, where in found:
            self.check_address(host, port, ip_address(where[0]))
        return found

    def _check_lists(self, host: str, port: int, default_port: int, rules: EgressRules) -> None:
        open_to_all = not self._hosts or self._listed(host, port)
        if not open_to_all and not any(pattern.matches(host, port, default_port) for pattern in self._hosts):
            raise EgressRefusedError(f"{origin(host, port)} is not among SENTINAI_EGRESS_HOSTS")
        if rules.hosts is None:
            if self._require_list:
                raise EgressRefusedError("the tenant pack has no egress.allowHosts", "list its tools' hosts there")
        elif not any(pattern.matches(host, port, default_port) for pattern in rules.hosts):
            raise EgressRefusedError(f"{origin(host, port)} is not in the tenant pack's egress.allowHosts")

    def _listed(self, host: str, port: int) -> bool:
        return origin(host.lower().removesuffix("."), port) in self._allowed


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
            self._guard.check_address(host, port, ip_address(result["host"]))
        return found

    async def close(self) -> None:
        """Release the resolver."""
        await self._resolver.close()


def _readable(entries: Iterable[str]) -> Iterable[HostPattern]:
    for entry in entries:
        with suppress(ValueError):
            yield HostPattern.of(entry)


def _normal_origin(entry: str) -> str:
    pattern = HostPattern.of(entry)
    if pattern.below or not pattern.port:
        raise ValueError(f"{entry!r} is no host:port")
    return origin(pattern.host, pattern.port)


def _operators_remedy(host: str, port: int) -> str:
    return f"if it may be called, add {origin(host, port)} to SENTINAI_EGRESS_ALLOW"
