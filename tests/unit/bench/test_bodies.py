"""Bodies of the load: the sample as it is, and no two payloads alike."""

from __future__ import annotations

import json

from service.bench.bodies import FIELD, Bodies
from service.bench.client import Answer
from service.bench.tally import Tally

SAMPLE = {"sourceSystem": "desk", "exceptionType": "FAIL", "rawPayload": {"orderId": "ORD-1", "amount": 2.5}}


def test_a_batch_holds_the_sample_that_many_times_with_values_of_their_own() -> None:
    bodies = Bodies(SAMPLE)
    # when a batch and a single body are made
    items = [*json.loads(bodies.many(500))["items"], json.loads(bodies.one())]
    # then every payload is the sample's with a reference of its own
    references = {item["rawPayload"].pop(FIELD) for item in items}
    assert len(references) == 501
    assert all(item == SAMPLE for item in items)
    assert FIELD not in SAMPLE["rawPayload"]


def test_the_tally_tells_accepted_rejected_and_unknown_apart() -> None:
    tally = Tally()
    # given a batch of which one item was refused, a request that was refused, and one without an answer
    batch = json.dumps(
        {"accepted": 2, "rejected": 1, "items": [{"index": 0, "problem": {}}, {"index": 1, "exceptionId": "x"}]}
    )
    tally.add(Answer(202, began=1.0, seconds=0.1, body=batch.encode()), 3, "A")
    tally.add(Answer(429, began=2.0, seconds=0.1, body=b"slow down"), 3, "A")
    tally.add(Answer(0, began=3.0, seconds=30.0, body=b"timed out"), 3, "A")
    errors = tally.errors()
    # then
    assert (tally.accepted, errors.rejected_items, errors.unknown_items) == (2, 1, 3)
    assert errors.by_status == {"429": 1, "no answer": 1}
    assert errors.words == ("slow down", "timed out")
    assert tally.recent[-1].exception_id == "x"
    # and only accepted requests that began in the span have a duration
    assert tally.durations(0.0, 10.0) == [0.1]
    assert tally.durations(1.5, 10.0) == []
