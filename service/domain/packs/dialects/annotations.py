"""What the models say about the places of a pack: which part, list, table or value stands there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AliasChoices, Discriminator, Tag
from pydantic.fields import FieldInfo

from service.domain.packs.dialects.spellings import SYNONYMS, plain
from service.domain.packs.parts import Part


@dataclass(frozen=True, slots=True)
class Place:
    """A place of the format: its type without `| None`, and what was annotated to it."""

    type: Any
    metadata: tuple[Any, ...] = ()

    @property
    def arms(self) -> tuple[type[Part], ...]:
        """The parts that may stand here; empty: it is no place of a part."""
        if isinstance(self.type, type) and issubclass(self.type, Part):
            return (self.type,)
        if get_origin(self.type) not in (Union, UnionType):
            return ()
        inner = [place_of(arm).type for arm in get_args(self.type)]
        return tuple(arm for arm in inner if isinstance(arm, type) and issubclass(arm, Part))

    @property
    def items(self) -> Place | None:
        """What a list that stands here is made of; None: it is no place of a list."""
        return place_of(get_args(self.type)[0]) if get_origin(self.type) is list else None

    @property
    def table(self) -> tuple[Place, Place] | None:
        """The names and values of a table that stands here; None: it is no place of a table."""
        if get_origin(self.type) is not dict:
            return None
        names, values = get_args(self.type)
        return place_of(names), place_of(values)

    @property
    def choices(self) -> Mapping[str, str]:
        """The values of an enumeration that stands here, by their plain spelling."""
        if not (isinstance(self.type, type) and issubclass(self.type, Enum)):
            return {}
        return {plain(str(member.value)): str(member.value) for member in self.type}

    def arm_for(self, value: Mapping[str, Any]) -> type[Part]:
        """The part that an object stands for, where several may stand."""
        arms = self.arms
        for item in self.metadata if len(arms) > 1 else ():
            if isinstance(item, Discriminator) and callable(item.discriminator):
                tag = item.discriminator(dict(value))
                return next((arm for arm, known in _tagged(self.type) if known == tag), arms[0])
        return arms[0]


@lru_cache(maxsize=1_024)
def _place(annotation: Any) -> Place:
    metadata: tuple[Any, ...] = ()
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            metadata += tuple(more)
        elif get_origin(annotation) in (Union, UnionType):
            arms = [arm for arm in get_args(annotation) if arm is not NoneType]
            if len(arms) > 1:
                return Place(Union[tuple(arms)], metadata)  # noqa: UP007 - of as many arms as there are
            annotation = arms[0]
        else:
            return Place(annotation, metadata)


def place_of(annotation: Any) -> Place:
    """The place that an annotation describes."""
    try:
        return _place(annotation)
    except TypeError:  # not hashable: annotated with something that is not
        return _place.__wrapped__(annotation)


def place_of_field(field: FieldInfo) -> Place:
    """The place that a model's field describes."""
    place = place_of(field.annotation)
    return Place(place.type, (*place.metadata, *field.metadata, *filter(None, [_discriminator(field)])))


@lru_cache(maxsize=256)
def spellings(model: type[Part]) -> Mapping[str, str]:
    """The keys of a part, by their plain spelling and by their other names."""
    table: dict[str, str] = {}
    for name, field in model.model_fields.items():
        choices = field.validation_alias.choices if isinstance(field.validation_alias, AliasChoices) else ()
        for alias in (name, *(alias for alias in choices if isinstance(alias, str))):
            table.setdefault(plain(alias), alias)
    for base in model.__mro__:
        for synonym, name in SYNONYMS.get(base.__name__, {}).items():
            if name in model.model_fields:
                table.setdefault(synonym, name)
    return table


@lru_cache(maxsize=256)
def exact_keys(model: type[Part]) -> Mapping[str, str]:
    """Every key that the models themselves understand, with the field it is for."""
    table: dict[str, str] = {}
    for name, field in model.model_fields.items():
        choices = field.validation_alias.choices if isinstance(field.validation_alias, AliasChoices) else ()
        table.update(dict.fromkeys((name, *(alias for alias in choices if isinstance(alias, str))), name))
    return table


def _tagged(union: Any) -> list[tuple[type[Part], str]]:
    found = []
    for annotation in get_args(union):
        place = place_of(annotation)
        found += [(place.type, item.tag) for item in place.metadata if isinstance(item, Tag)]
    return found


def _discriminator(field: FieldInfo) -> Discriminator | None:
    return field.discriminator if isinstance(field.discriminator, Discriminator) else None
