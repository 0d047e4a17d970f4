"""The table of exchanges and bindings: what records say, and which queues a message goes to."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.transport.bindings import table as bindings
from service.transport.bindings.table import Binding, Change, Exchange, Table, absent, exchange_of, present

TOPIC = exchange_of("events", "topic")
DIRECT = exchange_of("jobs", "direct")

words = st.sampled_from(["a", "b", "*", "#"])
binding_keys = st.lists(words, min_size=1, max_size=4).map(".".join)
routing_keys = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map(".".join)
names = st.text(max_size=6)


def table_of(*facts: Exchange | Binding) -> Table:
    table = Table()
    for fact in facts:
        assert table.apply(*present(fact))
    return table


def queues(table: Table, exchange: str, routing_key: str) -> list[str]:
    return [route.queue for route in table.route(exchange, routing_key)]


def takes(binding: list[str], key: list[str]) -> bool:
    """AMQP's rule, word by word."""
    if not binding:
        return not key
    if binding[0] == "#":
        return takes(binding[1:], key) or (bool(key) and takes(binding, key[1:]))
    return bool(key) and binding[0] in ("*", key[0]) and takes(binding[1:], key[1:])


@given(bound=st.lists(binding_keys, max_size=6), routing_key=routing_keys)
def test_a_topic_exchange_routes_as_amqp_says(bound: list[str], routing_key: str) -> None:
    table = table_of(TOPIC, *(Binding("events", key, f"q{number}") for number, key in enumerate(bound)))
    expected = {f"q{n}" for n, key in enumerate(bound) if takes(key.split("."), routing_key.split("."))}
    assert set(queues(table, "events", routing_key)) == expected


@given(name=names, routing_key=names, queue=names, durable=st.booleans(), kind=st.sampled_from(["direct", "topic"]))
def test_every_name_survives_the_log(name: str, routing_key: str, queue: str, durable: bool, kind: str) -> None:
    exchange, binding = exchange_of(name, kind, durable, arguments={"n": 1}), Binding(name, routing_key, queue)
    table = table_of(exchange, binding)
    assert table.exchanges == {name: exchange}
    assert table.bindings() == [binding]


def test_a_direct_exchange_compares_and_a_fanout_takes_everything() -> None:
    fanout = exchange_of("news", "fanout")
    table = table_of(DIRECT, fanout, Binding("jobs", "a.#", "literal"), Binding("news", "x", "all"))
    assert queues(table, "jobs", "a.#") == ["literal"]
    assert queues(table, "jobs", "a.b") == []
    assert queues(table, "news", "anything") == ["all"]


def test_the_routing_key_says_something_where_only_wildcards_matched() -> None:
    table = table_of(TOPIC, Binding("events", "a.#", "wild"), Binding("events", "a.b", "both"))
    table.apply(*present(Binding("events", "a.*", "both")))
    assert {route.queue: route.varies for route in table.route("events", "a.b")} == {"wild": True, "both": False}
    assert {route.queue: route.varies for route in table.route("events", "a.c")} == {"wild": True, "both": True}


def test_a_change_is_seen_although_the_route_was_asked_for_before() -> None:
    # given a route that was asked for
    table = table_of(TOPIC, Binding("events", "a", "one"))
    assert queues(table, "events", "a") == ["one"]
    # when bindings come and go, then every answer is the newest
    table.apply(*present(Binding("events", "#", "two")))
    assert queues(table, "events", "a") == ["one", "two"]
    table.apply(*absent(Binding("events", "a", "one")))
    assert queues(table, "events", "a") == ["two"]
    table.apply(*absent(TOPIC))
    assert queues(table, "events", "a") == []
    assert table.remembered("events", "b") is None


def test_remembered_routes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindings, "_ROUTES_KEPT", 10)
    table = table_of(TOPIC, Binding("events", "#", "all"))
    for number in range(100):
        assert queues(table, "events", str(number)) == ["all"]
    assert sum(table.remembered("events", str(number)) is not None for number in range(100)) == 10


def test_amqs_own_exchanges_exist_without_a_declaration() -> None:
    table = table_of(Binding("amq.topic", "a.#", "q"))
    assert queues(table, "amq.topic", "a.b") == ["q"]
    assert table.type_of("amq.fanout") == "fanout"
    assert table.type_of("events") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b'["exchange","x"]', b'{"format":2,"type":"topic","durable":true,"auto_delete":false,"arguments":"{}"}'),
        (b'["exchange","x"]', b'{"format":1,"type":"x-delayed","durable":true,"auto_delete":false,"arguments":"{}"}'),
        (b'["exchange","x"]', b'{"format":1}'),
        (b'["exchange",7]', b'{"format":1}'),
        (b'["alias","x","y"]', b'{"format":1}'),
        (b'["binding","x","y"]', None),
        (b'["binding","x","y","q"]', b'{"format":"?"}'),
        (b'["binding","x","y","q"]', b"[]"),
        (b"\xff", b"{}"),
        (b"", None),
        (None, b"{}"),
    ],
)
def test_a_record_of_another_version_changes_nothing(key: bytes | None, value: bytes | None) -> None:
    table = table_of(TOPIC, Binding("events", "a", "q"))
    assert not table.apply(key, value)
    assert queues(table, "events", "a") == ["q"]
    assert list(table.exchanges) == ["events"]


def test_of_two_declarations_of_one_exchange_the_first_counts_until_it_is_deleted() -> None:
    other = exchange_of("events", "direct")
    table = table_of(TOPIC, other)
    assert table.exchanges["events"] == TOPIC
    table.apply(*absent(TOPIC))
    table.apply(*present(other))
    assert table.exchanges["events"] == other


facts = st.one_of(
    st.sampled_from([TOPIC, DIRECT]),
    st.builds(Binding, st.sampled_from(["events", "jobs"]), st.sampled_from(["a", "#"]), st.sampled_from(["q", "r"])),
)
logs = st.lists(st.builds(lambda fact, there: present(fact) if there else absent(fact), facts, st.booleans()))


@given(log=logs)
def test_a_compacted_log_says_the_same(log: list[Change]) -> None:
    whole, compacted = Table(), Table()
    for change in log:
        whole.apply(*change)
    newest = dict(log)
    for key in reversed(list(dict.fromkeys(key for key, _ in reversed(log)))):
        if newest[key] is not None:
            compacted.apply(key, newest[key])
    assert set(whole.bindings()) == set(compacted.bindings())
    assert whole.exchanges == compacted.exchanges


def test_records_can_be_read_by_people() -> None:
    key, value = present(exchange_of("events", "topic"))
    assert json.loads(key) == ["exchange", "events"]
    assert json.loads(value or b"") == {
        "format": 1,
        "type": "topic",
        "durable": True,
        "auto_delete": False,
        "arguments": "{}",
    }
