"""docs/retries.md says what the table says."""

from __future__ import annotations

import re
from pathlib import Path

from service.domain.exceptions import Stage
from service.domain.retries import TABLE, RetryPolicy
from service.errors import ErrorKind

_PAGE = (Path(__file__).resolve().parents[3] / "docs" / "retries.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| (\w+) \| (transient|rate limited) \| (\d+) \| (\d+) \| (\d+) \| (\d*) ?\|$", re.MULTILINE)


def test_the_table_on_the_page_is_the_one_in_force() -> None:
    shown = {
        (stage, ErrorKind(kind.replace(" ", "_"))): RetryPolicy(int(tries), float(base), float(cap), float(asked or 0))
        for stage, kind, tries, base, cap, asked in _ROW.findall(_PAGE)
    }
    assert shown == {
        (stage.queue, kind): TABLE[stage][kind]
        for stage in Stage
        for kind in (ErrorKind.TRANSIENT, ErrorKind.RATE_LIMITED)
    }
