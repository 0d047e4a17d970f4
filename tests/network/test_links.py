"""Links do to connections what they say, and undo it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from service.devstack.ports import choose_ports
from service.settings import load_settings
from tests.client import wait_for
from tests.network.client import Network, Way
from tests.network.link import Commits, State
from tests.stack_fixture import StackUnderTest


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network without links."""
    with Network(tmp_path_factory.mktemp("network") / "log") as network:
        yield network


class Echo:
    """A server that says everything again."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1000):
                connection.sendall(data)


@pytest.fixture
def port(network: Network, request: pytest.FixtureRequest) -> Iterator[int]:
    """Where a link `test>echo` of the test's own listens."""
    with closing(Echo()) as echo:
        chosen = choose_ports(["link"], {})["link"]
        network.open([Way("test>echo", chosen, echo.port)])
        yield chosen


def said(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    return connection.recv(1000)


def test_what_is_cut_is_refused_until_it_is_mended(network: Network, port: int) -> None:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    assert said(connection, b"a") == b"a"
    # when the link is cut, the connection ends, and a new one does too
    network.become(["test>echo"], State(cut=True))
    with connection, pytest.raises(ConnectionError):
        assert said(connection, b"b") == b""
        raise ConnectionError
    # when it is mended, a new one works
    network.become(["test>echo"], State())
    with socket.create_connection(("127.0.0.1", port), timeout=5) as another:
        assert said(another, b"c") == b"c"


def test_what_is_silent_comes_late_and_whole(network: Network, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        assert said(connection, b"a") == b"a"
        network.become(["test>echo"], State(silent=True))
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            said(connection, b"b")
        network.become(["test>echo"], State())
        connection.settimeout(5)
        assert connection.recv(10) == b"b"


def test_what_is_slow_takes_its_time_each_way(network: Network, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        network.become(["test>echo"], State(delay_seconds=0.2))
        began = time.monotonic()
        assert said(connection, b"a") == b"a"
        assert time.monotonic() - began >= 0.4


@pytest.mark.parametrize(("commits", "kept"), [(Commits.UNSENT, 0), (Commits.UNANSWERED, 1)])
def test_a_commit_is_lost_before_or_after_it_was_done(
    network: Network, stack: StackUnderTest, commits: Commits, kept: int
) -> None:
    # given a transaction through a link to PostgreSQL
    dsn = psycopg2.extensions.parse_dsn(load_settings(stack.environment).owner_url)
    table = f"commits_{commits.value}"
    with closing(psycopg2.connect(**dsn)) as direct, direct.cursor() as cursor:
        direct.autocommit = True
        cursor.execute(f"CREATE TABLE {table} (n int)")
        chosen = choose_ports(["link"], {})["link"]
        network.open([Way(f"{commits}>postgres", chosen, int(dsn["port"]))])
        through = psycopg2.connect(**{**dsn, "host": "127.0.0.1", "port": chosen})
        with closing(through), through.cursor() as writing:
            writing.execute(f"INSERT INTO {table} VALUES (1)")
            # when the COMMIT is cut
            network.become([f"{commits}>postgres"], State(commits=commits))
            with pytest.raises(psycopg2.OperationalError):
                through.commit()
        # then the client cannot tell which of the two it was, and they differ

        def settled() -> bool:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO commits_%'")
            return cursor.fetchone() == (0,)

        wait_for(settled, 10)
        cursor.execute(f"SELECT count(*) FROM {table}")
        assert cursor.fetchone() == (kept,)
        cursor.execute(f"DROP TABLE {table}")
    assert network.look()[f"{commits}>postgres"]["cut_commits"] == 1
