"""The window of batches under way: what lets a lone exception leave at once and makes batches grow under load."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.dispatch.window import LaneWindow

PATIENCE = 5.0


def test_an_idle_lane_sends_at_once() -> None:
    assert LaneWindow(limit=2, patience_seconds=PATIENCE).free(now=0.0) == 2


def test_a_full_lane_waits_until_a_batch_is_done() -> None:
    # given a lane with as many batches under way as it may have
    window = LaneWindow(limit=2, patience_seconds=PATIENCE)
    window.sent("first", now=0.0)
    window.sent("second", now=0.1)
    assert window.free(now=0.2) == 0
    # when one comes to its end
    window.done("first")
    # then one more may leave
    assert window.free(now=0.3) == 1


def test_a_batch_that_is_never_heard_of_gives_its_place_back() -> None:
    # given a lane whose only batch was sent at 0
    window = LaneWindow(limit=1, patience_seconds=PATIENCE)
    window.sent("silent", now=0.0)
    # then it counts until its patience is over, and says when that is
    assert window.free(now=PATIENCE - 0.1) == 0
    assert window.next_release() == PATIENCE
    assert window.free(now=PATIENCE) == 1
    assert window.next_release() is None


def test_the_end_of_a_batch_heard_twice_frees_one_place() -> None:
    window = LaneWindow(limit=2, patience_seconds=PATIENCE)
    window.sent("a", now=0.0)
    window.sent("b", now=0.0)
    window.done("a")
    window.done("a")
    window.done("somebody else's")
    assert window.free(now=1.0) == 1


actions = st.lists(st.tuples(st.sampled_from(["sent", "done"]), st.sampled_from("abcdef")), max_size=40)


@given(actions=actions, limit=st.integers(1, 4))
def test_never_more_places_than_the_limit_and_never_fewer_than_none(actions: list[tuple[str, str]], limit: int) -> None:
    window = LaneWindow(limit, PATIENCE)
    under_way: set[str] = set()
    for now, (action, batch) in enumerate(actions):
        moment = now / 100
        if action == "sent":
            window.sent(batch, moment)
            under_way.add(batch)
        else:
            window.done(batch)
            under_way.discard(batch)
        assert window.free(moment) == max(0, limit - len(under_way))
