"""Pack files: read with their lines, and checked together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from service.domain.packs import DomainPack, Fault, PackInvalidError, TenantPack, parse_domain_pack, parse_tenant_pack
from service.domain.packs.reading.documents import PackDocument, PackKind, read_document
from service.engine.pack_pairs import PackKey, domain_named_by, placeholders
from service.errors import PermanentError


class PackUnreadableError(PermanentError):
    """A pack file is not a pack document at all, or not the one that is wanted."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


class PackFileInvalidError(PermanentError):
    """A pack file has faults; each is told with its line."""

    def __init__(self, path: Path, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join([f"{len(self.faults)} fault(s)", *(located(path, fault) for fault in self.faults)]))


@dataclass(frozen=True, slots=True)
class PackFile:
    """A pack document and where it came from."""

    path: Path
    text: str
    given: PackDocument

    @property
    def key(self) -> PackKey:
        """What it is stored under."""
        return PackKey.of(self.given)

    @property
    def document(self) -> Mapping[str, Any]:
        """What it says."""
        return self.given.document


def read_file(path: Path) -> PackFile:
    """A file as a pack document. Raises PackUnreadableError, PackFileInvalidError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PackUnreadableError(path, f"cannot be read as UTF-8 text: {error}") from None
    try:
        return PackFile(path, text, read_document(text, path.name))
    except PackInvalidError as error:
        raise PackFileInvalidError(path, error.faults) from None


def parsed(file: PackFile, beside: Sequence[PackFile]) -> DomainPack | TenantPack:
    """The pack, checked; a tenant pack against its domain pack if that is among the files beside it.

    Raises PackFileInvalidError.
    """
    try:
        if file.given.kind is PackKind.DOMAIN:
            return parse_domain_pack(file.document, placeholders(file.document))
        return parse_tenant_pack(file.document, _domain_of(file, beside), placeholders(file.document))
    except PackInvalidError as error:
        raise PackFileInvalidError(file.path, file.given.located(error.faults)) from None


def warnings_of(file: PackFile, pack: DomainPack | TenantPack) -> tuple[Fault, ...]:
    """What is odd about a pack, with lines."""
    return file.given.located(pack.warnings)


def located(path: Path, fault: Fault) -> str:
    """A fault as compilers tell theirs, so that editors and CI find the place."""
    place = str(path) if fault.line is None else f"{path}:{fault.line}"
    return f"{place}: {replace(fault, line=None)}"


def _domain_of(file: PackFile, beside: Sequence[PackFile]) -> DomainPack | None:
    named = domain_named_by(file.document)
    domains = [one for one in beside if one.given.kind is PackKind.DOMAIN and one.key.name == named]
    if not domains:
        return None
    try:
        return parse_domain_pack(domains[0].document, placeholders(domains[0].document))
    except PackInvalidError:
        return None  # Its faults are told where it is checked itself.
