"""What sealed values promise: only the key opens them, only where they belong, and only as they were."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ConfigurationError, PermanentError, TransientError
from service.persistence.sealing import PAYLOAD, SealBrokenError, Sealing, SealKey, SealKeyUnknownError, input_slot

ID = UUID("018f0000-0000-7000-8000-000000000001").bytes
OTHER_ID = UUID("018f0000-0000-7000-8000-000000000002").bytes
OLD, NEW = SealKey("k1", b"1" * 32), SealKey("k2", b"2" * 32)
PAYLOAD_VALUE = {"customer": {"ssn": "123-45-6789"}, "amount": 12.5, "legs": [1, None, "ü"]}


def test_a_sealed_payload_is_opened_where_it_was_sealed_and_shows_nothing() -> None:
    sealed = Sealing([OLD]).seal("ACME", ID, PAYLOAD, PAYLOAD_VALUE)
    assert Sealing([OLD]).open("ACME", ID, PAYLOAD, sealed) == PAYLOAD_VALUE
    assert b"123-45" not in sealed and b"customer" not in sealed


def test_two_sealings_of_one_value_are_different() -> None:
    sealing = Sealing([OLD])
    assert len({sealing.seal("ACME", ID, PAYLOAD, PAYLOAD_VALUE) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("tenant", "exception_id", "slot"),
    [
        ("ACME2", ID, PAYLOAD),
        ("ACM", ID, PAYLOAD),
        ("ACME", OTHER_ID, PAYLOAD),
        ("ACME", ID, input_slot(2)),
        ("ACME", ID, ""),
    ],
)
def test_another_tenants_row_another_row_and_another_column_cannot_open_it(
    tenant: str, exception_id: bytes, slot: str
) -> None:
    sealed = Sealing([OLD]).seal("ACME", ID, PAYLOAD, PAYLOAD_VALUE)
    with pytest.raises(SealBrokenError):
        Sealing([OLD]).open(tenant, exception_id, slot, sealed)


def test_no_byte_of_it_can_be_changed_and_none_be_missing() -> None:
    sealing = Sealing([OLD])
    sealed = sealing.seal("ACME", ID, PAYLOAD, PAYLOAD_VALUE)
    for place in range(len(sealed)):
        for bit in (1, 128):
            changed = bytearray(sealed)
            changed[place] ^= bit
            with pytest.raises((SealBrokenError, SealKeyUnknownError)):
                sealing.open("ACME", ID, PAYLOAD, bytes(changed))
        with pytest.raises((SealBrokenError, SealKeyUnknownError)):
            sealing.open("ACME", ID, PAYLOAD, sealed[:place])


def test_after_a_new_key_old_values_are_still_opened_and_move_to_it() -> None:
    # given a value sealed with the old key
    sealed = Sealing([OLD]).seal("ACME", ID, PAYLOAD, PAYLOAD_VALUE)
    # when a new key seals and the old one is kept
    both = Sealing([NEW, OLD])
    assert both.open("ACME", ID, PAYLOAD, sealed) == PAYLOAD_VALUE
    assert not sealed.startswith(both.header)
    # then a rotated value needs the old key no more
    moved = both.reseal("ACME", ID, PAYLOAD, sealed)
    assert moved.startswith(both.header)
    assert Sealing([NEW]).open("ACME", ID, PAYLOAD, moved) == PAYLOAD_VALUE
    # and one that was not rotated waits for the key, named, instead of failing for good
    with pytest.raises(SealKeyUnknownError, match="'k1'") as caught:
        Sealing([NEW]).open("ACME", ID, PAYLOAD, sealed)
    assert isinstance(caught.value, TransientError)


def test_another_key_of_the_same_id_does_not_open_it() -> None:
    sealed = Sealing([OLD]).seal("ACME", ID, PAYLOAD, PAYLOAD_VALUE)
    with pytest.raises(SealBrokenError) as caught:
        Sealing([SealKey("k1", b"x" * 32)]).open("ACME", ID, PAYLOAD, sealed)
    assert isinstance(caught.value, PermanentError)


def test_without_keys_a_value_says_that_it_is_not_sealed_and_a_key_seals_it_later() -> None:
    stored = Sealing().seal("ACME", ID, PAYLOAD, PAYLOAD_VALUE)
    assert stored[:1] == b"\x00" and json.loads(stored[1:]) == PAYLOAD_VALUE
    assert Sealing([OLD]).open("ACME", ID, PAYLOAD, stored) == PAYLOAD_VALUE
    assert Sealing([OLD]).reseal("ACME", ID, PAYLOAD, stored).startswith(OLD.header)


@given(st.binary(max_size=200))
def test_whatever_lies_in_the_column_fails_in_a_known_way(stored: bytes) -> None:
    try:
        Sealing([OLD]).open("ACME", ID, PAYLOAD, stored)
    except (SealBrokenError, SealKeyUnknownError):
        pass
    else:
        assert stored[:1] == b"\x00"


def test_keys_are_checked_and_never_shown() -> None:
    with pytest.raises(ConfigurationError, match=r"^((?!secret-text).)*$"):
        SealKey("k1", b"secret-text")
    with pytest.raises(ConfigurationError, match="id"):
        SealKey("a key", b"1" * 32)
    with pytest.raises(ConfigurationError, match="same id"):
        Sealing([OLD, SealKey("k1", b"3" * 32)])
    assert "1111" not in repr(OLD) + repr(Sealing([OLD])) + str(vars(Sealing([OLD])))
