"""docs/mutations.md says what is taken out and what notices: it must not fall behind the lists it is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutations import AREAS
from tests.mutations.mutation import Mutation

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "mutations.md").read_text("utf-8")
LAWS = tuple(f"L{number}" for number in range(1, 9))
OF_LAWS = (*AREAS["invariants"], *AREAS["model"])


@pytest.mark.parametrize("law", LAWS)
def test_each_law_has_guards_that_a_chaos_round_and_the_model_must_miss(law: str) -> None:
    # then something is taken out for it where real processes break, and something that the model has to notice
    assert any(
        one.promise.startswith(f"{law}:") and (one.round is not None or one.tests.startswith("tests/chaos/"))
        for one in AREAS["invariants"]
    )
    assert any(one.promise.startswith(f"model, {law}:") for one in AREAS["model"])


@pytest.mark.parametrize("mutation", OF_LAWS, ids=lambda mutation: mutation.promise)
def test_every_guard_of_a_law_is_on_the_page(mutation: Mutation) -> None:
    assert mutation.promise.split(": ", 1)[1] in PAGE, "add it to docs/mutations.md, with what noticed it"


@pytest.mark.parametrize("area", AREAS)
def test_every_area_is_on_the_page(area: str) -> None:
    assert f"`{area}`" in PAGE, "add the area to docs/mutations.md"


def test_the_page_names_no_area_that_is_gone() -> None:
    named = {line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `")}
    assert named == set(AREAS)
