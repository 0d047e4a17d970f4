"""The guards that `make mutations` takes out, one module an area. How it does that is in `taking_out`."""

from __future__ import annotations

from collections.abc import Mapping

from tests.mutations import (
    consuming,
    dead_letters,
    dispatch,
    engine,
    guard,
    invariants,
    life,
    model,
    notifications,
    packs,
    people,
    plans,
    poison,
    redriving,
    retries,
    slow_tools,
    tools,
    transport,
    upkeep,
)
from tests.mutations.mutation import Mutation

AREAS: Mapping[str, tuple[Mutation, ...]] = {
    "engine": engine.MUTATIONS,
    "dispatch": dispatch.MUTATIONS,
    "plans": plans.MUTATIONS,
    "poison": poison.MUTATIONS,
    "packs": packs.MUTATIONS,
    "life": life.MUTATIONS,
    "people": people.MUTATIONS,
    "guard": guard.MUTATIONS,
    "tools": tools.MUTATIONS,
    "notifications": notifications.MUTATIONS,
    "slow_tools": slow_tools.MUTATIONS,
    "dead_letters": dead_letters.MUTATIONS,
    "redriving": redriving.MUTATIONS,
    "retries": retries.MUTATIONS,
    "transport": transport.MUTATIONS,
    "consuming": consuming.MUTATIONS,
    "invariants": invariants.MUTATIONS,
    "model": model.MUTATIONS,
    "upkeep": upkeep.MUTATIONS,
}

MUTATIONS = tuple(mutation for area in AREAS.values() for mutation in area)
