"""Running PostgreSQL for root: it refuses to run as root, so it gets another system user."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.devstack.errors import StackError

_CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """Who PostgreSQL runs as, and the command prefix that makes it so."""

    uid: int
    gid: int
    prefix: tuple[str, ...]

    def own(self, path: Path) -> None:
        """Give the account a folder or file."""
        if self.prefix:
            os.chown(path, self.uid, self.gid)


def postgres_account(paths: Sequence[Path]) -> Account:
    """The calling user, or for root the first of postgres and nobody.

    `paths` are folders the account has to reach. Where a folder above them is closed (a clone below /root,
    a mktemp folder), the account is given the capability to pass it and nothing else. Raises StackError when
    root cannot hand over.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), ())
    setpriv = shutil.which("setpriv")
    entry = next((e for name in _CANDIDATES if (e := _entry(name)) is not None), None)
    if setpriv is None or entry is None:
        raise StackError(
            "PostgreSQL refuses to run as root, and there is no setpriv (util-linux) or no system user "
            "to hand it to; run this as an ordinary user"
        )
    prefix = [setpriv, f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    if not all(reachable(path, entry.pw_uid, entry.pw_gid) for path in paths):
        # access(2), which PostgreSQL asks about its own binaries, looks at the real user's capabilities and
        # drops them for anyone but root unless this bit is set.
        prefix.append("--securebits=+no_setuid_fixup")
        prefix += [f"--{kind}=-all,+dac_override" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    return Account(entry.pw_uid, entry.pw_gid, tuple(prefix))


def _entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def reachable(path: Path, uid: int, gid: int) -> bool:
    """Whether a user may pass every folder on the way to an existing path."""
    return all(_may_pass(folder.stat(), uid, gid) for folder in path.resolve().parents)


def _may_pass(folder: os.stat_result, uid: int, gid: int) -> bool:
    if folder.st_uid == uid:
        return bool(folder.st_mode & stat.S_IXUSR)
    return bool(folder.st_mode & (stat.S_IXGRP if folder.st_gid == gid else stat.S_IXOTH))
