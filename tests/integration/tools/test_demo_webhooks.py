"""A webhook tool and the demo tool server's receiver agree on who sent what."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import orjson
import pytest

from service.tools import Answer
from tests.tools.given import TEXT, a_call, a_client, result_of, secrets_with

SECRET, OTHER = "whsec_" + "A" * 44, "whsec_" + "B" * 44


@pytest.mark.parametrize(
    ("secret", "answer", "outcomes"),
    [(SECRET, Answer.CONFIRMED, ["worked", "replayed"]), (OTHER, Answer.PERMANENT, ["failed", "failed"])],
    ids=["the receiver's secret", "another secret"],
)
def test_a_receiver_works_what_is_signed_and_works_it_once(
    tool_server_url: str, secret: str, answer: Answer, outcomes: list[str]
) -> None:
    # given a receiver with a secret
    name = f"hook-{outcomes[0]}"
    body = orjson.dumps({"secret": SECRET})
    with urlopen(Request(f"{tool_server_url}/webhooks/{name}", data=body, method="PUT")) as opened:
        assert opened.status == 204
    definition = {
        "kind": "webhook",
        "endpoint": f"{tool_server_url}/webhooks/{name}",
        "signingSecret": "secret://env/HOOK",
        "parameters": {"id": TEXT},
        "body": {"type": "order.late", "data": {"id": "{{ parameters.id }}"}},
    }
    # when the same message comes twice
    with a_client(urlsplit(tool_server_url).netloc, secrets=secrets_with(HOOK=secret)) as client:
        results = [result_of(client, a_call(definition, {"id": "7"}, key=f"message-{name}")) for _ in range(2)]
    # then the receiver judges the signature, and works the message once
    assert [result.answer for result in results] == [answer, answer]
    with urlopen(f"{tool_server_url}/calls?key=message-{name}") as listed:
        assert [call["outcome"] for call in orjson.loads(listed.read())["items"]] == outcomes
