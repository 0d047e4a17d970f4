"""Downloaded programs: checked against the list, complete or not there at all."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.devstack import cache, jars, java
from service.devstack.errors import DownloadError, StackError
from service.devstack.jars import Jar


@dataclass(frozen=True)
class Mirror:
    """A download site with two jars, and the list that names them."""

    folder: Path
    url: str
    jars: tuple[Jar, ...]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A mirror on loopback, and a checked-in list of what it should have."""
    folder, lists = tmp_path / "mirror", tmp_path / "lists"
    lists.mkdir()
    listed = []
    for name in ("one", "two"):
        path = f"org/{name}/{name}.jar"
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_bytes(name.encode() * 100)
        listed.append(Jar(path, 300, hashlib.sha256(name.encode() * 100).hexdigest()))
    (lists / "app-1.json").write_text(json.dumps({"jars": [vars(jar) for jar in listed]}))
    monkeypatch.setattr(jars, "_LISTS", lists)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Mirror(folder, f"http://127.0.0.1:{server.server_address[1]}", tuple(listed))
        server.shutdown()
        thread.join()


def _install(mirror: Mirror, target: Path) -> Path:
    said: list[str] = []
    return jars.install("app-1", target, {"SENTINAI_MAVEN_BASE_URL": mirror.url}, said.append)


def test_jars_are_downloaded_once_and_kept(mirror: Mirror, tmp_path: Path) -> None:
    # when a distribution is installed
    folder = _install(mirror, tmp_path / "cache")
    # then exactly its jars are there, and the next start does not need the mirror
    assert sorted(path.name for path in folder.iterdir()) == ["one.jar", "two.jar"]
    (mirror.folder / "org/one/one.jar").unlink()
    assert _install(mirror, tmp_path / "cache") == folder


def test_a_changed_jar_is_refused_and_nothing_is_kept(mirror: Mirror, tmp_path: Path) -> None:
    # given a mirror whose jar has the right length and other bytes
    (mirror.folder / "org/two/two.jar").write_bytes(b"x" * 300)
    with pytest.raises(DownloadError, match=r"two\.jar is not the file the checked-in list names"):
        _install(mirror, tmp_path / "cache")
    assert not (tmp_path / "cache" / "app-1").exists()
    assert not list((tmp_path / "cache").glob(".app-1.*[!k]"))


def test_a_missing_jar_names_the_reason(mirror: Mirror, tmp_path: Path) -> None:
    (mirror.folder / "org/two/two.jar").unlink()
    with pytest.raises(DownloadError, match="could not be downloaded"):
        _install(mirror, tmp_path / "cache")


def test_a_damaged_cache_is_made_again(mirror: Mirror, tmp_path: Path) -> None:
    folder = _install(mirror, tmp_path / "cache")
    (folder / "one.jar").write_bytes(b"short")
    assert (_install(mirror, tmp_path / "cache") / "one.jar").stat().st_size == 300


def test_an_unlisted_file_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    folder = _install(mirror, tmp_path / "cache")
    (folder / "extra.jar").write_bytes(b"")
    with pytest.raises(DownloadError, match=r"extra\.jar was fetched but is not in the checked-in list"):
        jars.verify(folder, mirror.jars)


@pytest.mark.parametrize("distribution", ["kafka-4.3.1", "kafka-3.5.2"])
def test_the_checked_in_lists_are_whole(distribution: str) -> None:
    listed = jars.read_list(distribution)
    names = [jar.name for jar in listed]
    assert len(set(names)) == len(names) > 40
    assert all(len(jar.sha256) == 64 and jar.path.endswith(".jar") and jar.bytes > 0 for jar in listed)
    assert f"kafka_2.13-{distribution.removeprefix('kafka-')}.jar" in names
    assert jars.base_url({}).startswith("https://")


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"no disk space: .* MB left and the stack needs 1000000000 MB"):
        cache.require_space(tmp_path / "not" / "there", 1_000_000_000)
    with pytest.raises(StackError, match="no disk space left"), cache.disk_errors(tmp_path):
        raise OSError(28, "No space left on device")


def test_the_cache_is_the_users(tmp_path: Path) -> None:
    assert cache.cache_folder({"SENTINAI_CACHE": str(tmp_path)}) == tmp_path
    assert cache.cache_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/sentinai")
    assert cache.cache_folder({}) == Path.home() / ".cache" / "sentinai"


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ("not java", None),
    ],
)
def test_the_version_of_a_java_is_read(text: str, major: int | None) -> None:
    assert java.parse_version(text) == major


def test_an_old_java_is_passed_over(tmp_path: Path) -> None:
    # given an old Java on the PATH and a new one in JAVA_HOME
    old, new = _java(tmp_path / "old", "11.0.2"), _java(tmp_path / "new" / "bin", "21.0.1")
    environ = {"PATH": f"{old.parent}:/bin:/usr/bin", "JAVA_HOME": str(tmp_path / "new")}
    assert java.find_java(tmp_path / "cache", environ, lambda _: None) == new


def _java(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    program = folder / "java"
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    program.chmod(0o755)
    return program
