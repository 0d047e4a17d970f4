"""What failures have in common: the pattern of a message, and the signature of a failure. Pure.

A message names the one exception that failed: ids, amounts, dates, values. Its pattern has placeholders there, so
that ten thousand failures of one cause have one pattern, and failures of different causes stay apart. What decides
the cause stays: the words, an HTTP status, a tool's own error code, and what the error says are names of the pack.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from hashlib import blake2b

LONGEST_PATTERN = 500
"""In characters. Messages that differ only behind it are one cause."""

LONGEST_MESSAGE = 2_000
"""In characters: what is read of a message, and kept of it."""

_PATTERNS_REMEMBERED = 1_024
"""Failures of one cause come many at once, and mostly in the same words."""
_SIGNATURE_BYTES = 8

_PARTS = (
    # What stays as it is, told apart here so that nothing below takes it for a value. Plain words come first, many at
    # once: most of a message is that, and nothing else has to be looked for in them.
    ("", r"(?:(?<!\w)(?!(?:answered|status|HTTP|refused)\b)[A-Za-z]+(?:[\s;,()]+|$))+"),
    ("", r"<[a-z]+>"),
    ("", r"\b(?:answered|status|HTTP) \d{3}\b"),
    ("", r"\brefused the item \([A-Za-z][\w.-]{0,63}\)"),
    ("quoted", r"""(?<!\w)(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")(?!\w)"""),
    ("url", r"\b[A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s'\"<>]+"),
    ("email", r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"),
    ("uuid", r"\b[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\b"),
    ("time", r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?(?!\w)"),
    ("time", r"\b\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?\b"),
    ("iban", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"),
    ("hex", r"\b0[xX][0-9A-Fa-f]+\b"),
    ("index", r"\[\d+\]"),
    # A word of letters and digits, not `sha256` or `e2e`: at least two digits in six characters.
    ("id", r"\b(?=[^\W_]*[A-Za-z])(?=(?:[A-Za-z_-]*\d){2})\w[\w-]{5,}\b"),
    ("number", r"(?<![\w<])[+-]?\d+(?:[.,:]\d+)*(?:[eE][+-]?\d+)?(?!\w)%?"),
)
_NAMES = tuple(name for name, _ in _PARTS)
_ANY = re.compile("|".join(f"({expression})" for _, expression in _PARTS))
_SPACE = re.compile(r"\s+")


def pattern(message: str, names: Collection[str] = ()) -> str:
    """The message with placeholders for what is only true of one exception. At most LONGEST_PATTERN characters.

    `names`: what belongs to the cause although the message quotes it, e.g. the tool or a pack's condition. The
    pattern of a pattern is itself.
    """
    return _pattern(message[:LONGEST_MESSAGE], tuple(names))


@lru_cache(maxsize=_PATTERNS_REMEMBERED)
def _pattern(message: str, names: tuple[str, ...]) -> str:
    kept = frozenset(repr(name) for name in names)

    def placeholder(found: re.Match[str]) -> str:
        name, text = _NAMES[(found.lastindex or 1) - 1], found[0]
        return text if not name or text in kept else f"<{name}>"

    reached = _plain(message)
    # What is put in or cut off may bring together what was apart. It ends, for each round takes digits or marks away.
    while (further := _plain(_ANY.sub(placeholder, reached)[:LONGEST_PATTERN])) != reached:
        reached = further
    return reached


def signature(stage: str, error_class: str, message_pattern: str, tool: str | None) -> str:
    """What failures of one cause share, as 16 hexadecimal digits."""
    parts = "\x1f".join((stage, error_class, message_pattern, tool or ""))
    return blake2b(parts.encode("utf-8", "replace"), digest_size=_SIGNATURE_BYTES).hexdigest()


def _plain(text: str) -> str:
    return _SPACE.sub(" ", text).strip()
