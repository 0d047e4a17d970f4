"""Exchanges and bindings that all processes share: as values, as log records, and as the table they add up to. Pure.

A record says what is true from now on about one exchange or one binding; a record without a value says that it is
gone. The newest record of a key counts, so a compacted topic keeps the whole truth. One exception: a record that
would turn an existing exchange into a different one changes nothing. So of two processes that declare at the same
time the first in the log wins, and the other, which reads on, sees that it has lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..channels.exchanges import PREDECLARED, TYPES, has_wildcard, pattern_of

FORMAT = 1
"""Version of the records' values. Records of a later one are skipped and counted."""
_ROUTES_KEPT = 10_000
"""Routing keys whose queues are remembered, over all exchanges."""

Change = tuple[bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange as it was declared."""

    name: str
    type: str
    durable: bool = True
    auto_delete: bool = False
    arguments: str = "{}"
    """Canonical JSON."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A queue takes what an exchange gets under routing keys that match."""

    exchange: str
    routing_key: str
    queue: str


@dataclass(frozen=True, slots=True)
class Route:
    """A queue that takes a message."""

    queue: str
    varies: bool
    """Only wildcards matched: the routing key says something about the message, not just about the queue."""


def exchange_of(
    name: str, type: str, durable: bool = True, auto_delete: bool = False, arguments: Mapping[str, Any] | None = None
) -> Exchange:
    """Make the value of a declaration."""
    return Exchange(name, type, bool(durable), bool(auto_delete), _json(arguments or {}).decode())


def present(fact: Exchange | Binding) -> Change:
    """Return the record that says that this exchange or binding exists."""
    told: dict[str, Any] = {"format": FORMAT}
    if isinstance(fact, Exchange):
        told |= {name: value for name, value in asdict(fact).items() if name != "name"}
    return _key(fact), _json(told)


def absent(fact: Exchange | Binding) -> Change:
    """Return the record that says that this exchange or binding is gone."""
    return _key(fact), None


class Table:
    """What the records add up to. Changed by one thread at a time."""

    def __init__(self) -> None:
        self.exchanges: dict[str, Exchange] = {}
        self._bindings: dict[str, dict[Binding, None]] = {}
        self._indexes: dict[str, _Index] = {}
        self._routes: dict[tuple[str, str], tuple[Route, ...]] = {}

    def apply(self, key: bytes | None, value: bytes | None) -> bool:
        """Take a record in. False when it is none that this version knows: then nothing has changed."""
        fact = _read(key, value)
        if fact is None:
            return False
        if isinstance(fact, Binding):
            bound = self._bindings.setdefault(fact.exchange, {})
            bound.pop(fact, None) if value is None else bound.setdefault(fact)
            self._forget_routes(fact.exchange)
        else:
            _ = self.exchanges.pop(fact.name, None) if value is None else self.exchanges.setdefault(fact.name, fact)
            self._forget_routes(fact.name)
        return True

    def route(self, exchange: str, routing_key: str) -> tuple[Route, ...]:
        """Return the queues that take a message, in the order of their names."""
        found = self._routes.get((exchange, routing_key))
        if found is None:
            found = self._index(exchange).route(routing_key)
            if len(self._routes) >= _ROUTES_KEPT:
                del self._routes[next(iter(self._routes))]
            self._routes[exchange, routing_key] = found
        return found

    def remembered(self, exchange: str, routing_key: str) -> tuple[Route, ...] | None:
        """Return what :meth:`route` said, if it did and it is still true. Any thread, without a lock."""
        return self._routes.get((exchange, routing_key))

    def bindings(self, *, exchange: str | None = None, queue: str | None = None) -> list[Binding]:
        """Return the bindings of an exchange, of a queue, or all."""
        tables = self._bindings.values() if exchange is None else [self._bindings.get(exchange, {})]
        return [binding for table in tables for binding in table if queue in (None, binding.queue)]

    def has(self, binding: Binding) -> bool:
        """Tell whether a binding exists."""
        return binding in self._bindings.get(binding.exchange, {})

    def type_of(self, exchange: str) -> str | None:
        """Return an exchange's type; None when there is no such exchange."""
        known = self.exchanges.get(exchange)
        return known.type if known else PREDECLARED.get(exchange)

    def _index(self, exchange: str) -> _Index:
        if exchange not in self._indexes:
            self._indexes[exchange] = _Index(self.type_of(exchange), self.bindings(exchange=exchange))
        return self._indexes[exchange]

    def _forget_routes(self, exchange: str) -> None:
        self._indexes.pop(exchange, None)
        self._routes.clear()


class _Index:
    """One exchange's bindings, arranged for looking up: only wildcards have to be tried one by one."""

    def __init__(self, type: str | None, bindings: list[Binding]) -> None:
        self._all: set[str] = set()
        self._literal: dict[str, set[str]] = {}
        self._wild: list[tuple[re.Pattern[str], str]] = []
        for binding in bindings:
            if type == "fanout":
                self._all.add(binding.queue)
            elif type == "topic" and has_wildcard(binding.routing_key):
                self._wild.append((pattern_of(binding.routing_key), binding.queue))
            elif type is not None:
                self._literal.setdefault(binding.routing_key, set()).add(binding.queue)

    def route(self, routing_key: str) -> tuple[Route, ...]:
        fixed = self._all | self._literal.get(routing_key, set())
        varying = {queue for pattern, queue in self._wild if pattern.fullmatch(routing_key)}
        return tuple(Route(queue, queue not in fixed) for queue in sorted(fixed | varying))


def _key(fact: Exchange | Binding) -> bytes:
    if isinstance(fact, Exchange):
        return _json(["exchange", fact.name])
    return _json(["binding", fact.exchange, fact.routing_key, fact.queue])


def _read(key: bytes | None, value: bytes | None) -> Exchange | Binding | None:
    """Return what a record is about; None when that is unknown here. Without a value only the name is right."""
    try:
        told = json.loads(value) if value is not None else {}
        match json.loads(key or b""):
            case ["exchange", str(name)] if value is None:
                return Exchange(name, "")
            case ["exchange", str(name)] if told["format"] <= FORMAT and told["type"] in TYPES:
                return Exchange(name, told["type"], told["durable"], told["auto_delete"], told["arguments"])
            case ["binding", str(exchange), str(routing_key), str(queue)] if value is None or told["format"] <= FORMAT:
                return Binding(exchange, routing_key, queue)
    except (ValueError, KeyError, TypeError):
        return None
    return None


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()
