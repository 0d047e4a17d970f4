"""Entities with their relations worked out: by which attributes a payload says what else it belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from service.domain.packs.faults import Fault, path_of
from service.domain.packs.models import Entity, Relation
from service.domain.packs.parts import Attribute


@dataclass(frozen=True, slots=True)
class Reference:
    """A related entity and the attributes of this one that say which."""

    entity: str
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnownEntity:
    """An entity as intake checks it."""

    attributes: Mapping[str, Attribute]
    references: tuple[Reference, ...]
    """Those that a valid payload may lack: an attribute that is required is a fault already when it is absent."""


def known_entities(entities: Mapping[str, Entity]) -> dict[str, KnownEntity]:
    """Every entity by its name and by its name in small letters."""
    known = {}
    for name, entity in entities.items():
        references = (
            Reference(relation.entity, missable)
            for relation in entity.relations
            if (missable := tuple(by for by in referring(relation, entity, entities) if not _required(entity, by)))
        )
        known[name] = KnownEntity(entity.attributes, tuple(references))
    return {spelling: known[name] for name in entities for spelling in (name.casefold(), name)}


def referring(relation: Relation, entity: Entity, entities: Mapping[str, Entity]) -> tuple[str, ...]:
    """The attributes of `entity` that a relation goes by; empty: nothing says which."""
    other = entities.get(relation.entity)
    if relation.by or other is None:
        return tuple(relation.by)
    if other.key:
        return tuple(other.key)
    return tuple(name for name in sorted(other.attributes) if _required(other, name) and name in entity.attributes)


def missing_references(payload: Mapping[str, Any], entity: KnownEntity, name: str) -> list[str]:
    """What a payload does not say about the entities it belongs to."""
    return [
        f"rawPayload.{by} is missing: nothing says which {reference.entity} this {name} belongs to"
        for reference in entity.references
        for by in reference.by
        if payload.get(by) is None
    ]


def relation_faults(entities: Mapping[str, Entity]) -> Iterator[Fault]:
    """Relations to entities or by attributes that are not there, and keys that are none."""
    for name, entity in entities.items():
        for index, attribute in enumerate(entity.key):
            if attribute not in entity.attributes:
                yield Fault(path_of(("entities", name, "key", index)), f"{name} has no attribute {attribute!r}")
        for index, relation in enumerate(entity.relations):
            here = path_of(("entities", name, "relations", index))
            if relation.entity not in entities:
                yield Fault(here, f"there is no entity {relation.entity!r}")
            for attribute in relation.by:
                if attribute not in entity.attributes:
                    yield Fault(f"{here}.by", f"{name} has no attribute {attribute!r}")


def relation_warnings(entities: Mapping[str, Entity]) -> Iterator[Fault]:
    """Relations that nothing in a payload can say."""
    for name, entity in entities.items():
        for index, relation in enumerate(entity.relations):
            if relation.entity in entities and not referring(relation, entity, entities):
                yield Fault(
                    path_of(("entities", name, "relations", index)),
                    f"nothing in a {name} says which {relation.entity}: give {relation.entity} a `key`, or the "
                    "relation a `by`; until then it has no effect",
                )


def _required(entity: Entity, attribute: str) -> bool:
    declared = entity.attributes.get(attribute)
    return declared is not None and declared.required
