"""docs/tools.md: its examples are packs that load, settings that are read, and code that runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from service.domain.packs import parse_domain_pack
from service.domain.packs.notify import notify_call, notify_faults
from service.domain.packs.tools import KINDS, Auth, Tool
from service.resources import KafkaCluster, MailServer, Resources, SqlConnection, read_resources
from service.tools.plugins import NotWorkedError, PluginCall, RefusedError

_PAGE = (Path(__file__).parents[3] / "docs" / "tools.md").read_text()
_BLOCKS: list[dict[str, Any]] = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", _PAGE, re.DOTALL)]
_PACKS = [block for block in _BLOCKS if "domainName" in block]
_CODE = re.findall(r"```python\n(.*?)```", _PAGE, re.DOTALL)


@pytest.mark.parametrize("document", _PACKS, ids=lambda document: next(iter(document["tools"])))
def test_every_example_is_a_pack_without_faults_and_warnings(document: dict[str, Any]) -> None:
    assert parse_domain_pack(document).warnings == ()


def test_every_kind_has_an_example() -> None:
    assert {tool["kind"] for document in _PACKS for tool in document["tools"].values()} == set(KINDS)


@pytest.mark.parametrize("part", [Tool, *KINDS.values(), Auth], ids=lambda part: part.__name__)
def test_every_key_is_on_the_page(part: type[Any]) -> None:
    assert not {key for key in part.model_fields if f"`{key}`" not in _PAGE and f"{key}?" not in _PAGE} - {
        "type",
        "secret",
    }


@pytest.mark.parametrize("part", [Resources, SqlConnection, KafkaCluster, MailServer], ids=lambda part: part.__name__)
def test_every_key_of_the_operators_is_on_the_page(part: type[Any]) -> None:
    assert not {key for key in part.model_fields if not re.search(rf"`(\w+\.)?{key}(\.<name>)?`", _PAGE)}


def test_the_operators_example_is_read() -> None:
    (text,) = [block for block in re.findall(r"```json\n(.*?)```", _PAGE, re.DOTALL) if '"plugins"' in block]
    resources = read_resources(text)
    assert resources.sql["claims"].allows("ACME")
    assert not resources.sql["claims"].allows("OTHER")
    assert resources.mail is not None
    assert resources.mail.may_write_to("desk@orders.example")
    assert not resources.mail.may_write_to("desk@orders.example.evil")


def test_the_notification_of_the_page_is_one() -> None:
    (step,) = [block for block in _BLOCKS if block.get("action_type") == "notify"]
    assert list(notify_faults("params", step["params"])) == []
    assert notify_call(step["params"]).kind == "smtp"


def test_the_plug_in_of_the_page_runs() -> None:
    (source,) = [code for code in _CODE if "PluginCall" in code]
    module: dict[str, Any] = {}
    exec(compile(source, "acme_rating", "exec"), module)

    def call(company: str) -> PluginCall:
        return PluginCall("k", "ACME", "rate", {"company": company}, {"scale": "long"}, 8.0, lambda name: "s3cret")

    assert module["rate"](call("ACME")) == {"rating": "AA", "scale": "long", "authenticated": True}
    with pytest.raises(NotWorkedError):
        module["rate"](call("BUSY"))
    with pytest.raises(RefusedError):
        module["rate"](call("NOBODY"))
