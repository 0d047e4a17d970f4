"""Celery workers on a real broker: chains, retries, remote control, and what a kill -9 may not break."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from .conftest import Corner, Entry, Fleet, until

pytestmark = pytest.mark.kafka


def test_a_chain_of_five_stages_goes_through_the_topic_exchange(pair: Fleet) -> None:
    # given an application that declares nothing, and pool processes that forward what they never declared
    pair.run(
        "from celery import chain\n"
        "chain(*[routed(stage, name, 'acme.e-1', *([[]] if name == 'intake' else []), name=name)"
        " for name in STAGES]).apply_async()"
    )
    # then every stage runs, in order, with the result of the one before
    until(lambda: len(pair.journal("stage")) >= 5, "five stages")
    trails = [entry["trail"] for entry in pair.journal("stage")]
    assert trails == [["intake", "triage", "policy", "playbook", "tool"][:done] for done in range(5)]


def test_every_worker_answers_a_ping_and_says_what_it_consumes(pair: Fleet) -> None:
    printed = pair.run(
        "inspect = app.control.inspect(timeout=20, limit=2)\n"
        "print(sorted(inspect.ping()))\n"
        "print(sorted({q['name'] for qs in inspect.active_queues().values() for q in qs}))"
    )
    answers, queues = printed.splitlines()
    assert answers == "['one@test', 'two@test']"
    assert queues == "['intake', 'plain', 'playbook', 'policy', 'tool', 'triage']"


def test_task_events_reach_a_listener_in_another_process(pair: Fleet) -> None:
    printed = pair.run(
        "seen = []\n"
        "with app.connection_for_read() as c:\n"
        "    def hear(event):\n"
        "        seen.append(event['type'])\n"
        "        receiver.should_stop = event['type'] == 'task-succeeded'\n"
        "    receiver = app.events.Receiver(c, handlers={'task-received': hear, 'task-succeeded': hear})\n"
        "    receiver.on_consume_ready = lambda *_, **__: work.delay(1)\n"
        "    receiver.capture(timeout=10, wakeup=False)\n"
        "print(seen)"
    )
    assert printed.strip() == "['task-received', 'task-succeeded']"


def test_a_retry_with_countdown_comes_back_on_time(pair: Fleet) -> None:
    pair.run("flaky.delay(succeeds_at=2, countdown=0.8)")
    until(lambda: len(pair.journal("try")) >= 3, "two retries")
    tries = pair.journal("try")
    assert [entry["retries"] for entry in tries] == [0, 1, 2]
    gaps = [later["at"] - earlier["at"] for earlier, later in pairwise(tries)]
    assert all(0.75 <= gap <= 10 for gap in gaps), gaps


def test_a_message_with_an_eta_waits_in_kafka_not_in_a_worker(pair: Fleet) -> None:
    # given tasks for now, in a second, and in an hour
    pair.run(
        "import time\n"
        "on_time.apply_async((time.time() + 1.5,), countdown=1.5)\n"
        "on_time.apply_async((time.time() + 3600,), countdown=3600)"
    )
    # then the near one runs on time, not early
    [entry] = until(lambda: pair.journal("on_time"), "the delayed task")
    assert -0.01 <= entry["late"] <= 15
    # and no worker holds the far one
    printed = pair.run("print(app.control.inspect(timeout=20, limit=2).scheduled())")
    assert printed.strip() == "{'one@test': [], 'two@test': []}" or "'eta'" not in printed


def test_a_task_that_kills_its_process_is_delivered_again(pair: Fleet) -> None:
    pair.run("last_words.delay()")
    until(lambda: len(pair.journal("attempt")) >= 2, "a second attempt")
    assert [entry["redelivered"] for entry in pair.journal("attempt")] == [False, True]


def test_one_key_is_worked_in_order_by_two_workers(pair: Fleet) -> None:
    # given 20 messages for each of 12 keys, for two workers with two processes each
    keys, each = 12, 20
    pair.run(
        f"with app.producer_pool.acquire() as p, p.batch():\n"
        f"    for number in range({each}):\n"
        f"        for key in range({keys}):\n"
        f"            routed(work, 'triage', f'k{{key}}', number, key=f'k{{key}}', seconds=0.005)"
        f".apply_async(producer=p)"
    )
    until(lambda: len(with_key(pair.journal("end"))) >= keys * each, "all work done", 40)
    begun, ended = by_key(pair.journal("begin")), by_key(pair.journal("end"))
    # then each key was worked in order, one after the other
    for key in begun:
        assert [entry["number"] for entry in begun[key]] == list(range(each))
        overlaps = [b["at"] < e["at"] for e, b in zip(ended[key], begun[key][1:], strict=False)]
        assert not any(overlaps), f"{key} was worked in parallel"
    # and both workers took part
    assert len({entry["pid"] for entry in with_key(pair.journal("end"))}) == 4


def test_kill_9_of_a_worker_amid_work_loses_nothing_and_keeps_each_key_in_order(fleet: Fleet) -> None:
    # given two workers amid 300 tasks of 15 keys
    fleet.start("doomed", "-Q", "triage")
    fleet.start("other", "-Q", "triage")
    fleet.ready("doomed", "other")
    fleet.run(
        "with app.producer_pool.acquire() as p, p.batch():\n"
        "    for number in range(20):\n"
        "        for key in range(15):\n"
        "            routed(work, 'triage', f'k{key}', number, key=f'k{key}', seconds=0.02).apply_async(producer=p)"
    )
    until(lambda: len(fleet.journal("end")) >= 60, "work is under way")
    # when one is killed and comes back
    fleet.kill("doomed")
    fleet.start("doomed", "-Q", "triage")
    # then every task is done, the first runs of each key in order, and few are run twice
    until(lambda: len(done(fleet)) >= 300, "all 300 tasks done", 40)
    for entries in by_key(fleet.journal("begin")).values():
        first_runs = list(dict.fromkeys(entry["number"] for entry in entries))
        assert first_runs == list(range(20))
    assert len(fleet.journal("end")) - 300 <= 30


def test_a_delayed_task_survives_a_kill_9(fleet: Fleet) -> None:
    # given a task due in four seconds, which the only worker has seen on the delay topic
    fleet.corner.options["consumer_config"] = {"group.instance.id": "slot-1"}
    fleet.start("only")
    fleet.ready("only")
    until(lambda: "_delays: assigned" in fleet.log("only"), "the worker moves delayed tasks")
    fleet.run("import time\nfor _ in range(5): on_time.apply_async((time.time() + 4,), countdown=4)")
    # when the worker is killed and restarted in place
    fleet.kill("only")
    fleet.start("only")
    # then the tasks run, once each, not early and not much late
    until(lambda: len(fleet.journal("on_time")) >= 5, "the delayed tasks")
    late = [entry["late"] for entry in fleet.journal("on_time")]
    assert len(late) == 5
    assert all(-0.01 <= one <= 15 for one in late), late


def test_threads_and_solo_pools_work_too(fleet: Fleet) -> None:
    fleet.start("threads", "-P", "threads", "-Q", "plain")
    fleet.start("solo", "-P", "solo", "-Q", "intake")
    fleet.ready("threads", "solo")
    fleet.run("for n in range(20): work.delay(n, key='threads'); routed(work, 'intake', 'k', n, key='solo').delay()")
    until(lambda: len(done(fleet)) >= 40, "20 tasks with each pool")
    assert {key: len(entries) for key, entries in by_key(fleet.journal("end")).items()} == {"threads": 20, "solo": 20}


def test_workers_told_to_stop_finish_what_they_began_end_at_once_and_leave_nothing_to_do_twice(fleet: Fleet) -> None:
    # given workers amid thousands of tiny tasks: some have always just begun, and no worker has heard of it yet
    workers = ("one", "two", "three", "four")
    for name in workers:
        fleet.start(name, "-Q", "plain", "-c", "4")
    fleet.ready(*workers)
    fleet.run(
        "with app.producer_pool.acquire() as p, p.batch():\n"
        "    for number in range(3000): work.apply_async((number,), {'seconds': 0.002}, producer=p)"
    )
    until(lambda: all(fleet.log(name).count("succeeded") >= 20 for name in workers), "every worker works", 60)
    # when all are told to stop
    killed = fleet.stop()
    # then they ended at once, and what they had begun they had done
    assert killed == []
    begun = [entry["number"] for entry in fleet.journal("begin")]
    assert len(begun) < 3000
    assert {number for _, number in done(fleet)} == set(begun)
    # and another does the rest, and nothing twice
    fleet.start("last", "-Q", "plain")
    until(lambda: len(done(fleet)) >= 3000, "all tasks done", 60)
    assert len(fleet.journal("begin")) == 3000


def test_an_exchange_without_a_queue_is_told_to_who_publishes(corner: Corner, tmp_path: Path) -> None:
    # given an application that names an exchange to which nobody has bound a queue
    fleet = Fleet(corner, tmp_path)
    printed = fleet.run(
        "try:\n"
        "    stage.s([], 'x').set(exchange='exceptions', routing_key='triage.1').apply_async(retry=False)\n"
        "except Exception as failure: print(type(failure).__name__, failure)"
    )
    # then it is an error that says what to do, not a lost task
    assert "Unroutable" in printed or "OperationalError" in printed
    assert "declared its queue" in printed


def done(fleet: Fleet) -> set[tuple[str, int]]:
    return {(entry["key"], entry["number"]) for entry in fleet.journal("end")}


def with_key(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.get("key")]


def by_key(entries: list[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in with_key(entries):
        found[entry["key"]].append(entry)
    return found
