"""A pytest plugin that writes one line of JSON per report, so that a run can be followed and survives its end."""

import json
import os
from pathlib import Path

_REPORT = Path(os.environ["PEERS_REPORT"])


def pytest_collection_finish(session):
    """Tell how many tests there will be."""
    _write({"collected": len(session.items)})


def pytest_collectreport(report):
    """A module that cannot be imported is a failure too."""
    if report.failed:
        _write({"test": report.nodeid, "outcome": "failed", "seconds": 0.0, "message": str(report.longrepr)})


def pytest_runtest_logreport(report):
    """One phase of a test (setup, call, teardown), or one of its subtests."""
    outcome = report.outcome
    if hasattr(report, "wasxfail"):
        outcome = "xfailed" if report.skipped else "xpassed"
    _write(
        {
            "test": report.nodeid,
            "outcome": outcome,
            "seconds": round(getattr(report, "duration", 0.0), 3),
            "message": _message(report),
            "finished": report.when == "teardown",
        }
    )


def _message(report):
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        return crash.message
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr or "")


def _write(line):
    with _REPORT.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
