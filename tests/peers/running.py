"""One run of a suite: a copy of its folder, a process of its own, and what it reports while it goes on."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.peers.not_applicable import NOT_APPLICABLE
from tests.peers.results import SuiteResult, fold, summary
from tests.peers.suites import INSIDE, Broker, Suite

_PROJECT = Path(__file__).resolve().parents[2]
_TELL_EVERY = 20.0
_LOOK_EVERY = 0.5
_INSIDE = ("sitecustomize.py", "peers_report.py")

Tell = Callable[[str], None]


@dataclass(frozen=True)
class _Place:
    """Folders of one run."""

    suite: Path
    importable: Path
    """What the suite sees of this project."""
    report: Path


def run(suite: Suite, broker: Broker, sources: Path, programs: Path, select: str, log: Path, tell: Tell) -> SuiteResult:
    """Run a suite and return what came out. `select` is pytest's -k; what pytest prints goes to `log`."""
    with tempfile.TemporaryDirectory(prefix="peers-") as temporary:
        place = _lay_out(Path(temporary), suite, broker, sources)
        reasons = NOT_APPLICABLE[suite.package] if broker.kind == "kafka" else {}
        started = time.monotonic()

        def result() -> SuiteResult:
            seconds = time.monotonic() - started
            return fold(suite.package, broker.kind, seconds, place.report.read_text().splitlines(), reasons)

        with log.open("w") as output:
            process = subprocess.Popen(
                [str(programs / "python"), "-m", "pytest", *_pytest(suite, select)],
                cwd=place.suite,
                env=_environment(broker, programs, place),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                _follow(process, result, tell)
            finally:
                _end(process)
        return dataclasses.replace(result(), exit_code=process.returncode)


def _pytest(suite: Suite, select: str) -> list[str]:
    # The suite's own options are for its authors' machines (coverage, reruns); its other settings stay.
    options = ["-o", "addopts=", "-p", "no:cacheprovider", "-p", "peers_report", "-ra", "-W", "default"]
    chosen = ["-k", select] if select else []
    return [*options, f"--timeout={suite.test_timeout}", *suite.arguments, *chosen]


def _lay_out(temporary: Path, suite: Suite, broker: Broker, sources: Path) -> _Place:
    """Make the folders. The suite sees the transport and what is ours inside it, and nothing else of the project."""
    place = _Place(temporary / "suite", temporary / "importable", temporary / "report.jsonl")
    shutil.copytree(sources, place.suite)
    suite.prepare(place.suite, broker)
    shutil.copytree(_PROJECT / "service" / "transport", place.importable / "service" / "transport")
    (place.importable / "service" / "__init__.py").touch()
    for name in _INSIDE:
        shutil.copyfile(INSIDE / name, place.importable / name)
    place.report.touch()
    return place


def _environment(broker: Broker, programs: Path, place: _Place) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "TMPDIR")}
    return {
        **kept,
        **broker.environment(),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(place.importable),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PEERS_REPORT": str(place.report),
    }


def _follow(process: subprocess.Popen[bytes], result: Callable[[], SuiteResult], tell: Tell) -> None:
    told, failures = time.monotonic(), set[str]()
    while process.poll() is None:
        time.sleep(_LOOK_EVERY)
        now = result()
        for failed in (one for one in now.failed if one.test not in failures):
            failures.add(failed.test)
            tell(f"  failed  {failed.test}")
        if time.monotonic() - told > _TELL_EVERY:
            told = time.monotonic()
            tell(f"  {now.suite} on {now.on}: {len(now.outcomes)} of {now.collected} ran, {now.seconds:.0f} s")
    tell(summary(result()).partition("\n")[0])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what the suite may have left: its workers are in its session."""
    try:
        os.killpg(process.pid, signal.SIGTERM if process.poll() is None else signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait(timeout=30)
