"""Which ports an instance listens on: remembered ones while they are free, else new ones of its own.

All ports are below 32768, where the kernel hands out none to clients: a listener on an ephemeral port may
not come back after a kill, because an outgoing connection took it meanwhile.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Collection, Mapping, Sequence

from service.devstack.errors import PortTakenError, StackError
from service.devstack.instance import HOST

DEV_PORTS = ("postgres", "kafka", "kafka-controller", "redis", "tool-server", "api", "flower")
CLUSTER_PORTS = (
    *("postgres", "kafka-1", "kafka-2", "kafka-3", "kafka-controller-1", "kafka-controller-2", "kafka-controller-3"),
    *("redis", "tool-server", "api-1", "api-2"),
)
SEED_PORTS = {"postgres": 5433, "zookeeper": 2182, "kafka": 9093, "redis": 6380}
DEFAULT_RANGE = range(20_000, 32_000)
STANDARD = frozenset({25672, 26379, 27017, 27018, 27019, 28015, 29092, 31416})
"""Ports in the range that well-known servers use by default."""


def is_free(port: int) -> bool:
    """Whether a listener could be opened on the loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def choose_ports(
    names: Sequence[str],
    remembered: Mapping[str, int],
    candidates: range = DEFAULT_RANGE,
    claimed: Collection[int] = (),
    *,
    free: Callable[[int], bool] = is_free,
    shuffle: Callable[[list[int]], None] = random.shuffle,
) -> dict[str, int]:
    """Give each name a free port: its remembered one if that is still free and in range, else a new one.

    `claimed` are ports other instances remember. Raises StackError when the range has too few.
    """
    chosen = {name: remembered[name] for name in names if remembered.get(name) in candidates and free(remembered[name])}
    pool = [port for port in candidates if port not in STANDARD and port not in claimed]
    shuffle(pool)
    for name in names:
        if name not in chosen:
            chosen[name] = _take(pool, chosen.values(), free, candidates)
    return chosen


def _take(pool: list[int], used: Collection[int], free: Callable[[int], bool], candidates: range) -> int:
    while pool:
        port = pool.pop()
        if port not in used and free(port):
            return port
    raise StackError(f"no free port left between {candidates.start} and {candidates.stop - 1}; give another --ports")


def require_free(ports: Mapping[str, int], *, free: Callable[[int], bool] = is_free) -> None:
    """Raise PortTakenError naming every fixed port that is in use."""
    taken = [f"{name} {port}" for name, port in ports.items() if not free(port)]
    if taken:
        raise PortTakenError(
            f"{'port is' if len(taken) == 1 else 'ports are'} taken: {', '.join(taken)}; stop what listens there "
            "(a docker-compose.test.yml stack uses the same ones) or use --profile dev, which finds its own"
        )


def parse_range(text: str) -> range:
    """Read `22000-22199`. Raises StackError unless both ends are between 1024 and 32767."""
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 1024 <= int(first) < int(last) <= 32_767):
        raise StackError(f"--ports takes FIRST-LAST between 1024 and 32767, as in 22000-22199, not {text!r}")
    return range(int(first), int(last) + 1)
