"""When a process of the stack is ready: a real operation on it succeeded."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg2

from service.devstack import kafka, postgres, redis_server
from service.devstack.applications import application_environment, kind_of, names, node_name
from service.devstack.instance import Instance
from service.persistence.database import DatabaseUnavailableError, Role, connect_listener
from service.relay.log import EventLog
from service.relay.topics import EVENTS_TOPIC

_APPLICATION_SECONDS = 150
"""Idle machines need 10; this one is for a machine that runs a test suite and a load test beside it."""


@dataclass(frozen=True)
class Check:
    """How to see that a process is ready."""

    missing: Callable[[], str | None]
    """None when it is, else what is still missing."""
    seconds: float
    """Deadline, generous for a cold and busy machine."""


def service_checks(instance: Instance) -> dict[str, Check]:
    """The checks of the instance's services."""
    checks = {
        "postgres": Check(lambda: postgres.missing(instance), 60),
        "zookeeper": Check(lambda: kafka.zookeeper_missing(instance), 60),
        **{broker: Check(partial(kafka.missing, instance, broker), 150) for broker in instance.brokers},
        "redis": Check(lambda: redis_server.missing(instance), 60),
        "tool-server": Check(lambda: http_missing(instance.url("tool-server", "/healthz")), 60),
    }
    return {name: checks[name] for name in instance.profile.services}


def application_checks(instance: Instance, project: Path) -> dict[str, Check]:
    """The checks of application processes that can be asked; for beat, staying up has to do."""
    by_kind: dict[str, Callable[[str], str | None]] = {
        "dispatcher": lambda _: dispatcher_missing(instance),
        "relay": lambda _: relay_missing(instance),
        "api": lambda name: http_missing(f"http://{instance.address(name)}/readyz"),
        "flower": lambda _: http_missing(instance.url("flower", "/")),
        "worker": lambda name: worker_missing(instance, name, project),
    }
    return {
        name: Check(partial(by_kind[kind_of(name)], name), _APPLICATION_SECONDS)
        for name in names(instance.profile)
        if kind_of(name) in by_kind
    }


def worker_missing(instance: Instance, name: str, project: Path) -> str | None:
    """None when the worker answers the fleet's ping."""
    command = (sys.executable, "-m", "service.devstack.worker_ping", node_name(instance, name), "8")
    return command_missing(command, application_environment(instance), project)


def dispatcher_missing(instance: Instance) -> str | None:
    """None when every lane is leased by a living dispatcher."""
    try:
        with closing(connect_listener(instance.database_url, Role.SYSTEM)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*), count(*) FILTER (WHERE leased_until > now()) FROM lanes")
            lanes, served = cursor.fetchone() or (0, 0)
    except (DatabaseUnavailableError, psycopg2.Error) as error:
        return str(error)
    return None if lanes and lanes == served else f"{served} of {lanes} lanes are served"


def relay_missing(instance: Instance) -> str | None:
    """None when a relay leads the default cursor."""
    try:
        with closing(EventLog(connect_listener(instance.database_url, Role.SYSTEM), EVENTS_TOPIC)) as log:
            return None if log.lag().has_leader else "no relay leads yet"
    except (DatabaseUnavailableError, psycopg2.Error) as error:
        return str(error)


def http_missing(url: str | None) -> str | None:
    """None when the URL answers 2xx, else why not."""
    try:
        with urllib.request.urlopen(url or "", timeout=5):  # noqa: S310 - the stack's own http URLs
            return None
    except urllib.error.HTTPError as error:
        with error:
            return f"it answers {error.code}"
    except (OSError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error))


def command_missing(command: Sequence[str], environment: Mapping[str, str], directory: Path) -> str | None:
    """None when the command exits with 0, else its last line."""
    result = subprocess.run(
        list(command), env={**os.environ, **environment}, cwd=directory, capture_output=True, text=True, timeout=120
    )
    if result.returncode == 0:
        return None
    return ((result.stderr.strip() or result.stdout.strip()).splitlines() or ["no reason given"])[-1]
