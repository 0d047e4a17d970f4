"""Request bodies made of the stack's samples, each item with a value of its own, at the price of a join."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import orjson

_MARK = b"@bench-number@"
FIELD = "benchReference"
"""Added to each item's rawPayload, so that no two payloads are equal."""


class Bodies:
    """Bodies of one sample. May be shared by threads."""

    def __init__(self, sample: Mapping[str, Any]) -> None:
        payload = {**sample["rawPayload"], FIELD: _MARK.decode()}
        self._head, self._tail = orjson.dumps({**sample, "rawPayload": payload}).split(_MARK)
        self._numbers = itertools.count(1)

    def one(self) -> bytes:
        """A body for POST /exceptions."""
        return self._head + b"%d" % next(self._numbers) + self._tail

    def many(self, items: int) -> bytes:
        """A body for POST /exceptions/batch."""
        return b'{"items":[' + b",".join(self.one() for _ in range(items)) + b"]}"
