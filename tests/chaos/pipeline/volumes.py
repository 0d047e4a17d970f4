"""Small volumes under the data of a broker or of PostgreSQL, which can be filled to the last byte and emptied again."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from service.devstack.instance import Instance
from tests.chaos.pipeline.needs import Need

_MEGABYTES = {Need.SMALL_BROKER_DISK: 300, Need.SMALL_DATABASE_DISK: 400}
"""More than a run writes, so that they are full only when they are filled."""
_CHUNK = 1 << 20


@contextmanager
def mounted(instance: Instance, needs: Collection[Need]) -> Iterator[None]:
    """Mount what the needs say below data folders that are not made yet; unmounted afterwards."""
    made: list[Path] = []
    try:
        for need in _MEGABYTES.keys() & frozenset(needs):
            volume = folder(instance, need)
            volume.mkdir(parents=True)
            size = f"size={_MEGABYTES[need]}m,mode=755"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(volume)], check=True)
            made.append(volume)
            _link(instance, need, volume)
        yield
    finally:
        for volume in made:
            # Lazily: a process that is only just ending may still have a file open.
            subprocess.run(["umount", "-l", str(volume)], check=True)


def postgres_settings(needs: Collection[Need]) -> Mapping[str, str]:
    """Settings with which PostgreSQL fits its volume."""
    if Need.SMALL_DATABASE_DISK not in needs:
        return {}
    return {"max_wal_size": "96MB", "min_wal_size": "32MB"}


def fill(instance: Instance, need: Need) -> None:
    """Leave no byte free in a volume."""
    with suppress(OSError), _filler(instance, need).open("ab", buffering=0) as filler:
        while True:
            filler.write(bytes(_CHUNK))


def free(instance: Instance, need: Need) -> None:
    """Give back what :func:`fill` took."""
    _filler(instance, need).unlink(missing_ok=True)


def owner_of(instance: Instance, need: Need) -> str:
    """The process whose data is in a volume."""
    return "postgres" if need is Need.SMALL_DATABASE_DISK else instance.brokers[-1]


def folder(instance: Instance, need: Need) -> Path:
    """Where a volume is mounted."""
    return instance.home / "volumes" / owner_of(instance, need)


def _filler(instance: Instance, need: Need) -> Path:
    return folder(instance, need) / "filler"


def _link(instance: Instance, need: Need, volume: Path) -> None:
    data = volume / "data"
    if need is Need.SMALL_BROKER_DISK:
        # Kafka makes no folder where there is a link.
        data.mkdir()
    (instance.data / owner_of(instance, need)).symlink_to(data)
