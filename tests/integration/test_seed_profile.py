"""The guide's way: the test topology's services on their fixed ports, migrations, and the five stories on them.

Runs the commands of docs/e2e-testing.md as they stand there, with exactly the guide's environment: PostgreSQL 15
where the machine has it (16 otherwise), Kafka 3.5 with ZooKeeper, Redis.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from service.devstack.ports import SEED_PORTS, is_free
from tests.fleet import PROJECT
from tests.stack_fixture import stack_command

pytestmark = [pytest.mark.kafka, pytest.mark.stack, pytest.mark.timeout(600)]

NAME = f"seed-test-{os.getpid()}"

GUIDE_ENVIRONMENT = {
    "DATABASE_URL": "postgresql+asyncpg://postgres:postgres@localhost:5433/sentinai_test",
    "KAFKA_BOOTSTRAP_SERVERS": "localhost:9093",
    "SKIP_KAFKA_INTEGRATION_TESTS": "false",
}


@pytest.fixture(scope="module")
def guide() -> Iterator[dict[str, str]]:
    """The seed topology, and the environment of somebody who follows the guide."""
    taken = [port for port in SEED_PORTS.values() if not is_free(port)]
    if taken and os.environ.get("CI", "").lower() != "true":
        pytest.skip(f"the seed topology's ports {taken} are in use here")
    try:
        stack_command("up", "--profile", "seed", "--name", NAME, "--detach")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SENTINAI_", "REDIS_", "DATABASE_", "KAFKA_"))}
        yield {**kept, **GUIDE_ENVIRONMENT}
    finally:
        stack_command("down", "--profile", "seed", "--name", NAME, "--remove")


def run(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )


def test_migrations_go_up_and_down_and_agree_with_the_models(guide: dict[str, str]) -> None:
    for step in (("upgrade", "head"), ("check",), ("downgrade", "base"), ("upgrade", "head"), ("check",)):
        done = run(guide, "alembic", *step)
        assert done.returncode == 0, f"alembic {' '.join(step)}: {done.stderr}"


def test_the_stories_pass_with_the_guide_s_environment(guide: dict[str, str]) -> None:
    # given the schema
    assert run(guide, "alembic", "upgrade", "head").returncode == 0
    # when the guide's command is run
    done = run(guide, "pytest", "tests/integration/test_e2e_async_flow.py", "-v", "-p", "no:cacheprovider")
    # then all of it passes
    assert done.returncode == 0, done.stdout[-4000:]
    assert "skipped" not in done.stdout.splitlines()[-1]
