"""The application as a whole, with nothing behind it."""

from __future__ import annotations

import logging
import re

import pytest
from flask import Flask
from openapi_spec_validator import validate

from service.api import create_app, gunicorn_config, problems
from service.api.app import POOL_SIZE
from service.api.context import EXTENSION
from service.api.openapi import document
from service.settings import Settings

NOWHERE = Settings(database_url="postgresql://nobody@127.0.0.1:1/none", redis_url="redis://127.0.0.1:1/0")


@pytest.fixture
def app() -> Flask:
    """Nothing it needs is there, and it is made all the same: making it connects to nothing."""
    return create_app(NOWHERE)


def test_the_openapi_document_is_valid() -> None:
    validate(document())


def test_every_call_is_in_the_openapi_document_and_every_one_of_it_exists(app: Flask) -> None:
    # given the calls the application serves
    untold = {"/openapi.json", "/docs"}
    served = {
        (_told_as(rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule not in untold
    }
    # then the document tells of exactly these
    told = {(path, verb) for path, calls in document()["paths"].items() for verb in calls}
    assert told == served


def _told_as(rule: str) -> str:
    """A route as the document writes it."""
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)
    return path.replace("/dlq/{identifier}", "/dlq/{deadLetterId}").replace("{identifier}", "{exceptionId}")


def test_the_reading_page_names_every_call_and_problem_and_needs_nothing_from_elsewhere(app: Flask) -> None:
    page = app.test_client().get("/docs").text
    for path in document()["paths"]:
        assert path in page
    for kind in problems.KINDS:
        assert f'id="{kind.slug}"' in page
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert targets <= set(re.findall(r'id="([^"]+)"', page))


def test_a_fault_of_ours_is_logged_and_not_told(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    # given a view that breaks on something secret
    def broken() -> str:
        raise RuntimeError("the third drawer is stuck, password=hunter2")

    app.add_url_rule("/broken", view_func=broken)
    # when it is called
    with caplog.at_level(logging.ERROR):
        answer = app.test_client().get("/broken", headers={"X-Request-ID": "r-1"})
    # then the caller learns nothing but the request's id, and the log has the rest under it but the secret
    assert answer.status_code == 500
    assert answer.content_type == "application/problem+json"
    assert answer.json["requestId"] == answer.headers["X-Request-ID"] == "r-1"
    assert "drawer" not in answer.text
    assert "Traceback" not in answer.text
    assert "r-1" in caplog.text
    assert "the third drawer is stuck" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("given", ["", "two words", "x" * 65, "<script>"])
def test_a_request_id_that_is_not_plain_is_not_taken_over(app: Flask, given: str) -> None:
    answer = app.test_client().get("/healthz", headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] != given
    assert len(answer.headers["X-Request-ID"]) == 36


def test_the_settings_are_the_ones_it_was_given(app: Flask) -> None:
    assert app.extensions[EXTENSION].settings is NOWHERE


def test_every_thread_of_a_process_can_have_a_connection() -> None:
    assert gunicorn_config.threads == 2 * POOL_SIZE


def test_without_settings_it_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://somebody@127.0.0.1:1/some")
    assert create_app().extensions[EXTENSION].settings.database_url == "postgresql://somebody@127.0.0.1:1/some"
