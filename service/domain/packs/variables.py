"""Operator's variables in a pack: `${toolServerUrl}` in a tool's endpoint or a notification's url, different on
every stack.

The stored document and its hash keep the variable; the value is put in when the pack is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.domain.packs.faults import Fault, path_of
from service.domain.packs.parts import VARIABLE

_ENDPOINTS = ("endpoint", "batchEndpoint")
_NOTIFYING = ("playbooks", "customPlaybooks", "notificationPolicies")


def resolve_endpoints(document: Any, variables: Mapping[str, str], key: str = "tools") -> tuple[Any, list[Fault]]:
    """The document with the endpoints of the tools under `key` and the urls of its notifications resolved, and a
    fault for every variable that nobody gave."""
    if not isinstance(document, Mapping):
        return document, []
    faults: list[Fault] = []
    resolved = dict(document)
    tools = document.get(key)
    if isinstance(tools, Mapping):
        resolved[key] = {
            name: _resolve_urls(tool, _ENDPOINTS, path_of((key, str(name))), variables, faults)
            for name, tool in tools.items()
        }
    for name in _NOTIFYING:
        if name in document:
            resolved[name] = _resolve_notifications(document[name], path_of((name,)), variables, faults)
    return resolved, faults


def _resolve_notifications(part: Any, path: str, variables: Mapping[str, str], faults: list[Fault]) -> Any:
    """A part of a pack with the notifications in it resolved, at whatever depth: groups, compensations, policies."""
    if isinstance(part, list):
        return [_resolve_notifications(item, path_of((at,), path), variables, faults) for at, item in enumerate(part)]
    if not isinstance(part, Mapping):
        return part
    walked = {
        name: _resolve_notifications(inner, path_of((str(name),), path), variables, faults)
        for name, inner in part.items()
    }
    if "params" in part and (part.get("action_type") == "notify" or "channel" in part):
        walked["params"] = _resolve_urls(part["params"], ("url",), path_of(("params",), path), variables, faults)
    return walked


def _resolve_urls(
    holder: Any, keys: tuple[str, ...], path: str, variables: Mapping[str, str], faults: list[Fault]
) -> Any:
    """A mapping with the URLs under `keys` resolved; what is none stays for the checks to tell."""
    if not isinstance(holder, Mapping):
        return holder
    changed = {}
    for key in keys:
        url = holder.get(key)
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
    return {**holder, **changed} if changed else holder
