"""The relay: follows the event log and publishes it, window by window, while it is the leader.

It is never on the path of a stage. Outages of PostgreSQL or Kafka are waited out; whatever was sent but not
confirmed when one began, or when the process was killed, is published again: at least once, and the first
copies always in order.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from threading import Event

from service.errors import InfrastructureUnavailableError
from service.relay.cloudevents import dead_letter_record, event_record, is_dead_letter
from service.relay.log import EventLog, Snapshot, Window
from service.relay.progress import Progress
from service.relay.publisher import Publisher, StoppedError
from service.relay.topics import DEAD_LETTER_TOPIC, EVENTS_TOPIC

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.05
"""Between windows under load, so that a window has many events and one wait for Kafka serves them all."""

IDLE_PAUSE_SECONDS = 0.1
STAND_BY_SECONDS = 0.5
"""How often a stand-by asks whether the leader is gone."""

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 5.0
LONG_ENOUGH_SECONDS = 15.0
"""A session that lasted this long was a success: the next outage begins with the first backoff again."""


@dataclass(frozen=True, slots=True)
class Topics:
    """Where the records go."""

    events: str = EVENTS_TOPIC
    dead_letters: str = DEAD_LETTER_TOPIC


@dataclass(frozen=True, slots=True)
class Relay:
    """Publishes the log whenever it is the leader, until told to stop."""

    open_log: Callable[[], EventLog]
    open_publisher: Callable[[], Publisher]
    """Also makes the topics; raises KafkaUnavailableError when Kafka is away."""
    stopping: Event
    topics: Topics = Topics()

    def run(self) -> None:
        """Relay until `stopping` is set. Raises only what waiting does not mend."""
        backoff = FIRST_BACKOFF_SECONDS
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                self._serve()
            except InfrastructureUnavailableError as error:
                if time.monotonic() - began > LONG_ENOUGH_SECONDS:
                    backoff = FIRST_BACKOFF_SECONDS
                log.warning("relay waits %.1f s: %s", backoff, error)
                self.stopping.wait(backoff)
                backoff = min(2 * backoff, LONGEST_BACKOFF_SECONDS)
            except StoppedError:
                log.warning("relay stops with unconfirmed events; the next leader publishes them again")

    def _serve(self) -> None:
        """One session: stand by, then lead until something breaks."""
        with closing(self.open_log()) as event_log:
            if self._lead_or_stand_by(event_log):
                publisher = self.open_publisher()
                try:
                    self._follow(event_log, publisher)
                finally:
                    publisher.abandon()

    def _lead_or_stand_by(self, event_log: EventLog) -> bool:
        if event_log.try_to_lead():
            log.info("relay leads")
            return True
        log.info("relay stands by: another one leads")
        while not self.stopping.wait(STAND_BY_SECONDS):
            if event_log.try_to_lead():
                log.info("relay leads now: the former leader is gone")
                return True
        return False

    def _follow(self, event_log: EventLog, publisher: Publisher) -> None:
        cursor = event_log.cursor()
        progress = Progress(time.monotonic, time.time)
        while not self.stopping.is_set():
            before = progress.events
            # Nothing was committed since, not even by others: the cheapest way to see that there is nothing.
            if event_log.now() != cursor:
                cursor = self._publish_window(event_log, publisher, cursor, progress)
            progress.report()
            self.stopping.wait(PAUSE_SECONDS if progress.events > before else IDLE_PAUSE_SECONDS)

    def _publish_window(
        self, event_log: EventLog, publisher: Publisher, cursor: Snapshot, progress: Progress
    ) -> Snapshot:
        """Publish one window; the cursor after it."""
        with event_log.window(cursor) as window:
            published = self._send(window, publisher, progress)
        if published:
            publisher.confirm()
            # Only now, and only with events: moving the cursor is itself a commit that the next look would see.
            event_log.advance(window.until)
        return window.until

    def _send(self, window: Window, publisher: Publisher, progress: Progress) -> int:
        sent = 0
        for page in window.pages:
            for event in page:
                publisher.send(self.topics.events, event_record(event))
                if is_dead_letter(event):
                    publisher.send(self.topics.dead_letters, dead_letter_record(event))
            sent += len(page)
            progress.add(len(page), page[-1].microseconds)
        return sent
