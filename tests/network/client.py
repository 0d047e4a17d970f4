"""A network of links in a process of its own, and what a test says to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from service.devstack.waiting import wait_until
from tests.network.link import State

_PROJECT = Path(__file__).resolve().parents[2]
_ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Way:
    """A link to make."""

    name: str
    """`from>to`."""
    port: int
    """Where it listens."""
    target: int
    """The port it leads to."""


class Network:
    """Links between processes of this machine. A context manager; its process is gone afterwards."""

    def __init__(self, log: Path, marker: Mapping[str, str] | None = None) -> None:
        """`marker` is added to the environment of its process, by which it can be found again."""
        # Not in the run's own folder, whose path may be longer than a socket's may be.
        self._folder = tempfile.TemporaryDirectory(prefix="links-")
        self._path = Path(self._folder.name) / "socket"
        self._lock = threading.Lock()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.network.server", str(self._path)],
                cwd=_PROJECT,
                env={**os.environ, **(marker or {})},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def __enter__(self) -> Network:
        wait_until(self._missing, "the network of links", 20)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.kill()
        self._process.wait(10)
        self._folder.cleanup()

    def open(self, ways: Iterable[Way]) -> None:
        """Make links; their servers need not be there yet. Raises OSError when a port is taken."""
        self._ask({"do": "open", "ways": [asdict(way) for way in ways]})

    def become(self, names: Collection[str], state: State) -> None:
        """Change links; returns when all of them are so."""
        self._ask({"do": "become", "names": list(names), "state": asdict(state)})

    def end_connections(self, names: Collection[str]) -> None:
        """End what is open on links; new connections are taken."""
        self._ask({"do": "end", "names": list(names)})

    def look(self) -> dict[str, dict[str, Any]]:
        """The state of every link, its `connections` and `cut_commits`."""
        answer: dict[str, dict[str, Any]] = self._ask({"do": "look"})
        return answer

    def names(self, source: str = "", target: str = "") -> list[str]:
        """Names of the links from and to processes whose names begin so."""
        pairs = [(name, *name.split(">")) for name in self.look()]
        return [name for name, here, there in pairs if here.startswith(source) and there.startswith(target)]

    def _missing(self) -> str | None:
        assert self._process.poll() is None, "the network's process ended"
        try:
            self._ask({"do": "look"})
        except OSError as error:
            return str(error)
        return None

    def _ask(self, request: Mapping[str, Any]) -> Any:
        with self._lock, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            connection.connect(str(self._path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(connection.makefile().readline())
        if "error" in answer:
            raise OSError(answer["error"])
        return answer["ok"]
