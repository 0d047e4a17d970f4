"""`sentinai dlq redrive`, `discard` and what looks after operations, as an operator types them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event, Thread

import pytest
from click.testing import CliRunner, Result

from service.cli import cli
from service.dispatch.redrives import Redrives
from tests.integration.api.dying import dies
from tests.integration.api.test_command_line import api_url, told
from tests.integration.api.world import Caller, Tenant, World

__all__ = ["api_url"]
Dlq = Callable[..., Result]
WHY = ("--reason", "the account exists now")


@pytest.fixture
def dlq(tenant: Tenant, api_url: str) -> Dlq:
    """Runs `sentinai dlq …` with an operator's key."""
    access = {"SENTINAI_API_URL": api_url, "SENTINAI_API_KEY": tenant.keys["operator"]}
    return lambda *arguments: CliRunner().invoke(cli, ["dlq", *arguments], env=access)


@pytest.fixture
def dead(world: World, tenant: Tenant, caller: Caller) -> list[tuple[str, str]]:
    """Three exceptions that died, each with its dead letter."""
    accepted = [caller.accepted() for _ in range(3)]
    return [(exception_id, dies(world, tenant, exception_id)) for exception_id in accepted]


@pytest.fixture
def dispatcher(world: World, tenant: Tenant, dead: list[tuple[str, str]]) -> Iterator[None]:
    """A dispatcher that looks all the time, and workers that resolve what it sends."""
    stopping, redrives = Event(), Redrives(world.system, world.application)

    def work() -> None:
        while not stopping.wait(0.05):
            redrives.once()
            for exception_id, _ in dead:
                if world.caller(tenant).get(f"/exceptions/{exception_id}").json["status"] == "IN_PROGRESS":
                    world.rest(tenant, exception_id, "RESOLVED")

    thread = Thread(target=work)
    thread.start()
    yield
    stopping.set()
    thread.join()


def test_one_is_sent_again_and_another_discarded(caller: Caller, dlq: Dlq, dead: list[tuple[str, str]]) -> None:
    (exception_id, letter), (_, other), _ = dead
    done = dlq("redrive", letter, *WHY)
    assert (done.exit_code, done.stdout) == (0, f"redriving, exception {exception_id} IN_PROGRESS\n")
    assert told(dlq("discard", other, *WHY, "--json"))["state"] == "discarded"
    # and what the state does not allow has an exit code of its own
    assert dlq("redrive", other, *WHY).exception.exit_code == 3  # type: ignore[union-attr]
    assert [one["deadLetterId"] for one in caller.get("/dlq").json["items"]] == [dead[2][1]]


def test_nothing_is_done_without_saying_which_and_why(dlq: Dlq, dead: list[tuple[str, str]]) -> None:
    assert dlq("redrive", *WHY).exit_code == 2
    assert dlq("redrive", dead[0][1]).exit_code == 2
    assert dlq("redrive", "--state", "pending", *WHY).exit_code == 2


def test_a_dry_run_reads_well(caller: Caller, dlq: Dlq, dead: list[tuple[str, str]]) -> None:
    shown = dlq("redrive", "--tool", "settle", "--dry-run", "--from-stage", "policy")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith(
        "3 of 3 would be sent again; nothing was changed\n        3  failed at tool -> policy\n"
    )
    assert dead[0][1] in shown.stdout
    assert told(dlq("discard", "--all", "--dry-run", "--json"))["wouldAct"] == 3
    assert len(caller.get("/dlq").json["items"]) == 3


@pytest.mark.usefixtures("dispatcher")
def test_an_operation_is_followed_to_its_end(dlq: Dlq, dead: list[tuple[str, str]]) -> None:
    done = dlq("redrive", "--all", *WHY, "--canary", "1", "--rate", "20", "--follow")
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("finished, 3 in all: 3 succeeded\n")
    operation = told(dlq("operations", "--json"))["items"][0]
    shown = dlq("operation", operation["operationId"])
    for line in (
        "redrive by the operator: the account exists now",
        "3  succeeded  RESOLVED",
        "started by the operator",
    ):
        assert line in shown.stdout, shown.stdout
    assert dlq("operation", operation["operationId"], "--watch").exit_code == 0
    assert dlq("stop", operation["operationId"], *WHY).exception.exit_code == 3  # type: ignore[union-attr]


def test_an_operation_is_stopped_and_resumed(dlq: Dlq, dead: list[tuple[str, str]]) -> None:
    operation = told(dlq("redrive", "--all", *WHY, "--rate", "0.1", "--json"))
    assert operation["progress"]["total"] == len(dead)
    stopped = dlq("stop", operation["operationId"], "--reason", "too early")
    assert "stopped by the operator: too early" in stopped.stdout
    watched = dlq("operation", operation["operationId"], "--watch")
    assert watched.exit_code == 6
    assert dlq("resume", operation["operationId"], *WHY).stdout.startswith("running, 3 in all")
