"""One form for packs that come in many: a document in any dialect becomes the documented one.

Nothing is dropped here. What is only spelled otherwise is respelled silently; what could be meant otherwise is told
as a warning; what cannot be both is a fault. Keys that nobody knows stay where they are and are warned of later.
Paths in warnings and faults are those of the document as its author wrote it. docs/packs.md has the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from service.domain.packs.dialects.annotations import Place, exact_keys, place_of, place_of_field, spellings
from service.domain.packs.dialects.shapes import SHAPES, Shaping, Written, condition_of
from service.domain.packs.dialects.spellings import NAMES, SURPRISING, TEXTS, plain
from service.domain.packs.faults import Fault, path_of
from service.domain.packs.models import DomainPack, TenantPack
from service.domain.packs.parts import Part, is_condition
from service.domain.packs.reading.documents import PackKind
from service.domain.packs.tools import AnyTool

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_PREFIX = re.compile(r"(\.[^.\[\]]+|\[[^\[\]]*\])$")
_OVERRIDES = place_of(dict[str, AnyTool])


@dataclass(frozen=True, slots=True)
class Normalised:
    """The document in the documented form, and what was told about the way there."""

    document: Any
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]
    _origins: Mapping[str, str]

    def origin_of(self, path: str) -> str:
        """The path in the author's document of what stands at `path` in this one."""
        rest = ""
        while path:
            origin = self._origins.get(path)
            if origin is not None:
                return origin + rest
            shorter = _PREFIX.sub("", path)
            if shorter == path:
                break
            path, rest = shorter, path[len(shorter) :] + rest
        return path + rest

    def at_origin(self, faults: Iterable[Fault]) -> list[Fault]:
        """Faults of this document, told where their author will look for them."""
        return [replace(fault, path=self.origin_of(fault.path)) for fault in faults]


def normalise(document: Any, kind: PackKind) -> Normalised:
    """Bring a pack into the documented form. Normalising twice is normalising once."""
    walk = _Walk()
    model = TenantPack if kind is PackKind.TENANT else DomainPack
    normal = walk.value(Place(model), document, "", "") if isinstance(document, Mapping) else document
    return Normalised(normal, tuple(walk.faults), tuple(walk.warnings), walk.origins)


class _Walk(Shaping):
    """Goes through a document along the models."""

    def value(self, place: Place, value: Any, path: str, origin: str) -> Any:
        """What stands at a place, in the documented form."""
        origin = self.origins.setdefault(path, origin) if path != origin else self.origins.get(path, origin)
        if value is None:
            return None
        if place.arms:
            return self._part(place, value, path, origin)
        if place.items is not None:
            return self._list(place.items, value, path, origin)
        if place.table is not None:
            return self._table(*place.table, value, path, origin)
        return self._scalar(place, value, origin)

    def _part(self, place: Place, value: Any, path: str, origin: str) -> Any:
        text = next((TEXTS[base.__name__] for base in place.arms[0].__mro__ if base.__name__ in TEXTS), None)
        if isinstance(value, str) and text is not None:
            value = {text: value}
        if not isinstance(value, Mapping):
            return value
        spelled = {key: known for arm in reversed(place.arms) for key, known in spellings(arm).items()}
        exact = {key for arm in place.arms for key in exact_keys(arm)}
        renamed, origins = self._renamed(place.arms[0], spelled, exact, value, origin)
        chosen = {key: self._choice(place.arms, key, item) for key, item in renamed.items()}
        model = place.arm_for(chosen)
        shape = next((SHAPES[base.__name__] for base in model.__mro__ if base.__name__ in SHAPES), None)
        if shape is not None:
            renamed = shape(renamed, Written(self, path, origins))
        fields = exact_keys(model)
        return {key: self._member(model, fields.get(key), key, item, path, origins) for key, item in renamed.items()}

    def _member(
        self, model: type[Part], field: str | None, key: str, value: Any, path: str, origins: Mapping[str, str]
    ) -> Any:
        here = path_of((key,), path)
        origin = origins.get(key, path_of((key,), origins[""]))
        if model is TenantPack and field == "toolOverrides":
            return self.value(_OVERRIDES, value, here, origin)
        if field is None:
            if here != origin:
                self.origins[here] = origin
            return value
        return self.value(place_of_field(model.model_fields[field]), value, here, origin)

    def _renamed(
        self, model: type[Part], spelled: Mapping[str, str], exact: set[str], value: Mapping[str, Any], origin: str
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The object under its documented keys, and where each was written."""
        renamed: dict[str, Any] = {}
        origins = {"": origin}
        for written, item in value.items():
            here = path_of((str(written),), origin)
            key = written if written in exact else spelled.get(plain(str(written)), written)
            if key != written and (key in value or key in renamed):
                self.faults.append(Fault(here, f"says {key!r} a second time: {origins.get(key, key)} is there already"))
                continue
            renamed[key] = item
            origins[key] = here
            for base in model.__mro__ if key != written else ():
                meaning = SURPRISING.get(base.__name__, {}).get(plain(str(written)))
                if meaning is not None:
                    self.warn(here, f"is read as {key}: {meaning}")
        return renamed, origins

    def _choice(self, arms: Sequence[type[Part]], key: str, value: Any) -> Any:
        """An enumeration's value as it is documented, where a part is chosen by it."""
        for arm in arms:
            if key in arm.model_fields and isinstance(value, str):
                return place_of_field(arm.model_fields[key]).choices.get(plain(value), value)
        return value

    def _list(self, items: Place, value: Any, path: str, origin: str) -> Any:
        if isinstance(value, str) and not items.arms:
            return [self._scalar(items, value, origin)]
        if not isinstance(value, list | tuple):
            return value
        return [self.value(items, item, f"{path}[{index}]", f"{origin}[{index}]") for index, item in enumerate(value)]

    def _table(self, names: Place, values: Place, value: Any, path: str, origin: str) -> Any:
        if isinstance(value, list | tuple) and values.arms:
            return self._named(values, value, path, origin)
        if not isinstance(value, Mapping):
            return value
        table: dict[str, Any] = {}
        for written, item in value.items():
            name = names.choices.get(plain(str(written)), str(written))
            here, there = path_of((name,), path), path_of((str(written),), origin)
            if name in table or (name != written and name in value):
                self.faults.append(Fault(there, f"says {name!r} a second time"))
                continue
            table[name] = self.value(values, _without_name(values, item, name), here, there)
        return table

    def _named(self, values: Place, items: Sequence[Any], path: str, origin: str) -> Any:
        """A list of parts with names as the table it stands for."""
        keys = next((NAMES[base.__name__] for base in values.arms[0].__mro__ if base.__name__ in NAMES), ("name",))
        table: dict[str, Any] = {}
        for index, item in enumerate(items):
            there = f"{origin}[{index}]"
            if isinstance(item, str):
                name: Any = item
                item = {"type": "any"} if "type" in exact_keys(values.arms[0]) else {}
                key = None
            else:
                key = _name_key(item, keys)
                name = item[key] if key is not None else None
            if not isinstance(name, str) or not name:
                self.faults.append(Fault(there, f"needs {keys[0]!r}: in a list, each says its own name"))
            elif name in table:
                self.faults.append(Fault(there, f"{name!r} is in this list twice"))
            else:
                rest = {other: given for other, given in item.items() if other != key}
                table[name] = self.value(values, rest, path_of((name,), path), there)
        return table

    def _scalar(self, place: Place, value: Any, origin: str) -> Any:
        if any(getattr(item, "func", None) is is_condition for item in place.metadata):
            return condition_of(self, value, origin)
        if isinstance(value, str) and place.choices:
            return place.choices.get(plain(value), value)
        if isinstance(value, str) and place.type in (int, float) and _NUMBER.fullmatch(value):
            number = float(value) if "." in value or place.type is float else int(value)
            self.warn(origin, f"the text {value!r} is read as a number")
            return number
        if isinstance(value, str) and place.type is bool and value.lower() in ("true", "false"):
            self.warn(origin, f"the text {value!r} is read as {value.lower()}")
            return value.lower() == "true"
        return value


def _name_key(item: Any, keys: Sequence[str]) -> str | None:
    if not isinstance(item, Mapping):
        return None
    spelled = {plain(str(key)): key for key in item}
    return next((spelled[key] for key in keys if key in spelled), None)


def _without_name(values: Place, item: Any, name: str) -> Any:
    """An object that repeats the name it stands under says nothing new by it."""
    if not values.arms or not isinstance(item, Mapping) or item.get("name") != name:
        return item
    return item if "name" in exact_keys(values.arms[0]) else {key: old for key, old in item.items() if key != "name"}
