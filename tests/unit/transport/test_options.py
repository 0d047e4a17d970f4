"""Options: good without any, refused when they cannot work, and passed through to librdkafka."""

from __future__ import annotations

import logging

import pytest

from service.transport.errors import BadOption
from service.transport.options import Options, options_from


def test_nothing_needs_to_be_set() -> None:
    options = options_from({}, "kafka:9092", None)
    assert options.bootstrap_servers == "kafka:9092"
    assert options.consumer("celery")["session.timeout.ms"] == 6000
    assert options.producer()["acks"] == "all"


def test_every_librdkafka_setting_passes_through_but_auto_commit_stays_off() -> None:
    options = options_from(
        {
            "common_config": {"security.protocol": "SASL_SSL"},
            "consumer_config": {"session.timeout.ms": 9000, "enable.auto.commit": True},
            "producer_config": {"compression.type": "lz4"},
        },
        "kafka:9092",
        None,
    )
    consumer = options.consumer("celery")
    assert consumer["security.protocol"] == options.producer()["security.protocol"] == "SASL_SSL"
    assert consumer["session.timeout.ms"] == 9000
    assert consumer["enable.auto.commit"] is False
    assert options.producer()["compression.type"] == "lz4"


def test_credentials_of_the_url_become_sasl_credentials_and_are_never_shown() -> None:
    options = options_from({"common_config": {"security.protocol": "SASL_SSL"}}, "kafka:9092", ("worker", "s3cret"))
    assert options.common()["sasl.password"] == "s3cret"
    assert "s3cret" not in repr(options)


def test_the_newer_group_protocol_drops_what_only_the_classic_one_knows() -> None:
    options = options_from({"consumer_config": {"group.protocol": "consumer"}}, "kafka:9092", None)
    assert not {"session.timeout.ms", "partition.assignment.strategy"} & options.consumer("celery").keys()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ordering", "fifo"),
        ("unroutable", "ignore"),
        ("partitions", 0),
        ("buffer_messages", 0),
        ("delay_levels", (60, 10)),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(BadOption, match=name):
        options_from({name: value}, "kafka:9092", None)


def test_a_misspelt_option_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        options_from({"partitons": 3, "max_retries": 3}, "kafka:9092", None)
    assert "partitons" in caplog.text
    assert "max_retries" not in caplog.text


def test_equal_options_share_a_cluster_and_different_secrets_do_not() -> None:
    one = Options(common_config={"sasl.password": "a"})
    assert one.identity == Options(common_config={"sasl.password": "a"}).identity
    assert one.identity != Options(common_config={"sasl.password": "b"}).identity
