"""Which ports an instance gets."""

from __future__ import annotations

import socket

import pytest

from service.devstack.errors import PortTakenError, StackError
from service.devstack.ports import DEFAULT_RANGE, STANDARD, choose_ports, is_free, parse_range, require_free


def _in_order(pool: list[int]) -> None:
    pool.sort(reverse=True)


def test_a_restart_keeps_its_ports_while_they_are_free() -> None:
    # given an instance that remembers two ports
    remembered = {"kafka": 20_500, "redis": 20_501}
    # when it starts again and one was taken meanwhile
    chosen = choose_ports(
        ["kafka", "redis"], remembered, range(20_000, 20_010), free=lambda port: port != 20_501, shuffle=_in_order
    )
    # then both are outside the range that is now asked for, so both are new
    assert chosen == {"kafka": 20_000, "redis": 20_001}
    # and within the range the free one is kept
    kept = choose_ports(["kafka", "redis"], remembered, DEFAULT_RANGE, free=lambda port: port != 20_501)
    assert kept["kafka"] == 20_500
    assert kept["redis"] != 20_501


def test_no_two_services_share_a_port_and_none_takes_what_another_instance_remembers() -> None:
    # given four candidates of which another instance remembers one
    chosen = choose_ports(["a", "b", "c"], {}, range(20_000, 20_004), claimed={20_001}, free=lambda _: True)
    # then the other three are dealt out
    assert sorted(chosen.values()) == [20_000, 20_002, 20_003]


def test_ports_are_never_ephemeral_or_a_known_servers() -> None:
    # given a range around the ports of a well-known server
    around = choose_ports([str(n) for n in range(7)], {}, range(27_015, 27_025), free=lambda _: True)
    # then exactly the others are dealt out, and no choice can ever be ephemeral
    assert STANDARD.isdisjoint(around.values())
    assert DEFAULT_RANGE.stop <= 32_768


def test_a_range_without_room_is_refused_with_what_to_do() -> None:
    with pytest.raises(StackError, match="give another --ports"):
        choose_ports(["a", "b"], {}, range(20_000, 20_001), free=lambda _: True)


def test_every_taken_fixed_port_is_named() -> None:
    with pytest.raises(PortTakenError, match=r"ports are taken: postgres 5433, redis 6380; "):
        require_free({"postgres": 5433, "kafka": 9093, "redis": 6380}, free=lambda port: port == 9093)


def test_a_port_with_a_listener_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


@pytest.mark.parametrize("text", ["", "22000", "22000-", "80-90", "22199-22000", "30000-40000", "a-b"])
def test_a_range_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(StackError, match="--ports takes FIRST-LAST"):
        parse_range(text)


def test_a_range_includes_both_ends() -> None:
    assert list(parse_range("22000-22002")) == [22_000, 22_001, 22_002]
