"""The source distributions of kombu and Celery, from the package index into the user's cache folder.

The suites are those of the installed versions, because they judge what the project runs on.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

from service.devstack import cache


def sources(cache_folder: Path, package: str) -> Path:
    """The unpacked source distribution of a package's installed version. Downloads it once.

    Raises:
        subprocess.CalledProcessError: pip could not get it; pip has said why.
    """
    version = metadata.version(package)
    entry = cache.entry(
        cache_folder,
        f"peers-{package}-{version}",
        lambda folder: _download(package, version, folder),
        lambda folder: _root(folder, package, version).is_dir(),
    )
    return _root(entry, package, version)


def _download(package: str, version: str, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-binary", package, "--dest", str(folder), f"{package}=={version}"], check=True)
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    archive.unlink()


def _root(folder: Path, package: str, version: str) -> Path:
    return folder / f"{package}-{version}"
