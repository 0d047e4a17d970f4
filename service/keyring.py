"""From the setting to the keys that seal payloads: each is a reference, and the first of them seals."""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Mapping

from service.errors import ConfigurationError
from service.persistence.sealing import KEY_BYTES, Sealing, SealKey
from service.secrets import Secrets, SecretUnavailableError, build_secrets
from service.settings import Settings

log = logging.getLogger(__name__)

_HEX = re.compile(rf"[0-9a-fA-F]{{{2 * KEY_BYTES}}}")


def open_sealing(settings: Settings, environ: Mapping[str, str]) -> Sealing:
    """What this process seals and opens payloads with. Raises ConfigurationError; see `build_sealing`."""
    return build_sealing(settings, build_secrets(environ, settings.secrets_directory))


def build_sealing(settings: Settings, secrets: Secrets) -> Sealing:
    """The keys of SENTINAI_PAYLOAD_KEYS, looked up. Without any it warns that payloads are stored as they are.

    Raises ConfigurationError, which names the key and its reference and no part of the key.
    """
    if not settings.payload_keys:
        log.warning(
            "payloads are stored unencrypted: SENTINAI_PAYLOAD_KEYS names no key (docs/security.md says how to set one)"
        )
        return Sealing()
    return Sealing([_key(key_id, reference, secrets) for key_id, reference in settings.payload_keys.items()])


def _key(key_id: str, reference: str, secrets: Secrets) -> SealKey:
    try:
        text = secrets.resolve_for_operator(reference).strip()
    except SecretUnavailableError as error:
        raise ConfigurationError(f"SENTINAI_PAYLOAD_KEYS: key {key_id!r}: {error}") from None
    try:
        content = bytes.fromhex(text) if _HEX.fullmatch(text) else base64.b64decode(text, validate=True)
    except binascii.Error:
        content = b""
    if len(content) != KEY_BYTES:
        # Not what it is: whatever was found there may be another secret.
        raise ConfigurationError(
            f"SENTINAI_PAYLOAD_KEYS: key {key_id!r} is not {KEY_BYTES} random bytes in base64 or hexadecimal; "
            "`openssl rand -base64 32` makes one"
        )
    return SealKey(key_id, content)
