"""Exchange types. kombu's, with AMQP's meaning of ``#`` (zero or more words, also right after a dot)."""

from __future__ import annotations

import re

from kombu.transport.virtual import exchange


class TopicExchange(exchange.TopicExchange):
    """Routes by words: ``*`` is one word, ``#`` any number of words, none included."""

    def key_to_pattern(self, rkey: str) -> str:
        """Return the regular expression of a binding key."""
        pattern, separator = "", ""
        for word in rkey.split("."):
            if word == "#":
                pattern += r"(?:%s[^.]*(?:\.[^.]*)*)?" % separator  # noqa: UP031 - braces would need doubling
                separator = separator or r"(?:^|\.)"
            else:
                pattern += separator + ("[^.]+" if word == "*" else re.escape(word))
                separator = r"\."
        return f"^{pattern}$"


EXCHANGE_TYPES = {
    "direct": exchange.DirectExchange,
    "topic": TopicExchange,
    "fanout": exchange.FanoutExchange,
}
