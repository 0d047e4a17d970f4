"""Known secrets do not come out, in whatever spelling, by a log or by a tool's answer."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from service.secrets import KnownSecrets, mask_log_records

SECRET = 'p@ss "wörd" 7f3a/9'


@pytest.fixture
def known() -> Iterator[KnownSecrets]:
    before = logging.getLogRecordFactory()
    known = KnownSecrets()
    mask_log_records(known)
    yield known
    logging.setLogRecordFactory(before)


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    # A handler of its own, as Celery's and gunicorn's are.
    written = io.StringIO()
    logger = logging.Logger("some.library")
    logger.addHandler(logging.StreamHandler(written))
    yield logger, written


def test_a_message_its_arguments_and_its_traceback_are_masked(
    known: KnownSecrets, log: tuple[logging.Logger, io.StringIO]
) -> None:
    logger, written = log
    known.add(SECRET)
    logger.warning("header %s of %r", SECRET, {"Authorization": SECRET})
    logger.warning("url https://x/?token=%s", quote(SECRET, safe=""))
    try:
        raise ValueError(f"cannot use {SECRET}")
    except ValueError:
        logger.exception("failed")
    text = written.getvalue()
    assert "[SECRET]" in text and "Traceback" in text
    for part in ("p@ss", "wörd", "7f3a", "p%40ss"):
        assert part not in text


def test_ordinary_records_stay_as_they_are(known: KnownSecrets, log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    logger.warning("%d of %s", 3, "five")
    known.add(SECRET)
    logger.warning("%d of %s", 3, "five")
    assert written.getvalue() == "3 of five\n3 of five\n"


def test_data_is_masked_through_and_through(known: KnownSecrets) -> None:
    data = {"headers": [f"Bearer {SECRET}", 7, None], SECRET: {"b64": base64.b64encode(SECRET.encode()).decode()}}
    assert known.masked(data) is data
    known.add(SECRET)
    assert known.masked(data) == {"headers": ["Bearer [SECRET]", 7, None], "[SECRET]": {"b64": "[SECRET]"}}


def test_a_short_value_masks_nothing(known: KnownSecrets) -> None:
    known.add("on")
    assert known.masked_text("done once") == "done once"


def test_what_only_looks_like_a_secret_is_masked_in_logs_too(
    known: KnownSecrets, log: tuple[logging.Logger, io.StringIO]
) -> None:
    logger, written = log
    logger.warning("Authorization: Bearer %s for card %s", "abcdef0123456789", "4111 1111 1111 1111")
    logger.warning("worker celery@host.example took %s", "41111111-1111-1111-8abc-0123456789ab")
    assert written.getvalue() == (
        "Authorization: Bearer [REDACTED] for card [REDACTED]\n"
        "worker celery@host.example took 41111111-1111-1111-8abc-0123456789ab\n"
    )
