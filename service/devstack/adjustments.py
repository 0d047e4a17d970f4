"""What a test may change of a stack that the command line does not offer: other listeners, settings, environments.

Production code knows nothing of it; a stack without adjustments is what everybody gets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from service.devstack.instance import Instance


@dataclass(frozen=True)
class Adjustments:
    """Changes to the processes of one stack. They are not remembered: every `up` of the stack needs them again."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of every application process; it wins over the stack's own."""
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Added to that of single processes, services too, by their names; it wins over everything."""
    worker_app: str = "tasks"
    """The Celery app that workers run."""
    broker_properties: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Kafka's server.properties by broker; they win."""
    postgres_settings: Mapping[str, str] = field(default_factory=dict)
    """PostgreSQL's settings; they win."""


Adjust = Callable[[Instance], Adjustments]
"""Called once the instance has its ports and folders, before anything of it is made or started."""


def unadjusted(_instance: Instance) -> Adjustments:
    """A stack as everybody gets it."""
    return Adjustments()
