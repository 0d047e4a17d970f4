"""The virtual environment of the suites: what their requirements name, apart from the project's own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from service.devstack import cache

_PROJECT = Path(__file__).resolve().parents[2]
_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_CONSTRAINTS = _PROJECT / "constraints.txt"
_COMPLETE = "complete"


def environment(cache_folder: Path) -> Path:
    """Folder of programs (`bin`) of the environment; made when its requirements are new.

    It is made where it stays, because its scripts hold their own path; a marker says that it is complete.

    Raises:
        subprocess.CalledProcessError: pip could not install; pip has said why.
    """
    folder = cache_folder / f"peers-venv-{_digest()}"
    with cache.disk_errors(cache_folder):
        cache_folder.mkdir(parents=True, exist_ok=True)
        with cache.building(cache_folder / f".{folder.name}.lock"):
            if not (folder / _COMPLETE).exists():
                _make(folder)
    return folder / "bin"


def _make(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(_REQUIREMENTS), "-c", str(_CONSTRAINTS)], check=True)
    (folder / _COMPLETE).touch()


def _digest() -> str:
    parts = (_REQUIREMENTS.read_bytes(), _CONSTRAINTS.read_bytes(), sys.version.encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]
