"""A batch that kills its worker at a deciding stage: the guilty are found, the others resolved within a minute."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.poisoned_worker import KINDS
from tests.integration.conftest import Product
from tests.integration.poison.verdict import assert_only_the_guilty_fell, dead_letters, wait_until_judged
from tests.tenants import sample

pytestmark = [pytest.mark.kafka, pytest.mark.stack, pytest.mark.timeout(240)]

BATCH = 240

ENDS = {
    "exit": "exitcode 23",
    "segfault": "signal 11 (SIGSEGV)",
    "memory": "lack of memory",
    "hang": "time limit of 4 s",
}


def test_each_kind_of_poison_is_found_in_one_batch(product: Product, record_property: Any) -> None:
    # given a batch with one exception of each kind among many, each at a place of its own
    tenant = product.tenant()
    client = product.client(tenant)
    bodies = [sample("internal", orderId=f"ORD-{n}") for n in range(BATCH)]
    places = {kind: 30 + 50 * number for number, kind in enumerate(KINDS)}
    for kind, place in places.items():
        bodies[place]["rawPayload"] |= {"poison": kind, "poisonStage": "triage"}
    # when it is posted
    accepted = client.post_batch(bodies)
    wait_until_judged(product, client, accepted, 120)
    # then exactly these are dead-lettered, and every other is resolved in time
    guilty = {kind: accepted[place] for kind, place in places.items()}
    others = [one for one in accepted if one not in guilty.values()]
    slowest = assert_only_the_guilty_fell(product, tenant, list(guilty.values()), others)
    record_property("slowest_of_the_others_seconds", slowest)
    print("slowest of the others:", slowest)
    letters = dead_letters(product, tenant)
    for kind, exception_id in guilty.items():
        # and its dead letter says what its end was, how often, where, and with whom it came
        letter = letters[exception_id]
        assert (letter.error_class, letter.error_kind, letter.stage) == ("WorkerCrashed", "poison", 1)
        # (a dead process whose end is noticed later than the time limit of this fleet is told by the limit)
        ends = letter.evidence["ends"]
        assert ENDS[kind] in {end["how"] for end in ends}
        alone = [end for end in ends if end["exceptions"] == 1]
        assert len(alone) == 3
        assert {end["how"] for end in alone} <= {ENDS[kind], ENDS["hang"]}
        assert all(end["own"] for end in alone)
        assert alone[-1]["how"] in letter.message
        assert all("@test" in end["worker"] for end in alone)
        assert max(end["exceptions"] for end in ends) == BATCH
        # and its timeline tells it
        told = [event for event in client.timeline(exception_id) if event["type"] == "RetryScheduled"]
        assert {(event["data"]["errorKind"], event["data"]["attempt"]) for event in told} == {
            ("poison", 1),
            ("poison", 2),
        }
        assert client.timeline(exception_id)[-1]["type"] == "DeadLettered"
