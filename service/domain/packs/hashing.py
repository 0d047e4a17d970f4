"""A pack's identity by content: two documents that say the same have the same hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def canonical_hash(document: Mapping[str, Any]) -> str:
    """SHA-256, in hex, over the document as JSON with sorted keys and no spaces.

    Order of keys and layout do not count, order of lists does. Raises ValueError for what JSON cannot say
    (NaN, infinities), TypeError for values that are not JSON.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
