"""A pipe that wakes the thread that delivers, be it an event loop or a blocking ``drain_events``."""

from __future__ import annotations

import contextlib
import os
import select


class Wakeup:
    """Set from any thread, cleared by the one that delivers.

    The order matters: the one that delivers first drains the pipe, then disarms, then looks for work. Work that is
    put down before ``set`` is then always seen: either the disarming comes later, or the pipe holds a byte.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._armed = False
        self._closed = False

    def fileno(self) -> int:
        """Descriptor that is readable while the wakeup is set."""
        return self._read

    def set(self) -> None:
        """Wake the one that delivers."""
        if self._armed or self._closed:
            return
        self._armed = True
        try:
            os.write(self._write, b"!")
        except BlockingIOError:
            pass
        except OSError:
            if not self._closed:
                raise

    def clear(self) -> None:
        """Drain and disarm; look for work only after this."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        self._armed = False

    def wait(self, timeout: float | None) -> bool:
        """Block until set, at most ``timeout`` seconds; clear it. False when nothing came."""
        poller = select.poll()
        poller.register(self._read, select.POLLIN)
        if not poller.poll(None if timeout is None else max(0, int(timeout * 1000 + 0.999))):
            return False
        self.clear()
        return True

    def close(self) -> None:
        """Close both ends."""
        if not self._closed:
            self._closed = True
            os.close(self._read)
            os.close(self._write)
