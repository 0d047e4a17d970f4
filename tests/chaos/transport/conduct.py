"""Conducting a run: start everything, let the plan's faults happen, wait until all is worked, keep what happened."""

from __future__ import annotations

import heapq
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.transport.cluster import cluster_of
from service.transport.inspection.inspector import Inspector
from service.transport.options import Options
from tests.brokers import KafkaCluster
from tests.chaos.transport import journal
from tests.chaos.transport.fleet import Fleet
from tests.chaos.transport.plan import PARTITIONS, PLAIN_QUEUE, TASK_QUEUE, Fault, Kind, Scale, faults, shares

_PAUSE = 0.1
_SAY_EVERY = 5.0
_STUCK_SECONDS = 60.0
"""With nothing worked for this long, the run is over: the verdict will say what is missing."""


@dataclass(frozen=True)
class Run:
    """What is left of a run, for the verdict."""

    folder: Path
    lag: int
    """Unfinished messages in Kafka's own view, at the end."""
    seconds: float


class Conductor:
    """One run on one cluster. `brokers` is the cluster when its nodes may be killed."""

    def __init__(
        self, scale: Scale, servers: str, folder: Path, say: Callable[[str], None], brokers: KafkaCluster | None
    ) -> None:
        self._scale = scale
        self._say = say
        self._brokers = brokers
        prefix = f"chaos{uuid.uuid4().hex[:8]}"
        self._options = {
            "bootstrap_servers": servers,
            "topic_prefix": f"{prefix}-",
            "group_id": prefix,
            "partitions": PARTITIONS,
        }
        self._struck: set[str] = set()
        self._folder = folder
        self._fleet = Fleet(scale, f"kafka://{servers.split(',')[0]}//", self._options, folder)
        self._events = journal.Journal(self._fleet.journals / "events")

    def run(self, limit: float) -> Run:
        """Do everything within `limit` seconds; processes are gone and topics deleted afterwards."""
        began = time.monotonic()
        try:
            for slot in (*self._scale.plain, *self._scale.workers):
                self._fleet.start(slot)
            for share in shares(self._scale):
                self._fleet.publish(share)
            self._wait_for("sent", 1, 60)
            self._let_faults_happen(time.monotonic())
            self._wait_until_worked(began + limit)
            lag = self._lag(deadline=time.monotonic() + 20)
            self._end_in_good_order()
            return Run(self._folder, lag, time.monotonic() - began)
        finally:
            self._fleet.remove()
            self._events.close()
            self._delete_topics()

    # -- faults --------------------------------------------------------------------------------------------------

    def _let_faults_happen(self, start: float) -> None:
        """Begin and end every fault at its time."""
        agenda = [(fault.at, number, True, fault) for number, fault in enumerate(faults(self._scale))]
        heapq.heapify(agenda)
        while agenda:
            at, number, begins, fault = heapq.heappop(agenda)
            self._wait_and_say(start + at)
            if begins and self._must_wait(fault):
                heapq.heappush(agenda, (time.monotonic() - start + 1.0, number, True, fault))
            elif begins:
                self._struck.add(fault.slot)
                self._begin(fault)
                heapq.heappush(agenda, (time.monotonic() - start + fault.lasts, number, False, fault))
            else:
                self._end(fault)
                self._struck.discard(fault.slot)
                self._events.write("ended", number, fault.kind.name)

    def _must_wait(self, fault: Fault) -> bool:
        """Whether an earlier fault of the same slot lasts, or a broker is still catching up.

        Two of three brokers gone would be a fault that no replication survives.
        """
        if fault.kind is Kind.KILL_BROKER and self._brokers is not None:
            down = any(slot.startswith("broker") for slot in self._struck)
            return down or self._brokers.out_of_sync() is not None
        return fault.slot in self._struck

    def _begin(self, fault: Fault) -> None:
        broker = fault.kind is Kind.KILL_BROKER
        victim = fault.slot if broker else self._fleet.incarnation(fault.slot)
        self._say(f"{fault.kind.value}: {victim}")
        self._events.write("fault", fault.kind.name, victim, fault.lasts)
        if fault.kind is Kind.KILL:
            self._fleet.kill(fault.slot)
        elif fault.kind is Kind.TERM:
            self._end_process(fault.slot)
        elif fault.kind is Kind.KILL_CHILD:
            self._fleet.kill_child(fault.slot)
        elif broker and self._brokers is not None:
            self._brokers.kill(int(fault.slot.removeprefix("broker")))
        else:
            self._fleet.send(fault.slot, signal.SIGSTOP)

    def _end(self, fault: Fault) -> None:
        if fault.kind in (Kind.KILL, Kind.TERM):
            self._fleet.start(fault.slot)
        elif fault.kind in (Kind.PAUSE, Kind.FREEZE):
            self._fleet.send(fault.slot, signal.SIGCONT)
        elif fault.kind is Kind.KILL_BROKER and self._brokers is not None:
            self._brokers.start(int(fault.slot.removeprefix("broker")))

    # -- waiting -------------------------------------------------------------------------------------------------

    def _wait_until_worked(self, deadline: float) -> None:
        """Return when every message was worked, or nothing is any more, or time is up."""
        last, last_change = -1, time.monotonic()
        while time.monotonic() < deadline:
            self._wait_and_say(time.monotonic() + 1.0)
            done = self._count("done")
            if done != last:
                last, last_change = done, time.monotonic()
            worked = not self._fleet.publishing() and done >= self._scale.messages
            if (worked and self._lag(time.monotonic()) == 0) or time.monotonic() - last_change > _STUCK_SECONDS:
                return

    def _wait_and_say(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _PAUSE))
            if int(time.monotonic() / _SAY_EVERY) != getattr(self, "_said", None):
                self._said = int(time.monotonic() / _SAY_EVERY)
                self._say(f"published {self._count('sent')}, handed out {self._count('got')}")

    def _wait_for(self, kind: str, at_least: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._count(kind) < at_least and time.monotonic() < deadline:
            time.sleep(_PAUSE)

    def _count(self, kind: str) -> int:
        return journal.count(self._fleet.journals, kind)

    # -- the end -------------------------------------------------------------------------------------------------

    def _lag(self, deadline: float) -> int:
        """Unfinished messages; the last commits are on their way for a moment."""
        inspector = Inspector(cluster_of(Options(**self._options)))
        while True:
            lag = sum(report.lag for report in inspector.queues([PLAIN_QUEUE, TASK_QUEUE], ages=False))
            if lag == 0 or time.monotonic() >= deadline:
                return lag
            time.sleep(0.2)

    def _end_in_good_order(self) -> None:
        for slot in (*self._scale.plain, *self._scale.workers):
            self._end_process(slot)

    def _end_process(self, slot: str) -> None:
        name = self._fleet.incarnation(slot)
        if not self._fleet.end(slot):
            self._say(f"{name} does not end")
            self._events.write("hung", name)

    def _delete_topics(self) -> None:
        topics = cluster_of(Options(**self._options)).topics
        ours = [name for name in topics.metadata().topics if name.startswith(str(self._options["topic_prefix"]))]
        if ours:
            for deleted in topics.admin.delete_topics(ours).values():
                deleted.result(30)
