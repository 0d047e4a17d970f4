"""The egress guard against a real listener: what must not be called is never connected to, whatever DNS says.

Public addresses are not connected to by these tests: the guard under test notes them at its last gate and fails.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from yarl import URL

from service.domain.plans import ToolCall
from service.tools import Answer, EgressGuard, HttpToolClient, PreparedCall, ToolResult
from service.tools.addresses import is_public, literal
from service.tools.answers import Reply
from service.tools.egress import NO_RULES, EgressRefusedError, EgressRules, NameUnknownError
from service.tools.limits import CallLimits, CallSlots
from tests.conformance.tools.scripted_server import ScriptedServer

PUBLIC = "93.184.216.34"


class OfflineGuard(EgressGuard):
    """The guard, on a machine whose way to the Internet is cut: it notes where a connection would have gone."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.outward: list[str] = []

    def open_socket(self, info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        opened = super().open_socket(info)
        if is_public(literal(info[4][0])):
            opened.close()
            self.outward.append(info[4][0])
            raise OSError("there is no Internet here")
        return opened


class GullibleGuard(OfflineGuard):
    """A guard whose first checks are gone: only its last gate is left."""

    def checked(self, url: str, rules: EgressRules = NO_RULES) -> URL:
        return URL(url)


@dataclass
class Listener:
    """A TCP server on loopback that nobody may reach."""

    server: socket.socket

    @property
    def port(self) -> int:
        port: int = self.server.getsockname()[1]
        return port

    def was_reached(self) -> bool:
        """Whether a connection was made: the kernel has taken it, even if nobody has accepted it yet."""
        try:
            self.server.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def listener() -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield Listener(server)


@dataclass
class Names:
    """The name service of the test: each look-up of a name takes its next answer, the last one for good."""

    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    lookups: list[str] = field(default_factory=list)

    def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else str(host)
        self.lookups.append(name)
        script = self.answers.get(name)
        if script is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        addresses = script.pop(0) if len(script) > 1 else script[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (one, int(port))) for one in addresses]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    return names


def called(guard: EgressGuard, url: str) -> ToolResult:
    """The result of one call with a client of its own, so that nothing is remembered from an earlier one."""
    with closing(HttpToolClient(CallSlots(CallLimits.alike(4)), guard)) as client:
        call = PreparedCall("k1", "TENANT_A", ToolCall("settle", url, {}, timeout_seconds=5))
        [[result]] = list(client.results([call]))
        return result


def test_the_listener_notices_a_connection(listener: Listener) -> None:
    assert not listener.was_reached()
    socket.create_connection(("127.0.0.1", listener.port)).close()
    assert listener.was_reached()


def test_a_name_that_changes_to_a_private_address_reaches_nobody(listener: Listener, names: Names) -> None:
    # given a name that is public when it is asked for first, and this machine ever after
    names.answers["rebind.example"] = [[PUBLIC], ["127.0.0.1"]]
    guard, url = OfflineGuard(), f"https://rebind.example:{listener.port}/x"
    # when it is called twice
    first, second = called(guard, url), called(guard, url)
    # then the first call goes to the address that was checked, with no second look-up before it connects
    assert first.answer is Answer.TRANSIENT
    assert guard.outward == [PUBLIC]
    # and the second is refused
    assert second.answer is Answer.PERMANENT
    assert names.lookups == ["rebind.example"] * 2
    assert not listener.was_reached()


@pytest.mark.parametrize("addresses", [[PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], ["127.0.0.1"], ["0.0.0.0"]])
def test_a_name_with_one_private_address_is_not_called_at_all(
    listener: Listener, names: Names, addresses: list[str]
) -> None:
    names.answers["both.example"] = [addresses]
    guard = OfflineGuard()
    result = called(guard, f"https://both.example:{listener.port}/x")
    assert result.answer is Answer.PERMANENT
    assert guard.outward == []
    assert not listener.was_reached()


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "127.1", "0x7f.1", "127.0.0.1.", "0.0.0.0"])
def test_a_spelling_that_slipped_through_is_stopped_at_the_socket(listener: Listener, host: str) -> None:
    # The HTTP library takes digits for an address and asks no resolver about them.
    result = called(GullibleGuard(), f"https://{host}:{listener.port}/x")
    assert result.answer is not Answer.CONFIRMED
    assert not listener.was_reached()


def test_what_the_operator_listed_is_reached_by_that_name_only(names: Names) -> None:
    with ScriptedServer() as server:
        port = server.origin.rsplit(":", 1)[1]
        names.answers |= {"tools.internal": [["127.0.0.1"]], "other.internal": [["127.0.0.1"]]}
        guard = OfflineGuard([f"tools.internal:{port}"])
        assert called(guard, f"http://tools.internal:{port}/settle").answer is Answer.CONFIRMED
        assert called(guard, f"https://other.internal:{port}/settle").answer is Answer.PERMANENT
        assert called(guard, f"https://127.0.0.1:{port}/settle").answer is Answer.PERMANENT
        assert server.requests == 1


def test_a_redirect_is_not_followed(listener: Listener) -> None:
    with ScriptedServer() as server:
        server.script["k1"] = Reply(302, b"")
        server.location = f"http://127.0.0.1:{listener.port}/x"
        result = called(EgressGuard([server.origin, f"127.0.0.1:{listener.port}"]), f"http://{server.origin}/settle")
    assert result.answer is Answer.PERMANENT and "302" in (result.error or "")
    assert not listener.was_reached()


def test_what_is_no_http_connects_to_the_checked_addresses(names: Names, listener: Listener) -> None:
    names.answers |= {"mail.example": [[PUBLIC]], "inner.example": [["127.0.0.1"]]}
    guard = OfflineGuard()
    assert [info[4] for info in guard.addresses("mail.example", 587)] == [(PUBLIC, 587)]
    with pytest.raises(EgressRefusedError):
        guard.addresses("inner.example", listener.port)
    with pytest.raises(EgressRefusedError):
        guard.open_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", listener.port)))
    with pytest.raises(NameUnknownError):
        guard.addresses("nowhere.example", 587)
