"""What a seed decides, and how the report and the figures of recovery are made: pure, so quick to check."""

from __future__ import annotations

from tests.chaos.pipeline.kinds import DEAD, Kind, Said, domain_pack, resting
from tests.chaos.pipeline.plan import Scale, exact_round, round_of
from tests.chaos.pipeline.recovery import Struck, recovery
from tests.chaos.pipeline.report import Line, as_document, from_document, table

SCALE = Scale()
FAULTS = ["kill-worker", "freeze-worker", "kill-broker", "poison-exit"]


def test_a_seed_and_a_number_decide_a_round_whatever_was_before() -> None:
    assert round_of(7, 3, FAULTS, SCALE) == round_of(7, 3, list(reversed(FAULTS)), SCALE)
    assert round_of(7, 3, FAULTS, SCALE) != round_of(7, 4, FAULTS, SCALE)
    assert round_of(7, 3, FAULTS, SCALE).posts != round_of(8, 3, FAULTS, SCALE).posts


def test_any_deck_of_rounds_meets_every_fault() -> None:
    for first in (1, 1 + len(FAULTS)):
        rounds = [round_of(5, number, FAULTS, SCALE) for number in range(first, first + len(FAULTS))]
        assert {one.faults[0] for one in rounds} == set(FAULTS)


def test_only_the_faults_that_were_asked_for_strike() -> None:
    met = {name for number in range(1, 30) for name in round_of(2, number, ["kill-api"], SCALE).faults}
    assert met == {"kill-api"}


def test_the_load_is_as_large_as_asked_and_has_every_kind() -> None:
    plan = exact_round(1, 1, [], SCALE)
    exceptions = [one for post in plan.posts for one in post.exceptions]
    assert len(exceptions) == SCALE.exceptions
    assert len({one.ref for one in exceptions}) == len(exceptions)
    assert {one.kind for one in exceptions} == {kind for kind in Kind if kind.poison is None}
    assert {post.tenant for post in plan.posts} == set(range(SCALE.tenants))
    assert all(0 <= post.at <= SCALE.seconds for post in plan.posts)
    assert {later.said for one in exceptions for later in one.later} == set(Said)


def test_poison_comes_in_the_middle_of_a_batch_of_innocent_ones() -> None:
    plan = exact_round(1, 1, ["poison-segfault"], SCALE)
    (post,) = [post for post in plan.posts if any(one.kind.poison for one in post.exceptions)]
    assert post.bulk and [one.kind for one in post.exceptions].count(Kind.POISON_SEGFAULT) == 1
    assert post.at == plan.strikes[0].at


def test_every_kind_has_a_playbook_and_an_end() -> None:
    assert len(domain_pack()["playbooks"]) == len(Kind)
    assert all(resting(kind, {Said.CANCEL, Said.REDRIVE}) == {"DEAD_LETTERED"} for kind in DEAD)
    assert resting(Kind.PERMANENT, {Said.DISCARD}) == {"DISCARDED"}
    assert resting(Kind.STRAIGHT, {Said.COMMENT, Said.CANCEL}) == {"CANCELLED"}
    assert resting(Kind.APPROVAL, {Said.REJECT}) == {"ESCALATED"}


def test_recovery_is_the_longest_gap_and_the_time_of_those_who_were_met() -> None:
    # given a fault from 10 to 12, and work that is resolved before, at 17 and 18, and after the load's end at 20
    struck = Struck("kill-worker", 10.0, 12.0)
    found = recovery(struck, [8.0, 9.0, 17.0, 18.0, 30.0], [(8.0, 9.0), (9.5, 17.0), (11.0, 18.0), (13.0, 19.0)], 20.0)
    # then nothing came through from the strike to 17, and two were met: one under way, one that came in
    assert (found.gap, found.affected, found.p99) == (7.0, 2, 7.0)


def test_nothing_through_before_the_load_is_over_is_a_gap_until_the_next() -> None:
    found = recovery(Struck("all-brokers", 10.0, 12.0), [9.0, 25.0], [], 20.0)
    assert (found.gap, found.affected, found.p99) == (15.0, 0, None)


def test_the_table_shows_what_was_red_and_how_long_faults_were_felt() -> None:
    felt = ({"fault": "kill-api", "gap": 2.0, "p99": 3.0, "affected": 4, "in_force": 1.0},)
    lines = [
        Line(1, 1, ("kill-api",), (), 300, 20.0, 3.0, felt),
        Line(1, 2, ("kill-api", "kill-beat"), ("L3",), 300, 20.0, None, (), "/evidence"),
    ]
    shown = table(lines)
    assert "| kill-api | 2 | 0 | 0 | **1 red** |" in shown
    assert "| 2.0 s, 2.0 s | 3.0 s, 3.0 s |" in shown
    assert shown.endswith("2 rounds, 600 exceptions: 1 red (L3)")
    # and what is kept of a round in a file is the round
    assert [from_document(document) for document in as_document(lines)] == lines
