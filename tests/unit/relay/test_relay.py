"""When the cursor moves, and when it does not: the relay between a log and a Kafka that are played."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any, cast

import pytest

from service.persistence.database import DatabaseUnavailableError
from service.relay import relay as relay_module
from service.relay.cloudevents import LoggedEvent, Record
from service.relay.log import BEGINNING, EventLog, Snapshot, Window
from service.relay.publisher import KafkaUnavailableError, Publisher, StoppedError
from service.relay.relay import Relay
from tests.unit.relay.test_cloudevents import EVENT


@dataclass
class PlayedLog:
    """A log with some events after its cursor."""

    events: list[LoggedEvent]
    stopping: Event
    cursors: list[Snapshot] = field(default_factory=list)
    closed: int = 0

    def try_to_lead(self) -> bool:
        return True

    def cursor(self) -> Snapshot:
        return self.cursors[-1] if self.cursors else BEGINNING

    def now(self) -> Snapshot:
        return Snapshot(100)

    @contextmanager
    def window(self, cursor: Snapshot) -> Iterator[Window]:
        assert cursor == self.cursor()
        yield Window(Snapshot(100), iter([self.events] if self.events else []))

    def advance(self, cursor: Snapshot) -> None:
        self.cursors.append(cursor)
        self.stopping.set()

    def close(self) -> None:
        self.closed += 1


@dataclass
class PlayedPublisher:
    """A publisher whose confirmation is scripted."""

    confirmation: Callable[[], None]
    sent: list[tuple[str, Record]] = field(default_factory=list)
    abandoned: bool = False

    def send(self, topic: str, record: Record) -> None:
        self.sent.append((topic, record))

    def confirm(self) -> None:
        self.confirmation()

    def abandon(self) -> None:
        self.abandoned = True


def confirmed() -> None:
    pass


@dataclass
class Play:
    """A relay on a played log, with one publisher per attempt."""

    log: PlayedLog
    publishers: list[PlayedPublisher]
    relay: Relay
    opened: list[PlayedPublisher] = field(default_factory=list)


def play(*confirmations: Callable[[], None], events: tuple[LoggedEvent, ...] = (EVENT,)) -> Play:
    stopping = Event()
    log = PlayedLog(list(events), stopping)
    publishers = [PlayedPublisher(confirmation) for confirmation in confirmations]
    opened = iter(publishers)
    relay = Relay(
        open_log=lambda: cast(EventLog, log),
        open_publisher=lambda: cast(Publisher, next(opened)),
        stopping=stopping,
    )
    return Play(log, publishers, relay)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "FIRST_BACKOFF_SECONDS", 0.01)


def test_the_cursor_moves_when_the_window_is_confirmed() -> None:
    scene = play(confirmed)
    scene.relay.run()
    assert [topic for topic, _ in scene.publishers[0].sent] == ["exceptions.events"]
    assert scene.log.cursors == [Snapshot(100)]


@pytest.mark.parametrize("outage", [KafkaUnavailableError("away"), DatabaseUnavailableError("away")], ids=type)
def test_an_unconfirmed_window_is_published_again_by_a_new_publisher(outage: Exception) -> None:
    # given a first attempt that breaks before the confirmation
    def breaks() -> None:
        assert scene.log.cursors == []
        raise outage

    scene = play(breaks, confirmed)
    # when the relay runs
    scene.relay.run()
    # then the first publisher's records are dropped, the session ended, and everything is sent again
    first, second = scene.publishers
    assert first.abandoned
    assert scene.log.closed == 2
    assert second.sent == first.sent
    assert scene.log.cursors == [Snapshot(100)]


def test_a_stopped_relay_leaves_the_unconfirmed_to_its_successor() -> None:
    def stopped() -> None:
        scene.relay.stopping.set()
        raise StoppedError

    scene = play(stopped)
    scene.relay.run()
    assert scene.log.cursors == []
    assert scene.publishers[0].abandoned


def test_a_dead_letter_goes_to_both_topics() -> None:
    scene = play(confirmed, events=(EVENT._replace(type="DeadLettered", data='{"errorClass": "X"}'),))
    scene.relay.run()
    assert [topic for topic, _ in scene.publishers[0].sent] == ["exceptions.events", "exceptions.dlq"]


def test_an_empty_window_moves_no_cursor() -> None:
    # a moved cursor is a commit itself: an idle relay would keep itself busy for ever
    scene = play(confirmed, events=())
    looks: list[Any] = []

    def now() -> Snapshot:
        looks.append(1)
        if len(looks) == 3:
            scene.relay.stopping.set()
        return Snapshot(100)

    scene.log.now = now  # type: ignore[method-assign]
    scene.log.window = lambda cursor: PlayedLog([], scene.relay.stopping).window(BEGINNING)  # type: ignore[method-assign]
    scene.relay.run()
    assert scene.log.cursors == []
