"""The kinds of value that packs are made of: conditions, endpoints, payload paths, durations.

Each is checked where it is declared, so a fault carries the path of its place.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

from service.domain.conditions import compile_condition
from service.domain.exceptions import Severity
from service.domain.expressions import compile_expression
from service.domain.packs.faults import Fault

VARIABLE = re.compile(r"\$\{(\w+)\}")
"""`${toolServerUrl}` in an endpoint: given by the operator when the pack is loaded."""

_DOTTED_PATH = re.compile(r"[^.\s\[\]]+(\.[^.\s\[\]]+)*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")
_HOST_PATTERN = re.compile(
    r"(?:(?:\*\.)?[A-Za-z0-9_]+(?:[.-]+[A-Za-z0-9_]+)*|\[[0-9A-Fa-f:.]+\])(?::(?:[0-9]{1,5}|\*))?"
)


class Part(BaseModel):
    """A part of a pack: immutable, JSON types taken as they are, unknown keys kept so that they can be reported."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="allow", populate_by_name=True, use_attribute_docstrings=True
    )

    _warnings: tuple[Fault, ...] = PrivateAttr(default=())

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """What is odd about the pack but does not keep it from being used; on the pack itself only."""
        return self._warnings

    @property
    def unknown_keys(self) -> dict[str, Any]:
        """Keys of the document that the pack format does not know."""
        return self.__pydantic_extra__ or {}


def is_condition(source: str) -> str:
    compile_condition(source, "")
    return source


def _is_expression(source: str) -> str:
    compile_expression(source)
    return source


def _is_path(path: str) -> str:
    if not _DOTTED_PATH.fullmatch(path):
        raise ValueError("must be a dotted path into rawPayload, like customer.taxId")
    return path


def _is_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("must begin with a letter or digit and hold letters, digits, '_', '-', '.' and ':' only")
    return name


def _is_host_pattern(text: str) -> str:
    if not _HOST_PATTERN.fullmatch(text):
        raise ValueError("must be a host, host:port or host:*, with *. before it for every name below")
    return text


def _is_endpoint(url: str) -> str:
    if "{" in VARIABLE.sub("", url) or "}" in VARIABLE.sub("", url):
        raise ValueError("an endpoint holds no templates; give the value as a parameter of the tool")
    parts = urlsplit(VARIABLE.sub("http://variable", url, count=1) if url.startswith("${") else url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http or https URL, or begin with a ${variable} that is one")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password")
    if parts.fragment:
        raise ValueError("must not hold a fragment (#…)")
    return url


CONDITION_FORMAT = "cel"
"""How JSON Schemas mark the places of conditions."""

ConditionText = Annotated[str, AfterValidator(is_condition), Field(json_schema_extra={"format": CONDITION_FORMAT})]
"""A CEL expression over the variables of `service.domain.conditions.VARIABLES`."""

PayloadPath = Annotated[str, AfterValidator(_is_path)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_is_name)]
HostPattern = Annotated[str, Field(max_length=260), AfterValidator(_is_host_pattern)]
Endpoint = Annotated[str, Field(max_length=2_000), AfterValidator(_is_endpoint)]
SeverityName = Annotated[Severity, Field(strict=False)]
Label = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]*$")]
"""A policy tag: letters, digits and `_ - . : /`."""
Expression = Annotated[str, Field(min_length=1, max_length=1_000), AfterValidator(_is_expression)]
"""A regular expression that RE2 runs, found anywhere in the text unless it has anchors."""
Minutes = Annotated[float, Field(gt=0, le=5_256_000, allow_inf_nan=False)]

JsonType = Literal["string", "number", "integer", "boolean", "array", "object", "any"]


class Attribute(Part):
    """A field of an entity, or a parameter of a tool."""

    type: JsonType
    required: bool = False
    description: str = ""
