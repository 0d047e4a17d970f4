"""From a reference to the secret: which reader is asked, and for how long its answer is remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from service.secrets.masking import KnownSecrets
from service.secrets.readers import EnvironmentReader, FileReader, Reader
from service.secrets.references import REFERENCE, Owner, Reference, SecretMissingError, SecretUnavailableError

CACHE_SECONDS = 30.0
"""How long a process goes on with a secret after it was changed."""

ENTRY_POINTS = "sentinai.secrets"
"""Plug-ins: an entry point's name is the provider in `secret://<provider>/…`, its object a `Reader`."""

_MOST_REMEMBERED = 1_000


class Secrets:
    """Resolves references. Every value it hands out is one that logs and results are masked for."""

    def __init__(
        self,
        readers: Mapping[str, Reader],
        known: KnownSecrets,
        clock: Callable[[], float] = time.monotonic,
        cache_seconds: float = CACHE_SECONDS,
        plug_ins: Callable[[str], Reader | None] = lambda _: None,
    ) -> None:
        """`readers` by provider; `plug_ins` is asked for a provider that is not among them."""
        self.known = known
        self._readers = dict(readers)
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._plug_ins = plug_ins
        self._remembered: dict[tuple[str, Owner], tuple[float, str]] = {}

    def resolve(self, reference: str, tenant_id: str | None = None) -> str:
        """The secret that a pack of a tenant refers to; without a tenant only shared ones are there.

        Raises SecretUnavailableError, which names the reference.
        """
        return self._resolve(reference, Owner(tenant_id))

    def resolve_for_operator(self, reference: str) -> str:
        """The secret that a setting refers to: one that no pack can reach. Raises SecretUnavailableError."""
        return self._resolve(reference, Owner(operator=True))

    def expand(self, text: str, tenant_id: str | None = None) -> str:
        """A text of a pack's tool (`Bearer secret://env/…`) with its references replaced.

        Only for text as it stands in the pack. Text that holds anything of a payload must not come here: whoever
        sends exceptions could then ask for secrets. Raises SecretUnavailableError.
        """
        return REFERENCE.sub(lambda found: self.resolve(found.group(), tenant_id), text)

    def _resolve(self, text: str, owner: Owner) -> str:
        now = self._clock()
        remembered = self._remembered.get((text, owner))
        if remembered is not None and remembered[0] > now:
            return remembered[1]
        value = self._read(Reference.of(text), owner)
        self.known.add(value)
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[text, owner] = (now + self._cache_seconds, value)
        return value

    def _read(self, reference: Reference, owner: Owner) -> str:
        reader = self._reader(reference)
        try:
            value = reader(reference.path, owner)
        except SecretMissingError as error:
            raise SecretUnavailableError(reference.text, str(error)) from None
        except Exception as error:  # noqa: BLE001 - a plug-in's own error may quote what it read
            raise SecretUnavailableError(reference.text, f"its provider failed ({type(error).__name__})") from None
        if not isinstance(value, str) or not value or "\x00" in value:
            raise SecretUnavailableError(reference.text, "its provider gave no text")
        return value

    def _reader(self, reference: Reference) -> Reader:
        found = self._readers.get(reference.provider)
        if found is None:
            found = self._plug_ins(reference.provider)
            if found is None:
                known = ", ".join(sorted(self._readers))
                raise SecretUnavailableError(reference.text, f"there is no such provider here (there are: {known})")
            self._readers[reference.provider] = found
        return found


def build_secrets(environ: Mapping[str, str], directory: Path | None) -> Secrets:
    """The resolver of a process: environment, files below `directory`, and installed plug-ins."""
    readers: dict[str, Reader] = {"env": EnvironmentReader(environ), "file": FileReader(directory)}
    return Secrets(readers, KnownSecrets(), plug_ins=installed_reader)


def installed_reader(provider: str) -> Reader | None:
    """The plug-in of that name, loaded; None when none is installed."""
    for entry_point in entry_points(group=ENTRY_POINTS, name=provider):
        return cast(Reader, entry_point.load())
    return None
