"""What waits behind a dead letter is seen: in one exception, in lists, on the timeline, on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from service.cli import cli
from service.domain.exceptions import Stage
from tests.integration.api.dying import dies
from tests.integration.api.test_command_line import api_url
from tests.integration.api.world import Caller, Tenant, World, exception, refused

__all__ = ["api_url"]
DIED_AT = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture
def blocked(world: World, tenant: Tenant, caller: Caller) -> tuple[str, str]:
    """An exception whose second input died at intake, with two inputs behind it; its id and its dead letter's."""
    exception_id = caller.accepted(exception(sourceSystem="BLOCKED"))
    world.rest(tenant, exception_id, "PENDING_STEP")
    post_comment(caller, exception_id, "the second")
    letter = dies(world, tenant, exception_id, stage=Stage.INTAKE, sequence=2, at=DIED_AT)
    for text in ("the third", "the fourth"):
        post_comment(caller, exception_id, text)
    return exception_id, letter


def post_comment(caller: Caller, exception_id: str, text: str) -> None:
    answer = caller.post(f"/exceptions/{exception_id}/events", {"type": "comment", "data": {"text": text}})
    assert answer.status_code == 202, answer.text


def test_an_exception_and_its_timeline_say_what_blocks_them(caller: Caller, blocked: tuple[str, str]) -> None:
    # when the exception and its timeline are looked at
    exception_id, letter = blocked
    told = caller.get(f"/exceptions/{exception_id}").json
    timeline = caller.timeline(exception_id)
    # then both say which dead letter holds it up, since when, and how many inputs wait
    fence = told["blockedBy"]
    assert (fence["deadLetterId"], fence["sequence"], fence["waiting"]) == (letter, 2, 2)
    assert datetime.fromisoformat(fence["since"]) == DIED_AT
    assert told["deadLetter"]["deadLetterId"] == letter
    # and of the timeline the inputs that wait are marked, and nothing else
    marked = {event["sequence"]: event["blockedBy"] for event in timeline}
    assert marked == {1: None, 2: None, 3: fence, 4: fence}
    # and the dead letter says the same
    story = caller.get(f"/dlq/{letter}").json
    assert story["blocking"] == 2
    waiting = [event["sequence"] for event in story["lastEvents"] if event["blockedBy"]]
    assert waiting == [3, 4]


def test_lists_show_it_and_are_narrowed_to_it(
    world: World, tenant: Tenant, caller: Caller, blocked: tuple[str, str]
) -> None:
    # given one that is dead with nothing behind it, and one that is well
    dead, well = caller.accepted(), caller.accepted()
    dies(world, tenant, dead)
    # then only what is held up says so
    items = {one["exceptionId"]: one["blockedBy"] for one in caller.get("/exceptions").json["items"]}
    assert {name: fence and fence["deadLetterId"] for name, fence in items.items()} == {
        well: None, dead: None, blocked[0]: blocked[1],
    }  # fmt: skip

    def ids(query: str) -> list[str]:
        return [one["exceptionId"] for one in caller.get(f"/exceptions?{query}").json["items"]]

    assert ids("blocked=true") == [blocked[0]]
    assert ids("blocked=false") == [well, dead]
    assert ids("blocked=true&sort=receivedAt&status=DEAD_LETTERED") == [blocked[0]]
    refused(caller.get("/exceptions?blocked=perhaps"), 422, "invalid")
    blocking = {one["exceptionId"]: one["blocking"] for one in caller.get("/dlq").json["items"]}
    assert blocking == {dead: 0, blocked[0]: 2}


def test_a_cancellation_says_how_to_go_on(caller: Caller, blocked: tuple[str, str]) -> None:
    problem = refused(caller.post(f"/exceptions/{blocked[0]}/cancel", {"comment": "no"}), 409, "conflict")
    assert "discard its dead letter" in problem["detail"]


def test_the_command_line_tells_what_blocks(
    world: World, tenant: Tenant, caller: Caller, blocked: tuple[str, str], api_url: str
) -> None:
    exception_id, letter = blocked
    other = caller.accepted()
    access = {"SENTINAI_API_URL": api_url, "SENTINAI_API_KEY": tenant.keys["ingest"]}

    def says(*arguments: str) -> str:
        return CliRunner().invoke(cli, ["exceptions", *arguments], env=access).stdout

    shown = says("get", exception_id)
    assert f"by dead letter {letter} of input 2:" in shown
    assert "2 later inputs wait until it is redriven or discarded" in shown
    assert f"sentinai dlq show {letter}" in shown
    listed = {line.split()[0]: line.split()[-1] for line in says("list").splitlines()}
    assert (listed[exception_id], listed[other]) == (letter, "-")
    assert other not in says("list", "--blocked")
    assert [line.split()[-1] for line in says("events", exception_id).splitlines()[1:]] == [
        "-", "-", "-", letter, letter,
    ]  # fmt: skip
