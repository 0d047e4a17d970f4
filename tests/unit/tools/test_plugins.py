"""Plug-ins: an installed package's callable is a tool, and how it ends says what is known about its effect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.resources import Grant
from service.tools import Answer, HttpToolClient
from service.tools.kinds import BlockingKind
from service.tools.plugins import Plugins
from tests.tools.given import TEXT, a_call, a_client, result_of, secrets_with

RATING: dict[str, Any] = {
    "kind": "python",
    "plugin": "rating",
    "parameters": {"name": TEXT},
    "config": {"scale": ["AAA", "AA"], "apiKey": "secret://env/RATING"},
    "timeoutSeconds": 0.3,
}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpToolClient]:
    # given a package that is installed, with the entry points that its metadata names
    metadata = tmp_path / "sentinai_rating-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: sentinai-rating\nVersion: 1.0\n")
    entries = "rating = tests.tools.plugin.example:Rating\nlost = tests.tools.plugin.nothing:Here\n"
    (metadata / "entry_points.txt").write_text(f"[sentinai.tools]\n{entries}")
    monkeypatch.syspath_prepend(tmp_path)
    grants = {"rating": Grant(tenants=("ACME",)), "lost": Grant(tenants=("*",)), "absent": Grant(tenants=("*",))}
    plugins = Plugins(grants, secrets_with(RATING="s3cret"))
    with a_client(kinds=lambda: {"python": BlockingKind(plugins)}) as client:
        yield client


def test_a_plug_in_is_called_with_what_it_needs(client: HttpToolClient) -> None:
    result = result_of(client, a_call(RATING, {"name": "Bank"}, key="0199"))
    assert (result.answer, result.output) == (Answer.CONFIRMED, {"rating": "AAA", "key": "0199", "as": 6})


@pytest.mark.parametrize(
    ("name", "plain", "idempotent", "says"),
    [
        ("busy", Answer.TRANSIENT, Answer.TRANSIENT, "BUSY"),
        ("unknown", Answer.PERMANENT, Answer.PERMANENT, "NO_SUCH_NAME"),
        ("talkative", Answer.PERMANENT, Answer.PERMANENT, "own log"),
        ("broken", Answer.UNANSWERED, Answer.TRANSIENT, "ZeroDivisionError"),
        ("slow", Answer.UNANSWERED, Answer.TRANSIENT, "timeout"),
        ("odd", Answer.UNANSWERED, Answer.PERMANENT, "JSON object"),
        ("huge", Answer.UNANSWERED, Answer.PERMANENT, "too large"),
    ],
)
def test_how_it_ends_says_what_is_known(
    client: HttpToolClient, name: str, plain: Answer, idempotent: Answer, says: str
) -> None:
    result = result_of(client, a_call(RATING, {"name": name}))
    assert result.answer is plain
    assert says in (result.error or "")
    assert "4711" not in (result.error or "")
    assert result_of(client, a_call({**RATING, "idempotent": True}, {"name": name})).answer is idempotent


def test_a_delay_that_the_plug_in_asks_for_is_kept(client: HttpToolClient) -> None:
    assert result_of(client, a_call(RATING, {"name": "busy"})).retry_after_seconds == 7


def test_a_plug_in_that_hangs_delays_nobody(client: HttpToolClient) -> None:
    calls = [a_call(RATING, {"name": name}, key=name) for name in ("slow", "Bank")]
    answers = [(result.key, result.answer) for group in client.results(calls) for result in group]
    assert answers == [("Bank", Answer.CONFIRMED), ("slow", Answer.UNANSWERED)]


@pytest.mark.parametrize(
    ("plugin", "tenant", "says"),
    [
        ("rating", "OTHER", "may not be used by this tenant"),
        ("unlisted", "ACME", "may not be used by this tenant"),
        ("absent", "ACME", "not installed"),
        ("lost", "ACME", "cannot be loaded"),
    ],
)
def test_what_the_operator_does_not_give_is_refused(
    client: HttpToolClient, plugin: str, tenant: str, says: str
) -> None:
    result = result_of(client, a_call({**RATING, "plugin": plugin}, {"name": "Bank"}, tenant=tenant))
    assert result.answer is Answer.PERMANENT
    assert says in (result.error or "")
