"""The keys that seal payloads come by reference, in order, and are never in a message."""

from __future__ import annotations

import base64
import logging

import pytest

from service.errors import ConfigurationError
from service.keyring import open_sealing
from service.persistence.sealing import PAYLOAD
from service.settings import load_settings

ONE, TWO = bytes(range(32)), bytes(range(32, 64))
ROW = bytes(16)


def environment(keys: str, **more: str) -> dict[str, str]:
    found = {"KEY_ONE": base64.b64encode(ONE).decode(), "KEY_TWO": TWO.hex() + "\n", "SHORT": "c2hvcnQ=", **more}
    return {"SENTINAI_PAYLOAD_KEYS": keys, **found}


def test_the_first_key_seals_and_all_open() -> None:
    both = environment("two=secret://env/KEY_TWO, one=secret://env/KEY_ONE")
    sealing = open_sealing(load_settings(both), both)
    assert sealing.current == "two"
    earlier = environment("one=secret://env/KEY_ONE")
    stored = open_sealing(load_settings(earlier), earlier).seal("A", ROW, PAYLOAD, {"a": 1})
    assert sealing.open("A", ROW, PAYLOAD, stored) == {"a": 1}


@pytest.mark.parametrize(
    "keys",
    [
        "one=secret://env/MISSING",
        "one=secret://env/SHORT",
        "one=secret://env/SENTINAI_SECRET_KEY",
        "one=secret://file/system/key",
        f"one={base64.b64encode(ONE).decode()}",
        "one=",
        "a key=secret://env/KEY_ONE",
    ],
)
def test_a_key_that_is_none_or_that_packs_could_read_stops_the_process(keys: str) -> None:
    given = environment(keys, SENTINAI_SECRET_KEY=base64.b64encode(ONE).decode())
    with pytest.raises(ConfigurationError) as caught:
        open_sealing(load_settings(given), given)
    said = str(caught.value)
    assert "SENTINAI_PAYLOAD_KEYS" in said
    assert base64.b64encode(ONE).decode() not in said and "c2hvcnQ" not in said


def test_without_a_key_each_process_says_once_that_payloads_are_not_sealed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sealing = open_sealing(load_settings({}), {})
    assert sealing.current is None
    assert ["SENTINAI_PAYLOAD_KEYS" in record.message for record in caplog.records] == [True]
