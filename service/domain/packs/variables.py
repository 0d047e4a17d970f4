"""Operator's variables in a pack: `${toolServerUrl}` in a tool's endpoint, different on every stack.

The stored document and its hash keep the variable; the value is put in when the pack is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.domain.packs.faults import Fault, path_of
from service.domain.packs.parts import VARIABLE

_WHERE = ("endpoint", "batchEndpoint")


def resolve_endpoints(document: Any, variables: Mapping[str, str], key: str = "tools") -> tuple[Any, list[Fault]]:
    """The document with the endpoints of the tools under `key` resolved, and a fault for every variable that
    nobody gave."""
    tools = document.get(key) if isinstance(document, Mapping) else None
    if not isinstance(tools, Mapping):
        return document, []
    faults: list[Fault] = []
    resolved = {name: _resolve_tool(tool, path_of((key, str(name))), variables, faults) for name, tool in tools.items()}
    return {**document, key: resolved}, faults


def _resolve_tool(tool: Any, path: str, variables: Mapping[str, str], faults: list[Fault]) -> Any:
    if not isinstance(tool, Mapping):
        return tool
    changed = {}
    for key in _WHERE:
        url = tool.get(key)
        if not isinstance(url, str):
            continue
        for name in VARIABLE.findall(url):
            if name in variables:
                url = url.replace(f"${{{name}}}", variables[name].rstrip("/"))
            else:
                known = ", ".join(sorted(variables)) or "none"
                faults.append(
                    Fault(f"{path}.{key}", f"variable ${{{name}}} has no value here (the operator gave: {known})")
                )
        changed[key] = url
    return {**tool, **changed} if changed else tool
