"""The report: the same values as JSON and as tables, with faults in plain sight."""

from __future__ import annotations

import json
from dataclasses import replace

from service.bench.machine import cpu_model
from service.bench.observing import Books
from service.bench.report import as_document, as_text
from service.bench.results import Kept
from tests.unit.bench import given


def test_the_document_is_json_with_camel_case_keys_and_names_its_machine() -> None:
    document = json.loads(json.dumps(as_document(given.results())))
    assert document["machine"]["cpuModel"] == "a CPU"
    assert document["sustained"][0]["throughput"]["eventsPerMinute"] == 810_000
    assert document["idle"]["journeys"]["toResolved"]["p99"] == 80.0
    assert document["sustained"][0]["usage"][0] == {
        "group": "postgres",
        "cores": 0.7,
        "memoryMib": 200.0,
        "processes": 12,
        "restarted": False,
    }
    assert (document["problems"], document["lost"]) == ([], 0)


def test_the_tables_tell_rates_latencies_cores_and_the_account() -> None:
    text = as_text(given.results())
    for expected in (
        "2 cores a CPU",
        "PostgreSQL 18.4",
        "1,500",
        "13,500",
        "0.81 M",
        "POST → RESOLVED",
        "postgres",
        "0.70",
    ):
        assert expected in text
    assert "PROBLEMS" not in text


def test_a_loss_is_told_in_both() -> None:
    # given a run that lost one exception
    kept = Kept(1000, 0, Books(accepted=999, resolved=999))
    run = given.results(one=given.sustained(kept=kept))
    # then neither form hides it
    assert as_document(run)["lost"] == 1
    assert "PROBLEMS:\n  - batch: 1 exceptions were answered 202 and are not in the ledger" in as_text(run)


def test_a_run_that_was_interrupted_early_still_reports() -> None:
    run = replace(
        given.results(), idle=None, sustained=[], half_load=None, total=None, tool_calls=None, interrupted=True
    )
    text = as_text(run)
    assert "interrupted" in text
    assert as_document(run)["interrupted"] is True


def test_what_did_not_happen_in_time_is_not_a_number() -> None:
    one = given.sustained()
    late = replace(one, backlog=replace(one.backlog, drain_seconds=None, left=12))
    row = next(line for line in as_text(given.results(one=late)).splitlines() if line.split()[:2] == ["batch", "NOT"])
    assert "12" in row


def test_the_cpu_model_is_found_where_there_is_one() -> None:
    assert cpu_model("processor : 0\nmodel name\t: AMD EPYC\n") == "AMD EPYC"
    assert cpu_model("processor : 0\n") == "unknown"
