"""One way to PostgreSQL that a test can cut and mend, and that can lose a COMMIT."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from service.devstack.ports import choose_ports
from tests.network.client import Network, Way
from tests.network.link import Commits, State

_NAME = "test>postgres"


class SeverableWay:
    """A way to a database by another URL."""

    def __init__(self, network: Network, url: str) -> None:
        self.url = url
        """The database's, over this way."""
        self._network = network

    def cut(self) -> None:
        """End every connection, and take no new one."""
        self._network.become([_NAME], State(cut=True))

    def lose_commits(self, *, arriving: bool) -> None:
        """End each connection in the middle of its COMMIT, which reaches the server or does not."""
        self._network.become([_NAME], State(commits=Commits.UNANSWERED if arriving else Commits.UNSENT))

    def mend(self) -> None:
        """Be a way as any other again."""
        self._network.become([_NAME], State())


@contextmanager
def severable_way(database_url: str, log: Path) -> Iterator[SeverableWay]:
    """Make a way to a database of this machine; its process writes into `log`."""
    parts = urlsplit(database_url)
    login, _, _ = parts.netloc.rpartition("@")
    port = choose_ports([_NAME], {})[_NAME]
    with Network(log) as network:
        network.open([Way(_NAME, port, parts.port or 5432)])
        yield SeverableWay(network, urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}")))
