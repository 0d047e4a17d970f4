"""A stack on its way up, through faults, and down: what a person at the terminal sees."""

from __future__ import annotations

import signal
import time

import confluent_kafka.admin
import psutil
import psycopg2
import pytest
import redis

from service.devstack.waiting import wait_until
from tests.integration.devstack.conftest import Terminal, interrupt

pytestmark = [pytest.mark.stack, pytest.mark.kafka]
UP = ("up", "--services-only", "--detach", "--json")


@pytest.fixture(scope="module")
def name(terminal: Terminal) -> str:
    """A stack of services that is up, and is started by two commands at once."""
    first = terminal.start(*UP, "--name", "life")
    wait_until(lambda: None if (terminal.root / "life" / "conf").exists() else "no folder", "the first", 30)
    second = terminal.run(*UP, "--name", "life")
    _, said = first.communicate(timeout=90)
    # then the second is refused in one sentence, and the first is not disturbed
    assert (first.returncode, second.returncode) == (0, 1), said + second.stderr
    assert "has this stack in hand; wait for it to end" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    return "life"


def test_services_answer_what_status_tells(terminal: Terminal, name: str) -> None:
    status = terminal.status(name)
    # then the application's login can neither bypass row-level security nor use rights it did not ask for
    connection = psycopg2.connect(status["database_url"])
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper, rolinherit, rolbypassrls FROM pg_roles WHERE rolname = current_user")
        assert cursor.fetchone() == (False, False, False)
    connection.close()
    assert redis.Redis.from_url(status["redis_url"]).ping()
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": status["kafka_bootstrap_servers"]})
    assert admin.list_topics(timeout=10).brokers
    assert {row["name"] for row in status["processes"]} == {"kafka", "postgres", "redis", "tool-server"}


def test_passwords_are_needed(terminal: Terminal, name: str) -> None:
    status = terminal.status(name)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(status["database_url"].replace("sentinai_login:", "sentinai_login:x"))
    client = redis.Redis.from_url(status["redis_url"].replace("redis://:", "redis://:x"))
    with client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_a_killed_process_comes_back_by_itself(terminal: Terminal, name: str) -> None:
    before = terminal.pids(name)
    psutil.Process(before["redis"]).send_signal(signal.SIGKILL)
    wait_until(
        lambda: None if terminal.pids(name).get("redis") not in (None, before["redis"]) else "still dead",
        "the new redis",
        20,
    )
    assert {**terminal.pids(name), "redis": 0} == {**before, "redis": 0}


def test_up_on_a_running_stack_starts_nothing_twice(terminal: Terminal, name: str) -> None:
    before = terminal.pids(name)
    assert terminal.run(*UP, "--name", name).returncode == 0
    assert terminal.pids(name) == before


def test_a_killed_supervisor_leaves_nothing_that_up_and_down_do_not_find(terminal: Terminal, name: str) -> None:
    # given a stack whose supervisor is killed, so that its children are orphans
    ports = terminal.status(name)["kafka_bootstrap_servers"]
    supervisor = int((terminal.root / name / "supervisord.pid").read_text())
    orphans = set(terminal.pids(name).values())
    psutil.Process(supervisor).kill()
    # when it is started again
    assert terminal.run(*UP, "--name", name).returncode == 0
    # then it has its old ports, and the orphans are gone
    assert terminal.status(name)["kafka_bootstrap_servers"] == ports
    assert not any(psutil.pid_exists(pid) for pid in orphans)
    # and down leaves nothing, of the instance's folder neither
    pids = set(terminal.pids(name).values())
    assert terminal.run("down", "--remove", "--name", name).returncode == 0
    assert terminal.living(name) == []
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not (terminal.root / name).exists()


def test_ctrl_c_ends_everything(terminal: Terminal) -> None:
    # given a stack in the foreground that is ready
    process = terminal.start("up", "--services-only", "--name", "front")
    assert process.stderr is not None
    assert any("Ctrl-C ends everything" in line for line in process.stderr)
    assert terminal.living("front")
    # when Ctrl-C is pressed
    began = time.monotonic()
    interrupt(process)
    process.communicate(timeout=30)
    # then it takes less than 15 s and no process is left
    assert time.monotonic() - began < 15
    assert terminal.living("front") == []
    # and when it is pressed while the stack is starting, the same holds
    process = terminal.start("up", "--services-only", "--name", "front")
    wait_until(lambda: None if len(terminal.living("front")) > 2 else "nothing started", "the services", 30)
    interrupt(process)
    _, said = process.communicate(timeout=15)
    assert process.returncode == 130, said
    assert terminal.living("front") == []


def test_a_service_that_dies_at_start_is_named_with_its_cause(terminal: Terminal) -> None:
    # given a stack whose database lost its files
    (terminal.root / "broken" / "data" / "postgres").mkdir(parents=True)
    # when it is started
    result = terminal.run(*UP, "--name", "broken")
    # then one sentence says which service and why, and nothing is left
    assert result.returncode == 1
    sentence = result.stderr.splitlines()[-1]
    assert sentence.startswith("sentinai: postgres ended while starting: ")
    assert "data/postgres" in sentence
    assert terminal.living("broken") == []
