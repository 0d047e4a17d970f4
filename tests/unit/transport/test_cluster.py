"""What a process shares per cluster, and what a forked child may not touch."""

from __future__ import annotations

import gc
import os

from service.transport import cluster as clusters
from service.transport.cluster import cluster_of, keep_from_children
from service.transport.options import Options


class Handle:
    """Stands for a librdkafka client: its destructor may run in the process that made it only."""

    def __init__(self, tell: int) -> None:
        self.tell = tell

    def __del__(self) -> None:
        os.write(self.tell, b"destructor")


def test_connections_with_equal_options_share_and_others_do_not() -> None:
    one = cluster_of(Options(group_id="share-1"))
    assert one is cluster_of(Options(group_id="share-1"))
    assert one is not cluster_of(Options(group_id="share-2"))


def test_a_forked_child_starts_anew_and_never_runs_the_parents_destructors() -> None:
    # given a process with a cluster and a handle
    read, write = os.pipe()
    handle = keep_from_children(Handle(write))
    mine = cluster_of(Options(group_id="fork"))
    # when it forks, and the child lets go of everything
    child = os.fork()
    if not child:
        anew = cluster_of(Options(group_id="fork")) is not mine
        del handle, mine
        gc.collect()
        os._exit(0 if anew and not clusters._handles else 1)
    _, status = os.waitpid(child, 0)
    os.set_blocking(read, False)
    # then the child has a cluster of its own, and no destructor has run there
    assert os.waitstatus_to_exitcode(status) == 0
    try:
        told = os.read(read, 100)
    except BlockingIOError:
        told = b""
    assert told == b""
    # and in the parent it runs as ever
    clusters.let_go(handle)
    del handle
    assert os.read(read, 100) == b"destructor"
    os.close(read)
    os.close(write)
