"""The records of an event: their form, and that any CloudEvents consumer understands it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from service.domain import identifiers
from service.domain.guard import FINISHED
from service.relay.cloudevents import (
    LARGEST_DATA_CHARACTERS,
    LoggedEvent,
    Record,
    dead_letter_record,
    event_id,
    event_record,
    is_dead_letter,
)

EXCEPTION = "0195a0c4-7f1e-7abc-8def-0123456789ab"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EVENT = LoggedEvent(
    exception_id=EXCEPTION,
    position=3,
    microseconds=1_772_366_400_123_456,
    time="2026-03-01T12:00:00.123456Z",
    tenant_id="TENANT_A",
    sequence="1",
    stage=1,
    attempt="1",
    type="TriageCompleted",
    trace_id="0af7651916cd43dd8448eb211c80319c",
    pack_versions="domain=3,tenant=7",
    data='{"severity": "HIGH"}',
)


def headers_of(record: Record) -> dict[str, str]:
    return {name: str(value) for name, value in record.headers}


def test_a_cloudevents_consumer_reads_the_record() -> None:
    # given the record of an event, as it travels
    record = event_record(EVENT)
    headers = {name: value.encode() for name, value in headers_of(record).items()}
    # when the CloudEvents SDK reads it
    event = from_binary(KafkaMessage(headers, record.key, str(record.value).encode()), JSONFormat())
    # then it is a valid CloudEvent that says what happened to what, when and to whom
    assert (event.get_type(), event.get_subject()) == ("com.sentinai.exception.TriageCompleted", EXCEPTION)
    assert event.get_source() == "/tenants/TENANT_A"
    assert event.get_time() == datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
    assert event.get_data() == {"severity": "HIGH"}
    extensions = ("tenant", "sequence", "position", "stage", "attempt", "packversions")
    assert [event.get_extension(name) for name in extensions] == [
        "TENANT_A", "1", "3", "triage", "1", "domain=3,tenant=7",
    ]  # fmt: skip


def test_the_key_is_the_exception() -> None:
    assert event_record(EVENT).key == EXCEPTION


def test_the_event_belongs_to_the_exceptions_trace() -> None:
    version, trace, span, flags = headers_of(event_record(EVENT))["ce_traceparent"].split("-")
    assert (version, trace, flags) == ("00", EVENT.trace_id, "01")
    assert len(span) == 16
    assert int(span, 16) != 0


@given(
    exception=st.uuids(),
    position=st.integers(1, 2**31 - 1),
    since=st.timedeltas(timedelta(0), timedelta(days=365 * 200)),
)
def test_the_identifier_is_the_domains(exception: UUID, position: int, since: timedelta) -> None:
    derived = event_id(str(exception), position, since // timedelta(microseconds=1))
    assert derived == str(identifiers.event_id(exception, position, EPOCH + since))


def test_an_event_of_an_exception_at_rest_has_a_stage_too() -> None:
    # given an event that comes when the input is finished, such as the reconciler's of work in an unknown lane
    record = event_record(EVENT._replace(stage=FINISHED, type="Reconciled"))
    # then it is published like any other: one that cannot be would stop all that follow
    assert headers_of(record)["ce_stage"] == "finished"


def test_what_is_not_known_yet_is_left_out() -> None:
    assert "ce_packversions" not in headers_of(event_record(EVENT._replace(pack_versions=None)))


def test_data_that_no_broker_takes_is_referred_to() -> None:
    record = event_record(EVENT._replace(data='"' + "x" * LARGEST_DATA_CHARACTERS + '"'))
    assert record.value == "{}"
    assert headers_of(record)["ce_dataref"] == f"/exceptions/{EXCEPTION}/events"


def test_a_dead_letter_says_what_went_wrong_where() -> None:
    data = '{"errorClass": "ToolUnavailable", "message": "tool \'settle\' answered 503", "attempts": 3}'
    event = EVENT._replace(type="DeadLettered", stage=4, data=data)
    assert is_dead_letter(event)
    assert not is_dead_letter(EVENT)
    record = dead_letter_record(event)
    headers = headers_of(record)
    assert headers.pop("traceparent").startswith(f"00-{EVENT.trace_id}-")
    assert headers == {
        "content-type": "application/json",
        "tenant": "TENANT_A",
        "exception": EXCEPTION,
        "sequence": "1",
        "stage": "tool",
        "errorClass": "ToolUnavailable",
        "attempts": "3",
    }
    value = orjson.loads(record.value)
    assert value["message"] == "tool 'settle' answered 503"
    assert (value["eventId"], value["exceptionId"]) == (headers_of(event_record(event))["ce_id"], EXCEPTION)
    assert not value.keys() & {"signature", "errorKind", "tool", "deadLetterId"}


def test_a_dead_letter_s_record_says_what_it_has_in_common_with_others() -> None:
    # given an event as stages write it, at a stage that calls no tool
    common = {"errorKind": "permanent", "signature": "0f1e2d3c4b5a6978", "deadLetterId": EXCEPTION}
    data = {"errorClass": "PayloadInvalid", "message": "x", "attempts": 1, "tool": None, **common}
    record = dead_letter_record(EVENT._replace(type="DeadLettered", data=orjson.dumps(data).decode()))
    # then both its headers and its value have what is known
    assert common.items() <= headers_of(record).items()
    assert common.items() <= orjson.loads(record.value).items()
    assert "tool" not in headers_of(record)
    assert "tool" not in orjson.loads(record.value)
