"""Flower over Kafka: workers and tasks as over any broker, and the queues as only the plug-in can show them."""

from __future__ import annotations

import html
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.devstack.instance import HOST
from service.devstack.ports import DEFAULT_RANGE, choose_ports
from service.devstack.waiting import wait_until
from tests.celery_kafka.vendors.flower import FlowerContainer
from tests.celery_kafka.vendors.setup import KafkaTestSetup

pytestmark = [pytest.mark.kafka, pytest.mark.stack]

_WATCHED = "tests.celery_kafka.apps.watched"
_PROJECT = "tests.celery_kafka.apps.project"
_SEEN_SECONDS = 60
_ANSWER_SECONDS = 20
"""A page may take 8 s to say that Kafka does not answer."""


class Flower(FlowerContainer):
    """A Flower whose pages are read as well."""

    def page(self, path: str = "/broker") -> tuple[int, str]:
        """Status and text of a page, without its markup."""
        try:
            with urllib.request.urlopen(f"{self._url}{path}", timeout=_ANSWER_SECONDS) as answer:
                status, source = answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            status, source = refused.code, refused.read().decode()
        source = re.sub(r"(?s)<(style|script).*?</\1>", " ", source)
        return status, " ".join(html.unescape(re.sub(r"<[^>]+>", " ", source)).split())

    def lengths(self) -> dict[str, dict[str, Any]]:
        """What `/api/queues/length` tells, by queue."""
        return {queue["name"]: queue for queue in self.get("/api/queues/length")["active_queues"]}


@contextmanager
def running(app: str, settings: Mapping[str, Any], logs: Path) -> Iterator[Flower]:
    container = Flower(app, choose_ports(["flower"], {}, DEFAULT_RANGE)["flower"], settings, logs)
    try:
        container.start()
        container.ready()
        yield container
    finally:
        container.teardown()


@pytest.fixture(scope="module")
def flower(process_settings: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    with running(_WATCHED, process_settings, tmp_path_factory.mktemp("flower")) as container:
        yield container


def until(look: Callable[[], Any], what: str) -> Any:
    """Return what ``look`` finds as soon as it finds something."""
    found: list[Any] = [None]

    def missing() -> str | None:
        found[0] = look()
        return None if found[0] else "it is not there"

    wait_until(missing, what, _SEEN_SECONDS)
    return found[0]


def test_flower_shows_workers_and_tasks(celery_setup: KafkaTestSetup, flower: Flower) -> None:
    # given a Flower that sees the worker
    name = celery_setup.worker.hostname()
    until(lambda: flower.get("/api/workers?status=true").get(name), "the worker in Flower")
    # when a task runs
    result = celery_setup.call("add", 2, 3).apply_async()
    # then it is shown as done, by this worker
    done = until(
        lambda: (task := flower.get("/api/tasks").get(result.id)) and task["state"] == "SUCCESS" and task,
        "the task in Flower",
    )
    assert (done["name"], done["worker"]) == ("work.add", name)


def test_queue_length_has_age_owner_and_partitions(celery_setup: KafkaTestSetup, flower: Flower) -> None:
    # given a worker of two processes that are held up, and six tasks more in the same queue
    name = celery_setup.worker.hostname()
    until(lambda: "first" in str(flower.get("/api/workers?refresh=true").get(name)), "the worker's queues in Flower")
    results = [celery_setup.call("hold", f"flower-{n}", 60, queue="first").apply_async() for n in range(8)]
    # when the queue's length is asked for
    first = until(lambda: (queue := flower.lengths()["first"])["messages"] == 8 and queue, "eight unfinished messages")
    # then it is told by partition, with the age of the oldest and the process that works them
    assert sum(part["lag"] for part in first["partitions"]) == 8
    assert first["consumers"] == 1
    worker = f"{socket.gethostname()}:{celery_setup.worker.container.pid}"
    assert {part["owner"].partition("@")[0] for part in first["partitions"]} == {worker}
    assert 0 <= first["oldest_age"] < 600
    # and when they are let go, it falls to nothing, at a rate that is told
    for n in range(8):
        celery_setup.app.backend.client.lpush(f"{_prefix_of(celery_setup)}let-go:flower-{n}", "go")
    for result in results:
        result.get(timeout=_SEEN_SECONDS)
    finished = until(
        lambda: (queue := flower.lengths()["first"])["messages"] == 0 and queue["finished_per_second"] and queue,
        "an empty queue, and a rate",
    )
    assert finished["oldest"] is None


def test_the_broker_tab_shows_queues_nobody_works_delays_and_partitions(
    celery_setup: KafkaTestSetup, flower: Flower
) -> None:
    # given messages in a queue that no worker consumes, and one that waits for its time
    for n in range(7):
        celery_setup.call("add", n, n, queue="spare").apply_async()
    celery_setup.call("add", 1, 1, queue="spare").apply_async(countdown=5 * 3600)
    # when a person opens the tab
    text = until(lambda: "spare 7" in (text := flower.page()[1]) and text, "the queue in the Broker tab")
    # then he sees that nobody works it, since when it waits, its partitions, and what is delayed
    assert re.search(r"spare 7 \d+[sm][^ ]* .{0,20}none \d+ partitions · group \S+spare \(never consumed\)", text), text
    assert re.search(r"Delayed 1 ", text), text
    assert re.search(r"Dead letters 0 ", text), text
    assert re.search(r"first \d+ .* 1 \d+ partitions · group \S+first \(stable\)", text), text
    assert "nobody" in text


def test_the_projects_flower_shows_its_queues(
    process_settings: Mapping[str, Any], celery_setup: KafkaTestSetup, tmp_path: Path
) -> None:
    # given the project's own application, which loads the plug-in by itself
    with running(_PROJECT, process_settings, tmp_path) as flower:
        # then its tab and its API answer
        status, text = flower.page()
        assert (status, "Unfinished" in text) == (200, True), text
        assert flower.get("/api/queues/length") is not None


@pytest.fixture(params=["silent", "away"])
def dead_broker(request: pytest.FixtureRequest) -> Iterator[int]:
    """Port of a broker that takes connections and never answers, or of none."""
    with socket.create_server((HOST, 0)) as listening:
        port = listening.getsockname()[1]
        if request.param == "silent":
            yield port
            return
    yield port


def test_a_broker_that_does_not_answer_is_told_and_hangs_nothing(
    dead_broker: int, process_settings: Mapping[str, Any], tmp_path: Path
) -> None:
    # given a Flower whose broker does not answer
    address = f"{HOST}:{dead_broker}"
    options = {**process_settings["broker_transport_options"], "bootstrap_servers": address}
    settings = {**process_settings, "broker_url": f"kafka://{address}//", "broker_transport_options": options}
    container = Flower(_WATCHED, choose_ports(["flower"], {}, DEFAULT_RANGE)["flower"], settings, tmp_path)
    try:
        container.start()
        until(lambda: _answers(container), "Flower's port")
        # when a person opens the tab: then it says so, in bounded time
        began = time.monotonic()
        status, text = container.page()
        assert status == 503, text
        assert "The queues cannot be shown." in text
        assert address in text or "in time" in text
        assert time.monotonic() - began < _ANSWER_SECONDS
        # and Flower goes on answering, and a program is told as well
        assert container.page("/healthcheck")[0] == 200
        with pytest.raises(urllib.error.HTTPError, match="503"):
            container.get("/api/queues/length")
    finally:
        container.kill("SIGKILL")


def _answers(container: Flower) -> bool:
    try:
        return container.page("/healthcheck")[0] == 200
    except OSError:
        return False


def _prefix_of(setup: KafkaTestSetup) -> str:
    return str(setup.app.conf.result_backend_transport_options["global_keyprefix"])
