"""The cursor as text, in PostgreSQL's own form."""

from __future__ import annotations

import pytest

from service.relay.log import BEGINNING, Snapshot


@pytest.mark.parametrize("text", ["10:20:10,14,15", "20:20:", "10:20:10"])
def test_a_snapshot_is_written_as_it_was_read(text: str) -> None:
    assert str(Snapshot.parse(text)) == text


def test_what_runs_and_what_is_to_come_is_not_seen() -> None:
    assert Snapshot.parse("10:20:10,14") == Snapshot(next_xid=20, running=(10, 14))


def test_the_beginning_sees_nothing() -> None:
    assert str(BEGINNING) == "1:1:"
