"""The readers that come with the project: environment variables and files.

Packs are data of tenants, so a reference in one is a request of somebody who may be hostile: it must not reach
DATABASE_URL, another tenant's token, the key that seals the payloads, or a file outside the secrets' folder.
What the operator's settings refer to lies where no pack can reach, and readers see to both.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from service.secrets.references import Owner, SecretMissingError

LARGEST_SECRET_BYTES = 64 * 1024

PREFIX = "SENTINAI_SECRET_"
"""Variables that packs may name. One with a double underscore after it belongs to the tenant before that."""

_PACK_VARIABLE = re.compile(rf"{PREFIX}(?P<rest>[A-Za-z0-9][A-Za-z0-9_]*)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHARED, _TENANTS = "shared", "tenants"


class Reader(Protocol):
    """Reads secrets of one provider. A plug-in is one of these."""

    def __call__(self, path: str, owner: Owner) -> str:
        """The secret at a path. Raises SecretMissingError when the owner has none there.

        Whether `owner` may read the path is the reader's to decide.
        """
        ...


class EnvironmentReader:
    """`secret://env/NAME`.

    For packs: `SENTINAI_SECRET_<NAME>`, shared by all tenants, or `SENTINAI_SECRET_<tenant>__<NAME>`, which only
    that tenant's packs may name (its id as it is; ids with a dash have their secrets in files). For the operator's
    settings: any variable but these.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __call__(self, path: str, owner: Owner) -> str:
        """The variable's value."""
        found = _PACK_VARIABLE.fullmatch(path)
        if owner.operator:
            if path.startswith(PREFIX):
                raise SecretMissingError(f"packs can read variables that begin with {PREFIX}; choose another name")
            if not _VARIABLE.fullmatch(path):
                raise SecretMissingError("it names no environment variable")
        elif found is None:
            raise SecretMissingError(f"only variables that begin with {PREFIX} may be named")
        else:
            tenant, double, _ = found["rest"].rpartition("__")
            if double and tenant != owner.tenant_id:
                raise SecretMissingError("it belongs to another tenant")
        value = self._environ.get(path)
        if not value:
            raise SecretMissingError("the variable is not set in this process")
        return value


class FileReader:
    """`secret://file/<relative path>`, below the configured folder.

    For packs: `shared/…`, or `tenants/<tenant id>/…` of their own tenant. For the operator's settings: anything
    in the folder but these two. Symbolic links may lead about within the same part of the folder (as they do where
    Kubernetes mounts secrets), never out of it. One newline at the end is not part of the secret.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def __call__(self, path: str, owner: Owner) -> str:
        """The file's text."""
        if self._folder is None:
            raise SecretMissingError("set SENTINAI_SECRETS_DIRECTORY to the folder that holds it")
        parts = path.split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise SecretMissingError("its path must lead straight down")
        base, rest = self._part_of(parts, owner)
        try:
            text = _read(base, base.joinpath(*rest))
        except (OSError, ValueError):
            raise SecretMissingError("there is no such file that can be read") from None
        if not text:
            raise SecretMissingError("the file is empty")
        return text

    def _part_of(self, parts: list[str], owner: Owner) -> tuple[Path, list[str]]:
        """The part of the folder that the owner may read, and the path below it."""
        assert self._folder is not None
        if owner.operator:
            if parts[0] in (_SHARED, _TENANTS):
                raise SecretMissingError(f"packs can read {_SHARED}/ and {_TENANTS}/; keep it in another folder")
            return self._folder, parts
        if parts[0] == _SHARED and len(parts) > 1:
            return self._folder / _SHARED, parts[1:]
        if parts[0] == _TENANTS and len(parts) > 2 and parts[1] == owner.tenant_id:
            return self._folder / _TENANTS / parts[1], parts[2:]
        raise SecretMissingError(f"a pack may name {_SHARED}/… and {_TENANTS}/<its tenant>/…")


def _read(base: Path, path: Path) -> str:
    """A regular file's text. Raises OSError, ValueError also when the path leads out of `base`."""
    root, resolved = base.resolve(strict=True), path.resolve(strict=True)
    if root not in resolved.parents:
        raise ValueError("outside")
    # Not blocking: a named pipe in the folder must not hold the process up.
    descriptor = os.open(resolved, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("no regular file")
        content = stream.read(LARGEST_SECRET_BYTES + 1)
    if len(content) > LARGEST_SECRET_BYTES:
        raise ValueError("too large")
    return content.decode().removesuffix("\n").removesuffix("\r")
