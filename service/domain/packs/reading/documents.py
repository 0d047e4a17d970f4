"""A pack's text (JSON or YAML) as a document whose faults know their lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from service.domain.packs.dialects.spellings import plain
from service.domain.packs.faults import Fault, PackInvalidError
from service.domain.packs.reading.json_text import read_json
from service.domain.packs.reading.places import Places
from service.domain.packs.reading.yaml_text import read_yaml


class PackKind(StrEnum):
    """Whose behaviour a pack describes."""

    DOMAIN = "domain"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class PackDocument:
    """A pack as its author wrote it: what is stored and hashed."""

    document: Mapping[str, Any]
    kind: PackKind
    _places: Places

    @property
    def domain_name(self) -> str | None:
        """The domain it names, in whichever spelling."""
        return domain_named_by(self.document)

    @property
    def tenant_id(self) -> str | None:
        """The tenant it names; None: it is a domain pack."""
        return _named(self.document, ("tenantid", "tenant"))

    def line_of(self, path: str) -> int | None:
        """The line on which a part stands; what is missing is told where it should be. None: no line."""
        return self._places.line_of(path)

    def located(self, faults: Iterable[Fault]) -> tuple[Fault, ...]:
        """The faults (or warnings) with their lines."""
        return tuple(
            fault if fault.line is not None else replace(fault, line=self.line_of(fault.path)) for fault in faults
        )


def read_document(text: str, name: str = "") -> PackDocument:
    """Read a pack's text. `name` tells JSON from YAML by its ending; without one, a text that begins with { is JSON.

    Raises PackInvalidError with every place where the text is not a JSON object, or says what a pack cannot hold.
    """
    text = text.removeprefix("\ufeff")
    value, places, faults = read_json(text) if _is_json(text, name) else read_yaml(text)
    if not faults and not isinstance(value, dict):
        faults = [Fault("", "a pack is one object with names and values")]
    if faults:
        raise PackInvalidError("unreadable" if not isinstance(value, dict) else kind_of(value).value, faults)
    return PackDocument(value, kind_of(value), places)


def kind_of(document: Mapping[str, Any]) -> PackKind:
    """A pack that names its tenant is a tenant's, in either spelling."""
    return PackKind.DOMAIN if _named(document, ("tenantid", "tenant")) is None else PackKind.TENANT


def domain_named_by(document: Mapping[str, Any]) -> str | None:
    """The domain that a pack is of, in whichever spelling."""
    return _named(document, ("domainname", "domain"))


def _named(document: Mapping[str, Any], names: Sequence[str]) -> str | None:
    spelled = {plain(str(key)): value for key, value in document.items()}
    found = next((spelled[name] for name in names if spelled.get(name) is not None), None)
    return None if found is None else str(found)


def _is_json(text: str, name: str) -> bool:
    suffix = PurePath(name).suffix.lower()
    if suffix in (".yaml", ".yml"):
        return False
    return suffix == ".json" or text.lstrip()[:1] in ("{", "[")
