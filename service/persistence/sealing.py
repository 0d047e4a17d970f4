"""Sealing: the unredacted payload, and what people and sources say later, are encrypted before they are stored.

AES-256-GCM. Whose row it is (tenant, exception, which column) is authenticated with it, so a sealed value that is
copied to another row cannot be opened there. Each row has a key of its own, derived from a configured one, so no key
comes near the number of random nonces that GCM allows. Without any configured key, values are stored with a marker
that says so, and are opened for what they are.

The envelope: one byte of version; for a sealed value the length of the key's id, the id, 12 bytes of nonce, and the
ciphertext with its tag. Where keys come from is the caller's business.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.errors import ConfigurationError, PermanentError, TransientError

PAYLOAD: Final = "payload"
"""The slot of an exception's payload. An input's slot is `input:<sequence>`."""

KEY_BYTES = 32
_NONCE_BYTES = 12
_UNSEALED, _SEALED = b"\x00", b"\x01"
_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PURPOSE = b"sentinai sealed payload v1\x00"


class SealKeyUnknownError(TransientError):
    """A value is sealed with a key that this process was not given: it works where the key is."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"the payload is sealed with key {key_id!r}, which this process does not have; add it to "
                         "SENTINAI_PAYLOAD_KEYS and restart")  # fmt: skip


class SealBrokenError(PermanentError):
    """A sealed value does not belong where it lies, or was changed."""

    def __init__(self) -> None:
        super().__init__("the stored payload cannot be opened: it was changed, or belongs to another row or tenant")


@dataclass(frozen=True, slots=True, repr=False)
class SealKey:
    """A key and the id that envelopes name it by."""

    key_id: str
    secret: bytes

    def __post_init__(self) -> None:
        """Raises ConfigurationError; the secret is not repeated."""
        if not _KEY_ID.fullmatch(self.key_id):
            raise ConfigurationError("SENTINAI_PAYLOAD_KEYS: a key's id has 1 to 64 letters, digits, '.', '_', '-'")
        if len(self.secret) != KEY_BYTES:
            raise ConfigurationError(f"SENTINAI_PAYLOAD_KEYS: key {self.key_id!r} has not {KEY_BYTES} bytes")

    def __repr__(self) -> str:
        """Without the secret."""
        return f"SealKey({self.key_id!r})"

    @property
    def header(self) -> bytes:
        """What every envelope of this key begins with."""
        encoded = self.key_id.encode()
        return _SEALED + bytes([len(encoded)]) + encoded


class Sealing:
    """Seals with the first of its keys, opens with any of them. Makes no difference between processes."""

    def __init__(self, keys: Sequence[SealKey] = (), random: Callable[[int], bytes] = os.urandom) -> None:
        """Without keys values are stored as they are, behind a marker."""
        self._keys = {key.key_id: key for key in keys}
        if len(self._keys) != len(keys):
            raise ConfigurationError("SENTINAI_PAYLOAD_KEYS: two keys have the same id")
        self._first = keys[0] if keys else None
        self._header = self._first.header if self._first is not None else _UNSEALED
        self._random = random

    def __repr__(self) -> str:
        """Without a secret."""
        return f"Sealing({', '.join(self._keys)})"

    @property
    def header(self) -> bytes:
        """What every value that this seals begins with; rotation looks for those that do not."""
        return self._header

    @property
    def current(self) -> str | None:
        """The id of the key that seals; None when values are stored as they are."""
        return None if self._first is None else self._first.key_id

    def seal(self, tenant_id: str, exception_id: bytes, slot: str, value: Any) -> bytes:
        """A JSON value, ready to be stored in that slot of that row."""
        return self._sealed(tenant_id, exception_id, slot, orjson.dumps(value))

    def open(self, tenant_id: str, exception_id: bytes, slot: str, stored: bytes) -> Any:
        """What was sealed there. Raises SealKeyUnknownError, SealBrokenError."""
        try:
            return orjson.loads(self._opened(tenant_id, exception_id, slot, bytes(stored)))
        except orjson.JSONDecodeError:
            raise SealBrokenError from None

    def reseal(self, tenant_id: str, exception_id: bytes, slot: str, stored: bytes) -> bytes:
        """The same value under the key that seals now. Raises as `open`."""
        return self._sealed(tenant_id, exception_id, slot, self._opened(tenant_id, exception_id, slot, bytes(stored)))

    def _sealed(self, tenant_id: str, exception_id: bytes, slot: str, content: bytes) -> bytes:
        if self._first is None:
            return _UNSEALED + content
        place = _place(tenant_id, exception_id, slot)
        nonce = self._random(_NONCE_BYTES)
        cipher = AESGCM(_row_key(self._first, place))
        return self._header + nonce + cipher.encrypt(nonce, content, self._header + place)

    def _opened(self, tenant_id: str, exception_id: bytes, slot: str, stored: bytes) -> bytes:
        if stored[:1] == _UNSEALED:
            return stored[1:]
        start = 2 + stored[1] if len(stored) > 1 else 2
        if stored[:1] != _SEALED or len(stored) <= start + _NONCE_BYTES:
            raise SealBrokenError
        header, nonce = stored[:start], stored[start : start + _NONCE_BYTES]
        key = self._keys.get(header[2:].decode("ascii", "replace"))
        if key is None:
            raise SealKeyUnknownError(header[2:].decode("ascii", "replace"))
        place = _place(tenant_id, exception_id, slot)
        try:
            return AESGCM(_row_key(key, place)).decrypt(nonce, stored[start + _NONCE_BYTES :], header + place)
        except InvalidTag:
            raise SealBrokenError from None


def input_slot(sequence: int) -> str:
    """The slot of an input's data."""
    return f"input:{sequence}"


def _place(tenant_id: str, exception_id: bytes, slot: str) -> bytes:
    """Which row and column: the associated data. A tenant's id has no NUL, so no two places read alike."""
    return b"%b\x00%b%b" % (tenant_id.encode(), exception_id, slot.encode())


def _row_key(key: SealKey, place: bytes) -> bytes:
    return hmac.digest(key.secret, _PURPOSE + place, hashlib.sha256)
