"""The table of application processes: their names and commands, in one place to adjust."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from service.devstack.adjustments import Adjustments
from service.devstack.instance import HOST, Instance, Profile
from service.devstack.programs import Program

WORKER_QUEUES = "intake,triage,policy,playbook,tool"
WORKER_PROCESSES = 2
_DEV = ("api", "dispatcher", "relay", "worker", "beat", "flower")
_CLUSTER = ("api-1", "api-2", "dispatcher-1", "dispatcher-2", "relay-1", "relay-2", "worker-1", "worker-2", "beat")
"""One of each kind would hide what two do to each other; one relay leads and the other stands by."""


def migration_command() -> tuple[str, ...]:
    """Run once before the application starts, with the owner's URL in the environment."""
    return (sys.executable, "-m", "alembic", "upgrade", "head")


def names(profile: Profile) -> tuple[str, ...]:
    """Every application process, in the order `status` lists them."""
    if profile is Profile.SEED:
        return ()
    return _CLUSTER if profile is Profile.CLUSTER else _DEV


def kind_of(name: str) -> str:
    """What a process is: `worker` of worker-2, `kafka` of kafka-1."""
    kind, dash, number = name.rpartition("-")
    return kind if dash and number.isdecimal() else name


def command(instance: Instance, name: str, worker_app: str) -> tuple[str, ...]:
    """The command line of an application process; workers run the Celery app `worker_app`."""
    sentinai = (sys.executable, "-m", "service.cli")
    celery = (sys.executable, "-m", "celery", "-A")
    gunicorn = (sys.executable, "-m", "gunicorn", "-c", "python:service.api.gunicorn_config")
    match kind_of(name):
        case "api":
            return (
                *(*gunicorn, "service.api:create_app()", "--bind", instance.address(name)),
                *("--workers", "1" if instance.profile is Profile.CLUSTER else "2", "--graceful-timeout", "5"),
            )
        case "worker":
            return (
                *(*celery, worker_app, "worker", "-Q", WORKER_QUEUES, "-c", str(WORKER_PROCESSES)),
                *("-n", node_name(instance, name), "--loglevel", "INFO", "-E"),
            )
        case "beat":
            schedule = str(instance.data / "celerybeat-schedule")
            return (*celery, "tasks", "beat", "-s", schedule, "--pidfile=", "--loglevel", "INFO")
        case "flower":
            return (
                *(*celery, "tasks", "flower", f"--address={HOST}", f"--port={instance.ports['flower']}"),
                # What a task works is its arguments: how many exceptions, which lane, which tenants.
                "--tasks_columns=name,args,state,received,runtime,worker,uuid",
            )
        case kind:
            return (*sentinai, {"dispatcher": "dispatch"}.get(kind, kind))


def node_name(instance: Instance, worker: str) -> str:
    """What Celery calls a worker: worker@dev, or worker-2@cluster."""
    return f"{worker}@{instance.name}"


def programs(instance: Instance, project: Path, adjustments: Adjustments) -> list[Program]:
    """The application's supervised processes."""
    environment = {**application_environment(instance), **adjustments.environment}
    return [
        Program(name, command(instance, name, adjustments.worker_app), project, environment)
        for name in names(instance.profile)
    ]


def application_environment(instance: Instance) -> Mapping[str, str]:
    """What every application process finds in its environment."""
    # Flower's API answers without a login here: it listens on loopback only.
    return {**instance.environment(), "PYTHONUNBUFFERED": "1", "FLOWER_UNAUTHENTICATED_API": "true"}


def tool_server_program(instance: Instance, project: Path) -> Program:
    """The demo tool server; it counts as a service, for tests use it without the application."""
    port = str(instance.ports["tool-server"])
    return Program("tool-server", (sys.executable, "-m", "service.devstack.toolserver", "--port", port), project)
