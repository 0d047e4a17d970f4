"""The breaker before PostgreSQL: nobody asks in vain, one look finds out, and only an outage opens it."""

from __future__ import annotations

import pytest

from service.persistence.outages import LOOK_SECONDS, DatabaseUnavailableError, OutageBreaker, TransactionAbortedError
from service.persistence.sqlstates import Trouble, is_read_only, trouble


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Server:
    """PostgreSQL as the breaker meets it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.breaker = OutageBreaker(open_seconds=0.5, clock=self.clock)
        self.away = False
        self.asked = 0

    def work(self, failure: Exception | None = None) -> None:
        """One transaction."""
        with self.breaker.guarding():
            self.asked += 1
            if failure is not None:
                raise failure
            if self.away:
                raise DatabaseUnavailableError("no route")

    def fails(self) -> bool:
        """Whether a transaction finds it away."""
        try:
            self.work()
        except DatabaseUnavailableError:
            return True
        return False


def test_while_it_is_away_nobody_asks_but_one_look_at_a_time() -> None:
    # given a server that went away
    server = Server()
    server.away = True
    assert server.fails()
    # when much work comes at once
    assert all(server.fails() for _ in range(100))
    # then none of it asked the server
    assert server.asked == 1
    # when half a second is over
    server.clock.now += 0.5
    # then one looks, and the others do not
    assert all(server.fails() for _ in range(100))
    assert server.asked == 2


def test_the_first_look_that_is_answered_lets_everybody_through() -> None:
    # given a server that was away and is back
    server = Server()
    server.away = True
    assert server.fails()
    server.away = False
    server.clock.now += 0.5
    # when one look is answered
    server.work()
    # then all others ask at once
    for _ in range(10):
        server.work()
    assert server.asked == 12


def test_a_look_that_hangs_keeps_nobody_from_looking_for_ever() -> None:
    # given a look whose connection hangs
    server = Server()
    server.away = True
    assert server.fails()
    server.clock.now += 0.5
    with server.breaker.guarding():
        assert server.fails()
        assert server.asked == 1
        # when it has hung for long
        server.clock.now += LOOK_SECONDS
        # then somebody else looks
        assert server.fails()
        assert server.asked == 2


@pytest.mark.parametrize("failure", [TransactionAbortedError("deadlock"), ValueError("a fault of ours")])
def test_what_comes_from_a_server_that_answers_opens_nothing(failure: Exception) -> None:
    server = Server()
    with pytest.raises(type(failure)):
        server.work(failure)
    server.work()
    assert server.asked == 2


def test_a_fault_during_the_look_is_an_answer_too() -> None:
    server = Server()
    server.away = True
    assert server.fails()
    server.clock.now += 0.5
    with pytest.raises(ValueError, match="ours"):
        server.work(ValueError("ours"))
    server.away = False
    server.work()


def test_people_are_told_what_was_found_not_that_nobody_asked() -> None:
    server = Server()
    server.away = True
    assert server.fails()
    with pytest.raises(DatabaseUnavailableError, match="no route"):
        server.work()


@pytest.mark.parametrize(
    ("sqlstate", "expected"),
    [
        (None, Trouble.AWAY),
        ("08006", Trouble.AWAY),
        ("08007", Trouble.AWAY),
        ("25006", Trouble.AWAY),
        ("53100", Trouble.AWAY),
        ("53200", Trouble.AWAY),
        ("53300", Trouble.AWAY),
        ("57P01", Trouble.AWAY),
        ("57P02", Trouble.AWAY),
        ("57P03", Trouble.AWAY),
        ("58030", Trouble.AWAY),
        ("40001", Trouble.ABORTED),
        ("40P01", Trouble.ABORTED),
        ("55P03", Trouble.ABORTED),
        ("57014", Trouble.ABORTED),
        ("22P02", Trouble.FAULT),
        ("23505", Trouble.FAULT),
        ("40002", Trouble.FAULT),
        ("42501", Trouble.FAULT),
        ("54000", Trouble.FAULT),
        ("57000", Trouble.FAULT),
        ("XX000", Trouble.FAULT),
    ],
)
def test_the_servers_code_says_what_became_of_the_transaction(sqlstate: str | None, expected: Trouble) -> None:
    assert trouble(sqlstate) is expected
    assert is_read_only(sqlstate) == (sqlstate == "25006")
