"""The life of a pod in the cache."""

from __future__ import annotations

import pytest

from engine.model.objects import Pod
from engine.model.requests import RequestError
from engine.state.cache import Cache
from engine.state.pods import Phase
from tests.engine.build import ZONE, node, pod

ASKS: dict[str, str | int | float] = {"cpu": "1"}


@pytest.fixture
def cache() -> Cache:
    made = Cache()
    for name in ("a", "b"):
        made.put_node(node(name))
    return made


def used(cache: Cache, name: str) -> int:
    slot = cache.columns.slot(name)
    assert slot is not None
    return int(cache.columns.used["cpu"][slot])


def phase(cache: Cache, of: Pod) -> tuple[Phase, str]:
    placed = cache.pod(of.key)
    assert placed is not None
    return placed.phase, placed.node


def test_queued_assumed_confirmed_terminating_gone(cache: Cache) -> None:
    queued = pod(requests=ASKS)
    cache.put_pod(queued)
    assert phase(cache, queued) == (Phase.QUEUED, "")
    assert used(cache, "a") == 0
    cache.assume(queued.key, "a")
    assert phase(cache, queued) == (Phase.ASSUMED, "a")
    assert used(cache, "a") == 1000
    cache.put_pod(pod(requests=ASKS, on="a"))
    assert phase(cache, queued) == (Phase.BOUND, "a")
    assert used(cache, "a") == 1000
    cache.put_pod(pod(requests=ASKS, on="a", terminating=True))
    assert phase(cache, queued) == (Phase.TERMINATING, "a")
    assert used(cache, "a") == 1000
    cache.remove_pod(queued.key)
    assert cache.pod(queued.key) is None
    assert used(cache, "a") == 0
    assert list(cache.pods_on("a")) == []


def test_an_older_word_does_not_undo_an_assumption(cache: Cache) -> None:
    asked = pod(requests=ASKS)
    cache.put_pod(asked)
    cache.assume(asked.key, "a")
    cache.put_pod(pod(labels={"new": "label"}, requests=ASKS))
    assert phase(cache, asked) == (Phase.ASSUMED, "a")
    assert used(cache, "a") == 1000


def test_the_watch_wins_over_our_assumption(cache: Cache) -> None:
    asked = pod(requests=ASKS)
    cache.put_pod(asked)
    cache.assume(asked.key, "a")
    cache.put_pod(pod(requests=ASKS, on="b"))
    assert phase(cache, asked) == (Phase.BOUND, "b")
    assert (used(cache, "a"), used(cache, "b")) == (0, 1000)


def test_forget_gives_the_room_back_and_may_come_late(cache: Cache) -> None:
    asked = pod(requests=ASKS)
    cache.put_pod(asked)
    cache.assume(asked.key, "a")
    cache.forget(asked.key)
    assert phase(cache, asked) == (Phase.QUEUED, "")
    assert used(cache, "a") == 0
    cache.assume(asked.key, "b")
    cache.put_pod(pod(requests=ASKS, on="b"))
    cache.forget(asked.key)
    assert phase(cache, asked) == (Phase.BOUND, "b")
    cache.remove_pod(asked.key)
    cache.forget(asked.key)


def test_a_pod_deleted_while_its_binding_is_on_the_way_holds_nothing(cache: Cache) -> None:
    asked = pod(requests=ASKS)
    cache.put_pod(asked)
    cache.assume(asked.key, "a")
    cache.put_pod(pod(requests=ASKS, terminating=True))
    assert phase(cache, asked) == (Phase.TERMINATING, "")
    assert used(cache, "a") == 0


def test_only_a_queued_pod_can_be_assumed(cache: Cache) -> None:
    asked = pod(requests=ASKS)
    cache.put_pod(asked)
    cache.assume(asked.key, "a")
    with pytest.raises(ValueError, match="pod default/pod is assumed, only a queued pod can be assumed"):
        cache.assume(asked.key, "b")
    with pytest.raises(KeyError):
        cache.assume(pod("stranger").key, "a")
    assert (used(cache, "a"), used(cache, "b")) == (1000, 0)


def test_pods_of_a_removed_node_are_counted_again_when_it_is_back(cache: Cache) -> None:
    cache.put_pod(pod(requests=ASKS, on="a"))
    cache.remove_node("a")
    cache.remove_node("a")
    cache.put_node(node("c"))
    assert used(cache, "c") == 0, "the slot was used before"
    cache.put_node(node("a"))
    assert used(cache, "a") == 1000


def test_one_name_two_lives(cache: Cache) -> None:
    old, new = pod(requests=ASKS, on="a", uid="1"), pod(requests=ASKS, uid="2")
    cache.put_pod(old)
    cache.put_pod(new)
    cache.assume(new.key, "b")
    cache.remove_pod(old.key)
    assert (used(cache, "a"), used(cache, "b")) == (0, 1000)


def test_a_pod_that_cannot_be_read_changes_nothing(cache: Cache) -> None:
    cache.put_pod(pod(requests=ASKS, on="a"))
    with pytest.raises(RequestError, match=r"spec\.containers\[0\]\.resources\.requests\.cpu: 'x'"):
        cache.put_pod(pod(requests={"cpu": "x"}, on="b"))
    assert (used(cache, "a"), used(cache, "b")) == (1000, 0)
    with pytest.raises(RequestError):
        cache.put_pod(pod("new", requests={"cpu": "x"}))
    assert cache.pod(pod("new").key) is None


def test_many_nodes_and_resources(cache: Cache) -> None:
    for number in range(200):
        cache.put_node(
            node(f"n{number}", {"rack": str(number % 3)}, allocatable={"cpu": "1", f"r{number}": "1"})
        )
    columns = cache.columns
    assert columns.labels.column("rack").codes.shape == (columns.capacity,)
    for number in range(200):
        slot = columns.slot(f"n{number}")
        assert slot is not None
        assert columns.allocatable[f"r{number}"][slot] == 1
        assert columns.allocatable[f"r{number}"].sum() == 1


def test_a_heartbeat_changes_nothing(cache: Cache) -> None:
    assert not cache.put_node(node("a"))
    assert cache.put_node(node("a", {"new": "label"}))
    assert cache.put_node(node("a", ready=False))


def test_labels_that_come_with_the_binding_are_counted_and_change_nothing_of_the_node(cache: Cache) -> None:
    # As the API server gives each pod the zone and the region of its node.
    asked = pod(requests=ASKS, labels={"app": "a"})
    placed = cache.put_pod(asked)
    cache.assume(asked.key, "a")
    changes = cache.columns.usage_changes.version
    cache.put_pod(pod(requests=ASKS, labels={"app": "a", ZONE: "z1"}, on="a"))
    assert phase(cache, asked) == (Phase.BOUND, "a")
    assert used(cache, "a") == 1000
    assert placed.shape.labels == {"app": "a", ZONE: "z1"}
    assert cache.columns.usage_changes.version == changes
    cache.remove_pod(asked.key)
    assert used(cache, "a") == 0


def test_a_pod_that_asks_for_another_amount_holds_it(cache: Cache) -> None:
    asked = pod(requests=ASKS, labels={"app": "a"}, on="a")
    cache.put_pod(asked)
    cache.put_pod(pod(requests={"cpu": "2"}, labels={"app": "b"}, on="a"))
    assert used(cache, "a") == 2000
