"""A TCP way to a server that a test can cut and mend."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class SeverableWay:
    """Listens on a port of its own and passes bytes on, until it is cut. A context manager."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._cut = False
        self._words: bytes | None = None
        self._passing_on = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> SeverableWay:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """End every connection, and take no new one."""
        with self._lock:
            self._cut, self._words = True, None
            for one in self._open:
                _end(one)
            self._open.clear()

    def cut_at(self, words: bytes, *, passing_on: bool) -> None:
        """Cut as soon as a client has sent these words, with or without their reaching the server.

        If they do, the server has worked them when the client learns that nobody knows.
        """
        with self._lock:
            self._words, self._passing_on = words, passing_on

    def mend(self) -> None:
        """Take connections again."""
        with self._lock:
            self._cut, self._words = False, None

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._cut:
                    _end(near)
                    continue
                far = socket.create_connection(self._target)
                self._open += [near, far]
            threading.Thread(target=self._pass_on, args=(near, far), daemon=True).start()
            threading.Thread(target=_pass_back, args=(far, near), daemon=True).start()

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                if self._words is not None and self._words in data:
                    self._cut_with(data, near, far)
                    return
                far.sendall(data)
        _end(near)
        _end(far)

    def _cut_with(self, data: bytes, near: socket.socket, far: socket.socket) -> None:
        """Cut; of what was under way, only these bytes still reach the server, if they shall."""
        with self._lock:
            self._open.remove(far)
        if not self._passing_on:
            _end(far)
        # All others and the client first: once it knows, the way may be mended.
        self.cut()
        with contextlib.suppress(OSError):
            far.sendall(data)
            # An answer, or the end of the connection because the other thread had it: what it was told is done.
            far.recv(65536)
        _end(far)


def _pass_back(far: socket.socket, near: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := far.recv(65536):
            near.sendall(data)
    _end(near)
    _end(far)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
