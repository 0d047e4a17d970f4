"""What an error of PostgreSQL says about PostgreSQL: that it is away, that it gave a transaction up, or neither.

By its SQLSTATE, and not by the driver's classes: these put a full disk, a deadlock and a statement that is too complex
into one, and a read-only replica beside faults of ours. Pure.
"""

from __future__ import annotations

from enum import Enum


class Trouble(Enum):
    """What became of a transaction that failed."""

    AWAY = "away"
    """The server cannot work at the moment, whatever it is asked: it starts, stops, is full, or may not write."""
    ABORTED = "aborted"
    """The server works, and gave this transaction up in favour of others. The same transaction may be worked now."""
    FAULT = "fault"
    """The server works, and the statement is wrong or its data are."""


_AWAY_CLASSES = (
    "08",  # the connection broke, or was refused
    "53",  # disk full, out of memory, too many connections
    "57P",  # an administrator or a crash ended the session; the server starts, stops or recovers
    "58",  # the server's own system failed: a file cannot be read or written
)
_READ_ONLY = "25006"
"""A replica: it was or became one in a failover, and the one that may write is elsewhere."""

_ABORTED = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "40003",  # whether a statement was completed is not known
        "25P03",  # the session was idle in its transaction for too long
        "25P04",  # the transaction took too long
        "55P03",  # a lock was not to be had in time
        "57014",  # cancelled: a time limit, or somebody's pg_cancel_backend
    }
)


def trouble(sqlstate: str | None) -> Trouble:
    """What an SQLSTATE means. None: the driver had no answer from the server, so that is away."""
    if sqlstate is None or sqlstate == _READ_ONLY or sqlstate.startswith(_AWAY_CLASSES):
        return Trouble.AWAY
    return Trouble.ABORTED if sqlstate in _ABORTED else Trouble.FAULT


def is_read_only(sqlstate: str | None) -> bool:
    """Whether the session is with a server that will not write: another connection may be with one that does."""
    return sqlstate == _READ_ONLY
