"""What the worker's main process makes of errors that ended a delivery."""

from __future__ import annotations

import pytest
from celery.exceptions import TimeLimitExceeded, WorkerLostError

from tasks.requests import REMEMBERED, Endings, ended_how


@pytest.mark.parametrize(
    ("error", "how", "own"),
    [
        (WorkerLostError("Worker exited prematurely: signal 11 (SIGSEGV) Job: 4."), "signal 11 (SIGSEGV)", True),
        (WorkerLostError("Worker exited prematurely: signal 6 (SIGABRT) Job: 4."), "signal 6 (SIGABRT)", True),
        (WorkerLostError("Worker exited prematurely: signal 9 (SIGKILL) Job: 4."), "signal 9 (SIGKILL)", False),
        (WorkerLostError("Worker exited prematurely: signal 15 (SIGTERM) Job: 4."), "signal 15 (SIGTERM)", False),
        (WorkerLostError("Worker exited prematurely: exitcode 0 Job: 4."), "exitcode 0", True),
        (TimeLimitExceeded(15.0), "time limit of 15 s", True),
        (SystemExit(3), "exitcode 3", True),
    ],
)
def test_the_end_of_a_process_has_a_name(error: BaseException, how: str, own: bool) -> None:
    assert ended_how(error, 77) == {"how": how, "own": own, "process": 77}


def test_an_error_of_a_task_ends_no_process() -> None:
    assert ended_how(ValueError("no"), 77) is None


def test_an_end_is_told_once_and_memory_is_bounded() -> None:
    endings = Endings()
    for number in range(REMEMBERED + 1):
        endings.note(str(number), {"how": str(number)})
    assert endings.taken("0") is None
    assert endings.taken("1") == {"how": "1"}
    assert endings.taken("1") is None
