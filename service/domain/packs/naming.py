"""Names of exception types: one spelling for what sources spell in many ways."""

from __future__ import annotations

import re

UNKNOWN_TYPE = "UNKNOWN"
"""The type of an exception whose source named none."""

_WORD_BREAK = re.compile(r"[^0-9A-Za-z]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def normal_name(name: str) -> str:
    """Upper snake case: `settlement fail`, `SettlementFail` and `settlement-fail` are SETTLEMENT_FAIL.

    Empty when the name holds no ASCII letter or digit.
    """
    return "_".join(word for word in _WORD_BREAK.split(name.strip()) if word).upper()
