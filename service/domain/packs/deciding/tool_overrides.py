"""A tenant's tools: the domain's, with the keys that the tenant's `toolOverrides` give in place of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from service.domain.packs.checking.tool_checks import tool_faults
from service.domain.packs.faults import Fault, path_of
from service.domain.packs.forms import form_faults
from service.domain.packs.tools import KINDS, Tool

_Override = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OverriddenTools:
    """The tools in force, and what is wrong with the overrides."""

    tools: Mapping[str, Tool]
    faults: tuple[Fault, ...] = ()


def overridden(tools: Mapping[str, Tool], overrides: Mapping[str, Any]) -> OverriddenTools:
    """Replace the tools' keys; a tool that is overridden has to be as right as one that a domain defines."""
    in_force = dict(tools)
    faults: list[Fault] = []
    for name, override in overrides.items():
        path = path_of(("toolOverrides", str(name)))
        tool = tools.get(name)
        if tool is None:
            faults.append(Fault(path, f"the domain has no tool {name!r}"))
        elif isinstance(override, Mapping):
            if override.get("kind", tool.kind) != tool.kind:
                faults.append(Fault(f"{path}.kind", f"the domain's tool is of kind {tool.kind}; that stays"))
                continue
            replaced, wrong = _replaced(tool, override, path)
            faults += wrong
            in_force[name] = replaced
    return OverriddenTools(in_force, tuple(faults))


def unknown_override_keys(tools: Mapping[str, Tool], overrides: Mapping[str, Any]) -> list[Fault]:
    """Keys that tools of such a kind do not have."""
    return [
        Fault(path_of(("toolOverrides", str(name), str(key))), "this key is not known and has no effect")
        for name, override in overrides.items()
        if name in tools and isinstance(override, Mapping)
        for key in override
        if key not in type(tools[name]).model_fields
    ]


def _replaced(tool: Tool, override: _Override, path: str) -> tuple[Tool, list[Fault]]:
    written = tool.model_dump(mode="json", exclude_unset=True)
    try:
        replaced = KINDS[tool.kind].model_validate({**written, **override})
    except ValidationError as error:
        return tool, form_faults(error, path)
    return replaced, list(tool_faults(path, replaced))
