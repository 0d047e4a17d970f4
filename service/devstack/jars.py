"""Kafka's jars: from the cache, else by Maven, else one by one; in every case checked against the checked-in sums."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from jgo.constants import MAVEN_CENTRAL_URL

from service.devstack import cache
from service.devstack.errors import DownloadError

_LISTS = Path(__file__).parent / "distributions"
_MAVEN_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies"
_MAVEN_SECONDS = 300
_DOWNLOADS_AT_ONCE = 8


@dataclass(frozen=True)
class Jar:
    """One file of a distribution."""

    path: str
    """Where it is below the base URL."""
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """File name in the distribution's folder."""
        return self.path.rpartition("/")[2]


def read_list(distribution: str) -> tuple[Jar, ...]:
    """The checked-in list of a distribution's jars."""
    raw = json.loads((_LISTS / f"{distribution}.json").read_text(encoding="utf-8"))
    return tuple(Jar(**jar) for jar in raw["jars"])


def base_url(environ: Mapping[str, str]) -> str:
    """Where jars are downloaded from: $SENTINAI_MAVEN_BASE_URL, else where a Maven client looks by default."""
    return (environ.get("SENTINAI_MAVEN_BASE_URL") or MAVEN_CENTRAL_URL).rstrip("/")


def install(distribution: str, cache_folder: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> Path:
    """Return the folder that holds exactly the distribution's jars, fetching them on first use.

    Raises DownloadError when they cannot be had or are not what the list says.
    """
    jars = read_list(distribution)

    def build(folder: Path) -> None:
        size = sum(jar.bytes for jar in jars) // 1_000_000
        say(f"fetching {distribution} ({len(jars)} jars, {size} MB)")
        cache.require_space(folder, 3 * size)
        if not _by_maven(distribution, folder, environ, jars):
            _by_download(folder, base_url(environ), jars)
        verify(folder, jars)

    return cache.entry(cache_folder, distribution, build, lambda folder: is_complete(folder, jars))


def is_complete(folder: Path, jars: Sequence[Jar]) -> bool:
    """Whether the folder has every jar with its size: a cheap look, for sums were checked at installation."""
    try:
        return all((folder / jar.name).stat().st_size == jar.bytes for jar in jars)
    except FileNotFoundError:
        return False


def verify(folder: Path, jars: Sequence[Jar]) -> None:
    """Raise DownloadError unless the folder holds exactly the listed jars, byte for byte."""
    unlisted = {path.name for path in folder.iterdir()} - {jar.name for jar in jars}
    for name in unlisted:
        raise DownloadError(f"{name} was fetched but is not in the checked-in list; nothing was installed")
    for jar in jars:
        path = folder / jar.name
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != jar.sha256:
            raise DownloadError(
                f"{jar.name} is not the file the checked-in list names (SHA-256 differs); nothing was installed. "
                "A proxy may have answered in its place: set SENTINAI_MAVEN_BASE_URL to a mirror you trust"
            )


def _by_maven(distribution: str, folder: Path, environ: Mapping[str, str], jars: Sequence[Jar]) -> bool:
    """Let Maven fetch the jars, with its proxies, mirrors and cache. False when it is not there or fails."""
    maven = shutil.which("mvn", path=environ.get("PATH"))
    if maven is None or environ.get("SENTINAI_MAVEN_BASE_URL"):
        return False
    command = [maven, "-q", "-B", "-f", str(_LISTS / f"{distribution}.pom.xml"), _MAVEN_GOAL]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_MAVEN_SECONDS, env=dict(environ))
    except (subprocess.SubprocessError, OSError):
        for path in folder.iterdir():
            path.unlink()
        return False
    return all((folder / jar.name).exists() for jar in jars)


def _by_download(folder: Path, base: str, jars: Sequence[Jar]) -> None:
    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        futures = [pool.submit(_download, f"{base}/{jar.path}", folder / jar.name) for jar in jars]
        try:
            for future in futures:
                future.result()
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            pool.shutdown(cancel_futures=True)
            reason = getattr(error, "reason", error)
            raise DownloadError(
                f"Kafka could not be downloaded ({reason}); the first start needs a network. "
                "Behind a proxy set HTTPS_PROXY, or SENTINAI_MAVEN_BASE_URL to a mirror"
            ) from None


def _download(url: str, target: Path) -> None:
    partial = target.with_suffix(".part")
    try:
        with urllib.request.urlopen(url, timeout=30) as answer, partial.open("wb") as stream:  # noqa: S310 - https or the user's mirror
            shutil.copyfileobj(answer, stream)
    except urllib.error.HTTPError as error:
        with error:
            raise DownloadError(f"Kafka could not be downloaded: {url} answered {error.code} {error.reason}") from None
    partial.replace(target)
