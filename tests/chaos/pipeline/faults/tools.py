"""A tool that is slow, or does not answer at all."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import requests

from service.devstack.waiting import wait_until
from tests.chaos.pipeline.faults.fault import Fault
from tests.chaos.pipeline.health import READY_SECONDS
from tests.chaos.pipeline.world import World

_ASK_SECONDS = 10.0


class Behave(Fault):
    """One tool of those that were called behaves otherwise."""

    least_seconds = 4.0

    def __init__(self, name: str, summary: str, behaviour: Mapping[str, Any]) -> None:
        super().__init__(name, summary)
        self._behaviour = dict(behaviour)
        self._tool = ""

    def _strike(self, world: World, chance: random.Random) -> str:
        wait_until(lambda: None if _called(world) else "none was called", "a tool to strike", READY_SECONDS)
        self._tool = chance.choice(_called(world))
        url = f"{world.tool_server_url}/behaviours/{self._tool}"
        requests.put(url, json=self._behaviour, timeout=_ASK_SECONDS).raise_for_status()
        return f"the tool {self._tool}"

    def _mend(self, world: World) -> None:
        if self._tool:
            url = f"{world.tool_server_url}/behaviours/{self._tool}"
            requests.delete(url, timeout=_ASK_SECONDS).raise_for_status()
            self._tool = ""


def _called(world: World) -> list[str]:
    answer = requests.get(f"{world.tool_server_url}/calls?limit=200", timeout=_ASK_SECONDS)
    answer.raise_for_status()
    return sorted({call["tool"] for call in answer.json()["items"]})


def faults() -> Iterator[Fault]:
    """Slow and silent."""
    yield Behave("slow-tool", "a tool takes three seconds for every call", {"delaySeconds": 3.0})
    yield Behave("hang-tool", "a tool takes every call and never answers", {"hang": True})
