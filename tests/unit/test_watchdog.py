"""The watchdog of pools without time limits: one timer, set to the task whose time is over first."""

from __future__ import annotations

import subprocess
import sys

from tasks.watchdog import Watchdog


class Timer:
    """A timer that notes what it is set to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.set_to: float | None = None

    def arm(self, seconds: float) -> None:
        self.set_to = self.now + seconds

    def disarm(self) -> None:
        self.set_to = None

    def watchdog(self) -> Watchdog:
        return Watchdog(self.arm, self.disarm, lambda: self.now)


def test_the_timer_is_set_to_the_end_of_the_task_that_has_the_least_time_left() -> None:
    timer = Timer()
    dog = timer.watchdog()
    with dog.watching(15):
        assert timer.set_to == 115
        timer.now += 5
        with dog.watching(35):
            assert timer.set_to == 115
            with dog.watching(2):
                assert timer.set_to == 107
            assert timer.set_to == 115
    assert timer.set_to is None


def test_where_the_pool_has_time_limits_nothing_is_set() -> None:
    timer = Timer()
    dog = timer.watchdog()
    dog.active = False
    with dog.watching(15):
        assert timer.set_to is None


def test_a_hang_in_which_python_gets_no_turn_ends_the_process_and_leaves_a_traceback() -> None:
    # given a process whose main thread searches for ever without letting another thread run
    program = (
        "import re; from tasks.watchdog import Watchdog\nwith Watchdog().watching(0.5): re.match('(a+)+$', 'a'*64+'b')"
    )
    # then the watchdog ends it
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr
    assert "line 2 in <module>" in ended.stderr
