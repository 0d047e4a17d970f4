"""The table of application processes: their names and commands, in one place to adjust."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from service.devstack.instance import HOST, Instance
from service.devstack.programs import Program

WORKER_QUEUES = "intake,triage,policy,playbook,tool"
API_PROCESSES = 2
WORKER_PROCESSES = 2


def migration_command() -> tuple[str, ...]:
    """Run once before the application starts, with the owner's URL in the environment."""
    return (sys.executable, "-m", "alembic", "upgrade", "head")


def commands(instance: Instance) -> dict[str, tuple[str, ...]]:
    """Every application process and its command line, in the order `status` lists them."""
    sentinai = (sys.executable, "-m", "service.cli")
    celery = (sys.executable, "-m", "celery", "-A", "tasks")
    gunicorn = (sys.executable, "-m", "gunicorn", "-c", "python:service.api.gunicorn_config")
    schedule = str(instance.data / "celerybeat-schedule")
    return {
        "api": (
            *(*gunicorn, "service.api:create_app()", "--bind", instance.address("api")),
            *("--workers", str(API_PROCESSES), "--graceful-timeout", "5"),
        ),
        "dispatcher": (*sentinai, "dispatch"),
        "relay": (*sentinai, "relay"),
        "worker": (
            *celery,
            *("worker", "-Q", WORKER_QUEUES, "-c", str(WORKER_PROCESSES), "-n", f"worker@{instance.name}"),
            *("--loglevel", "INFO", "-E"),
        ),
        "beat": (*celery, "beat", "-s", schedule, "--pidfile=", "--loglevel", "INFO"),
        "flower": (
            *(*celery, "flower", f"--address={HOST}", f"--port={instance.ports['flower']}"),
            # What a task works is its arguments: how many exceptions, which lane, which tenants.
            "--tasks_columns=name,args,state,received,runtime,worker,uuid",
        ),
    }


def programs(instance: Instance, project: Path) -> list[Program]:
    """The application's supervised processes."""
    environment = application_environment(instance)
    return [Program(name, command, project, environment) for name, command in commands(instance).items()]


def application_environment(instance: Instance) -> Mapping[str, str]:
    """What every application process finds in its environment."""
    # Flower's API answers without a login here: it listens on loopback only.
    return {**instance.environment(), "PYTHONUNBUFFERED": "1", "FLOWER_UNAUTHENTICATED_API": "true"}


def tool_server_program(instance: Instance, project: Path) -> Program:
    """The demo tool server; it counts as a service, for tests use it without the application."""
    port = str(instance.ports["tool-server"])
    return Program("tool-server", (sys.executable, "-m", "service.devstack.toolserver", "--port", port), project)
