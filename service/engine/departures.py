"""Calls under way: a thread for those that left together, and a mailbox for their results that can be changed.

The thread waits for the client; whoever owns the mailbox writes results down. So a batch can stop waiting for its
calls and leave them to another, without a result getting lost in between.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from queue import SimpleQueue
from threading import Lock, Thread

from service.engine.course import Flight
from service.tools.answers import unanswered
from service.tools.calls import PreparedCall, ToolClient, ToolResult
from service.tools.egress import rules_of

log = logging.getLogger(__name__)

Arrivals = list[tuple[Flight, ToolResult]]


class Mailbox(SimpleQueue[Arrivals]):
    """Where results are put by the threads that receive them."""


class Departure:
    """Calls that left together. `mailbox` gets each one's result once, in groups as they arrive."""

    def __init__(self, flights: Sequence[Flight], mailbox: Mailbox) -> None:
        self._flights = {flight.key: flight for flight in flights}
        self._mailbox = mailbox
        self._lock = Lock()

    def calls(self) -> list[PreparedCall]:
        """What the client has to call."""
        return [prepared(flight) for flight in self._flights.values()]

    def deliver(self, group: Sequence[ToolResult]) -> None:
        """Put results into the mailbox."""
        with self._lock:
            self._mailbox.put([(self._flights.pop(result.key), result) for result in group])

    def redirect(self, mailbox: Mailbox) -> list[Flight]:
        """Have what is still to come delivered elsewhere; the flights that is. What was delivered stays delivered."""
        with self._lock:
            self._mailbox = mailbox
            return list(self._flights.values())


def depart(client: ToolClient, flights: Sequence[Flight], mailbox: Mailbox) -> Departure:
    """Make the calls in a thread of their own."""
    departure = Departure(flights, mailbox)
    # A daemon: an ending process waits for landings as long as it was told to, and not for a hanging tool.
    Thread(target=_receive, args=(client, departure), name="tool-results", daemon=True).start()
    return departure


def prepared(flight: Flight) -> PreparedCall:
    """The flight's call as clients take it, with its tenant's rules of where tools may be called."""
    rules = rules_of(flight.course.packs.tenant)
    return PreparedCall(flight.key, flight.reference.tenant_id, flight.call, rules)


def _receive(client: ToolClient, departure: Departure) -> None:
    try:
        for group in client.results(departure.calls()):
            departure.deliver(group)
    except Exception:
        log.exception("a tool client failed with calls under way")
    # Whatever the client did, each call comes to a result: what nothing is known of may have gone out.
    missing = departure.calls()
    if missing:
        departure.deliver([unanswered(call, "the tool client failed", 0.0) for call in missing])
