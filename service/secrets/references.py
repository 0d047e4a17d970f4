"""What a reference to a secret looks like, on whose behalf it is looked up, and what is said when it cannot be.

A reference is `secret://<provider>/<path>`. It is text of a pack, so it is not trusted: everything beyond a
narrow set of characters is refused, and a text that is no reference is not repeated, for it may be the secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from service.errors import PermanentError

SCHEME = "secret://"
REFERENCE = re.compile(r"secret://(?P<provider>[a-z][a-z0-9-]{0,31})/(?P<path>[A-Za-z0-9_][A-Za-z0-9_./-]{0,254})")
"""A whole reference. The path begins with no dot and no slash; readers refuse more."""


class SecretUnavailableError(PermanentError):
    """A reference leads to no secret. The message names the reference, never a value."""

    def __init__(self, reference: str, cause: str) -> None:
        super().__init__(f"the secret {reference} cannot be used: {cause}")
        self.reference = reference


class ReferenceMalformedError(SecretUnavailableError):
    """A text in a secret's place is no reference. It is not repeated: somebody may have put the secret there."""

    def __init__(self) -> None:
        super().__init__(
            "that is asked for",
            "it is not written as secret://<provider>/<path>; put the secret itself into no pack and no setting",
        )


class SecretMissingError(LookupError):
    """A reader's answer that there is nothing; the message says what to do and holds no value."""


@dataclass(frozen=True, slots=True)
class Owner:
    """On whose behalf a secret is looked up."""

    tenant_id: str | None = None
    """A pack of this tenant asks; None: nobody's in particular, and only shared secrets are there."""
    operator: bool = False
    """The operator's own settings ask, not a pack."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference taken apart."""

    text: str
    provider: str
    path: str

    @classmethod
    def of(cls, text: str) -> Reference:
        """Take a text apart. Raises ReferenceMalformedError."""
        found = REFERENCE.fullmatch(text)
        if found is None:
            raise ReferenceMalformedError
        return cls(text, found["provider"], found["path"])
