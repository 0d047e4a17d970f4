"""What a round needs of the world it runs in and of the faults that strike there, as its own code sees them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Engine


class World(Protocol):
    """A running product: what the load talks to, and what the verdict asks."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings of its processes."""

    @property
    def api_urls(self) -> Sequence[str]:
        """Every API process of its own."""

    @property
    def system(self) -> Engine:
        """The database as the SYSTEM role sees it, reached past every fault of the network."""

    @property
    def tool_server_url(self) -> str:
        """The tool server, reached past every fault of the network."""

    @property
    def kafka(self) -> str:
        """The brokers, reached past every fault of the network."""

    @property
    def logs(self) -> Path:
        """A folder with a log of each process."""


class Fault(Protocol):
    """Something that breaks, and is mended."""

    @property
    def name(self) -> str:
        """What `--faults` calls it."""

    @property
    def summary(self) -> str:
        """One line for people."""

    @property
    def told(self) -> str:
        """What exactly was struck."""

    def strike(self, world: Any, chance: random.Random) -> None:
        """Break it; return when it is in force."""

    def mend(self, world: Any) -> None:
        """Put the part back; return when it is there again."""
