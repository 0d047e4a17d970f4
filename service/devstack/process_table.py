"""The processes of one instance as its supervisor gets them: services, then the application."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from service.devstack import applications, kafka, postgres, redis_server
from service.devstack.adjustments import Adjustments
from service.devstack.instance import Instance, Profile
from service.devstack.programs import Program


@dataclass(frozen=True)
class JavaPrograms:
    """Where Java and Kafka's jars are."""

    java: Path
    jars: Path


def process_table(instance: Instance, project: Path, found: JavaPrograms, adjustments: Adjustments) -> list[Program]:
    """Every process, adjusted; none of them starts by being in the table."""
    table = [
        postgres.program(instance, adjustments.postgres_settings),
        *(kafka.program(instance, broker, found.java, found.jars) for broker in instance.brokers),
        redis_server.program(instance),
    ]
    if instance.profile is Profile.SEED:
        table.append(kafka.zookeeper_program(instance, found.java, found.jars))
    else:
        table.append(applications.tool_server_program(instance, project))
        table += applications.programs(instance, project, adjustments)
    return [_with_environment(program, adjustments) for program in table]


def _with_environment(program: Program, adjustments: Adjustments) -> Program:
    own = adjustments.environments.get(program.name, {})
    return replace(program, environment={**program.environment, **own})
