"""What a redacted view hides: for text that people write with the payload before their eyes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from service.domain.redaction import MASK

_SHORTEST_MASKED = 4
"""Characters. Shorter values are not searched for: they would mask half of every sentence."""


def without_hidden(text: str, payload: Any, view: Any) -> str:
    """A text with the values masked that are in the payload and not at their place in the view."""
    values = {value for value in _hidden(payload, view) if len(value) >= _SHORTEST_MASKED and value != MASK}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, MASK)
    return text


def _hidden(payload: Any, view: Any) -> Iterator[str]:
    if isinstance(payload, Mapping):
        for key, item in payload.items():
            yield from _hidden(item, view.get(key) if isinstance(view, Mapping) else None)
    elif isinstance(payload, list | tuple):
        for at, item in enumerate(payload):
            yield from _hidden(item, view[at] if isinstance(view, list | tuple) and at < len(view) else None)
    elif payload is not None and not isinstance(payload, bool) and payload != view:
        yield str(payload)
