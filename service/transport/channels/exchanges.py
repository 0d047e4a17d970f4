"""Exchange types: which routing keys a binding takes. Pure.

AMQP's meaning: ``direct`` compares, ``fanout`` takes everything, ``topic`` compares words, where ``*`` is one word and
``#`` any number of words, none included. kombu's own classes are kept for whoever asks a channel for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from kombu.transport.virtual import exchange

TYPES = ("direct", "topic", "fanout")
PREDECLARED: Mapping[str, str] = {f"amq.{kind}": kind for kind in TYPES}
"""Exchanges that AMQP has without a declaration; kombu never declares them."""

Matcher = Callable[[str], bool]


def matcher(type: str, binding_key: str) -> Matcher:
    """Return what tells whether a binding of an exchange of this type takes a routing key."""
    if type == "fanout":
        return lambda _: True
    if type == "topic" and has_wildcard(binding_key):
        pattern = pattern_of(binding_key)
        return lambda routing_key: pattern.fullmatch(routing_key) is not None
    return lambda routing_key: routing_key == binding_key


def has_wildcard(binding_key: str) -> bool:
    """Tell whether a topic exchange's binding key takes more than one routing key."""
    return not {"*", "#"}.isdisjoint(binding_key.split("."))


def pattern_of(binding_key: str) -> re.Pattern[str]:
    """Return the pattern that the whole of a routing key must match."""
    pattern, separator = "", ""
    for word in binding_key.split("."):
        if word == "#":
            pattern += r"(?:%s[^.]*(?:\.[^.]*)*)?" % separator  # noqa: UP031 - braces would need doubling
            separator = separator or r"(?:^|\.)"
        else:
            pattern += separator + ("[^.]+" if word == "*" else re.escape(word))
            separator = r"\."
    return re.compile(pattern)


class TopicExchange(exchange.TopicExchange):
    """kombu's class with AMQP's meaning of ``#``."""

    def key_to_pattern(self, rkey: str) -> str:
        """Return the regular expression of a binding key."""
        return f"^{pattern_of(rkey).pattern}$"


EXCHANGE_TYPES = {
    "direct": exchange.DirectExchange,
    "topic": TopicExchange,
    "fanout": exchange.FanoutExchange,
}
