"""Finding COMMIT in what a client says to PostgreSQL. Knows of the protocol's framing and of simple queries only.

psycopg2 speaks nothing else, and sends each statement alone; so does the pipeline, which commits by `COMMIT`.
"""

from __future__ import annotations

import struct

_UNTYPED = 4
"""Bytes of an untyped message's length: those before the session begins."""
_REQUESTS = frozenset({80877103, 80877104})
"""For TLS and GSSAPI; each is answered before the next untyped message."""


class CommitFinder:
    """The client's side of one connection."""

    def __init__(self) -> None:
        self._buffer = b""
        self._begun = False

    def feed(self, data: bytes) -> bool:
        """Take what came next; whether a COMMIT was completed by it."""
        self._buffer += data
        found = False
        while (message := self._next()) is not None:
            found = found or message.rstrip(b"\0 ;").upper() == b"COMMIT"
        return found

    def _next(self) -> bytes | None:
        """The text of the next whole query, empty for any other message; None when the message is not whole yet."""
        head = 1 if self._begun else 0
        if len(self._buffer) < head + _UNTYPED:
            return None
        (length,) = struct.unpack_from("!I", self._buffer, head)
        if len(self._buffer) < head + length:
            return None
        message, self._buffer = self._buffer[: head + length], self._buffer[head + length :]
        if not self._begun:
            (code,) = struct.unpack_from("!I", message, _UNTYPED)
            self._begun = code not in _REQUESTS
            return b""
        return message[head + _UNTYPED :] if message[:1] == b"Q" else b""
