"""What a run does, decided by its seed before it begins: who publishes how much, and which fault befalls whom. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

PLAIN_QUEUE = "chaos.plain"
TASK_QUEUE = "chaos.tasks"
PARTITIONS = 16
SESSION_SECONDS = 6.0


class Kind(Enum):
    """A fault, and what ends it."""

    KILL = "kill -9"
    """The process dies; another takes its place."""
    TERM = "SIGTERM"
    """The process ends in good order; another takes its place."""
    PAUSE = "SIGSTOP, shorter than the session"
    """The process stands still and goes on."""
    FREEZE = "SIGSTOP, longer than the session"
    """The process stands still until its partitions were given away, and goes on as if nothing had happened."""
    KILL_CHILD = "kill -9 of a pool process"
    """A process of a Celery worker's pool dies; the worker makes another."""
    KILL_BROKER = "kill -9 of a broker"
    """One of three brokers dies and comes back."""


_LASTS = {
    Kind.KILL: (0.2, 8.0),
    Kind.TERM: (0.2, 4.0),
    Kind.PAUSE: (0.5, 3.0),
    Kind.FREEZE: (SESSION_SECONDS + 2.0, SESSION_SECONDS + 4.0),
    Kind.KILL_CHILD: (0.0, 0.0),
    Kind.KILL_BROKER: (5.0, 9.0),
}
"""Seconds from the fault to its end, at least and at most."""
_OF_PLAIN = (Kind.KILL, Kind.TERM, Kind.PAUSE, Kind.FREEZE)
_OF_WORKERS = (Kind.KILL, Kind.TERM, Kind.KILL_CHILD, Kind.FREEZE)


@dataclass(frozen=True)
class Scale:
    """How large a run is."""

    seed: int
    messages: int
    consumers: int
    """Processes that take part, Celery workers included."""
    seconds: float
    """How long publishing takes; faults happen meanwhile."""
    gap: float = 7.0
    """Seconds between faults, on average."""
    brokers: int = 1
    """With three, brokers are killed too."""
    keys: int = 200
    prefetch: int = 20
    """Messages a plain consumer holds at most."""

    @property
    def workers(self) -> tuple[str, ...]:
        """Slots of the Celery workers: a quarter of the consumers."""
        return tuple(f"worker{number}" for number in range(max(1, self.consumers // 4)))

    @property
    def plain(self) -> tuple[str, ...]:
        """Slots of the plain consumers."""
        return tuple(f"plain{number}" for number in range(self.consumers - len(self.workers)))


@dataclass(frozen=True)
class Share:
    """What one producer publishes: so many messages over keys that no other producer has."""

    name: str
    queue: str
    seed: int
    messages: int
    keys: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Fault:
    """Something that befalls a slot (or `broker<n>`), in seconds after publishing began."""

    at: float
    kind: Kind
    slot: str
    lasts: float


def shares(scale: Scale) -> tuple[Share, ...]:
    """Two plain producers, and one that sends tasks: a fifth of the messages."""
    keys = [f"k{number}" for number in range(scale.keys)]
    tasks = scale.messages // 5
    half = (scale.messages - tasks) // 2
    sizes = (half, scale.messages - tasks - half, tasks)
    queues = (PLAIN_QUEUE, PLAIN_QUEUE, TASK_QUEUE)
    return tuple(
        Share(f"producer{number}", queue, scale.seed * 10 + number, size, tuple(keys[number::3]), scale.seconds)
        for number, (queue, size) in enumerate(zip(queues, sizes, strict=True))
    )


def faults(scale: Scale) -> tuple[Fault, ...]:
    """Faults in the order of their time. A slot is spared while an earlier fault of it lasts, brokers all the more."""
    rng = random.Random(scale.seed)
    deck: list[tuple[Kind, str]] = []
    busy_until: dict[str, float] = {}
    found: list[Fault] = []
    at = 3.0 + rng.uniform(0, scale.gap / 2)
    while at < scale.seconds:
        deck = deck or _deck(scale, rng)
        kind, family = deck.pop()
        slots = [slot for slot in _slots(scale, family) if busy_until.get(_busy(slot), 0.0) < at]
        if slots:
            fault = Fault(round(at, 2), kind, rng.choice(slots), round(rng.uniform(*_LASTS[kind]), 2))
            busy_until[_busy(fault.slot)] = at + fault.lasts + scale.gap
            found.append(fault)
        at += rng.uniform(0.6, 1.4) * scale.gap
    return tuple(found)


def _deck(scale: Scale, rng: random.Random) -> list[tuple[Kind, str]]:
    """Every kind once, in some order: a run of some length meets all of them."""
    deck = [(kind, "plain") for kind in _OF_PLAIN] + [(kind, "worker") for kind in _OF_WORKERS]
    if scale.brokers >= 3:
        deck += [(Kind.KILL_BROKER, "broker")] * 2
    rng.shuffle(deck)
    return deck


def _slots(scale: Scale, family: str) -> tuple[str, ...]:
    brokers = tuple(f"broker{number}" for number in range(1, scale.brokers + 1))
    return {"plain": scale.plain, "worker": scale.workers, "broker": brokers}[family]


def _busy(slot: str) -> str:
    return "brokers" if slot.startswith("broker") else slot
