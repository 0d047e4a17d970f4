"""The user's cache folder: downloaded programs, shared by all clones, safe to delete at any time.

An entry is built in a temporary folder and renamed into place, so what has its final name is complete.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from service.devstack.errors import StackError


def cache_folder(environ: Mapping[str, str]) -> Path:
    """$SENTINAI_CACHE, else sentinai/ in the XDG cache folder."""
    if environ.get("SENTINAI_CACHE"):
        return Path(environ["SENTINAI_CACHE"]).expanduser().resolve()
    base = Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base / "sentinai"


def entry(cache: Path, name: str, build: Callable[[Path], None], complete: Callable[[Path], bool]) -> Path:
    """The cached folder `name`, built by `build(folder)` when it is not there or not `complete`.

    Two stacks starting at once build it once. Raises what `build` raises, and StackError when the disk is full.
    """
    target = cache / name
    if complete(target):
        return target
    with disk_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
        with building(cache / f".{name}.lock"):
            if not complete(target):
                _build(cache, target, build)
    return target


def _build(cache: Path, target: Path, build: Callable[[Path], None]) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=cache))
    try:
        build(temporary)
        temporary.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def building(lock: Path) -> Iterator[None]:
    """Hold the lock that lets one process at a time build a cached thing."""
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn a full or unwritable disk into one sentence that names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StackError(f"no disk space left in {folder}; the stack needs about 1 GB") from None
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR):
            raise StackError(
                f"{error.filename or folder} cannot be written; check what it is and who owns it"
            ) from None
        raise


def require_space(folder: Path, megabytes: int) -> None:
    """Raise StackError when the disk under `folder` has less than this much free."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = os.statvfs(existing)
    available = free.f_bavail * free.f_frsize // 1_000_000
    if available < megabytes:
        raise StackError(f"no disk space: {existing} has {available} MB left and the stack needs {megabytes} MB")
