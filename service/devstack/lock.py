"""One command at a time may change an instance."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.devstack.errors import StackBusyError


@contextmanager
def exclusive(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock file while the block runs; the kernel frees it if we die.

    Raises StackBusyError, naming the holder, when somebody else has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "another command"
            raise StackBusyError(f"{holder} has this stack in hand; wait for it to end, then try again") from None
        stream.truncate(0)
        stream.write(f"`sentinai stack {doing}` (process {os.getpid()})")
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)
