"""The documented differences are those of the suite, and every one of them is asserted somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.transport.differences import DIFFERENCES, table

HERE = Path(__file__).parent
PAGE = Path(__file__).resolve().parents[3] / "docs" / "transport-conformance.md"


def test_the_page_has_the_table() -> None:
    assert table() in PAGE.read_text(encoding="utf-8"), f"put this into {PAGE.name}:\n{table()}"


@pytest.mark.parametrize("difference", [known.id for known in DIFFERENCES])
def test_every_difference_is_asserted(difference: str) -> None:
    tests = "".join(
        path.read_text(encoding="utf-8") for path in HERE.glob("test_*.py") if path.name != Path(__file__).name
    )
    assert f'differs("{difference}")' in tests
