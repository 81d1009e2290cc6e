"""The cluster as it is after the moves: what is taken and free within the block, and that nothing of it stays."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from engine.healing.plan import Move, Way
from engine.model.objects import ObjectMeta, Pod
from engine.model.placeholder import OF
from engine.scheduler.expected import expected
from engine.state.cache import Cache
from engine.state.pods import Phase, PlacedPod
from grammar.policy import Heal
from tests.engine.healing.scenes import DRAIN
from tests.engine.scheduler.scenes import GIB, node, spec


def pod(cache: Cache, name: str, on: str = "") -> PlacedPod:
    metadata = ObjectMeta(name=name, namespace="default", uid=name)
    return cache.put_pod(Pod(metadata, msgspec.structs.replace(spec(), node_name=on)))


def used(cache: Cache) -> dict[str, int]:
    """Node → GiB that pods hold."""
    columns = cache.columns
    return {name: int(columns.used["memory"][columns.slot(name)] // GIB) for name in ("a", "b", "c")}


@pytest.fixture
def cache() -> Cache:
    found = Cache()
    for name in ("a", "b", "c"):
        found.put_node(node(name))
    return found


def move(cache: Cache, helps: PlacedPod | None = None, heal: Heal = DRAIN) -> tuple[Move, PlacedPod]:
    """From a to b, where the place is promised; and perhaps the place on a is promised to another."""
    leaves = pod(cache, "moves", "a")
    key = leaves.key._replace(name="moves-promised")
    stand_in = dataclasses.replace(leaves, key=key, phase=Phase.QUEUED, node="", slot=-1)
    cache.nominations.put(stand_in, "b")
    if helps is not None:
        cache.nominations.put(helps, "a")
    helped = None if helps is None else helps.key
    return Move(leaves.key, "a", "b", Way.EVICT, heal, "why", helps=helped), leaves


def test_who_moves_is_on_the_way_out_and_its_place_is_taken(cache: Cache) -> None:
    moves, leaves = move(cache)
    assert used(cache) == {"a": 1, "b": 0, "c": 0}
    with expected(cache, [moves], ()):
        assert used(cache) == {"a": 1, "b": 1, "c": 0}, "it holds its room until it is gone"
        assert leaves.phase is Phase.TERMINATING
    assert used(cache) == {"a": 1, "b": 0, "c": 0}
    assert (leaves.slot >= 0, leaves.phase) == (True, Phase.BOUND)


def test_what_is_meant_for_another_is_taken_once(cache: Cache) -> None:
    helped = pod(cache, "helped")
    moves, leaves = move(cache, helped)
    with expected(cache, [moves], ()):
        assert used(cache) == {"a": 1, "b": 1, "c": 0}
        assert leaves.slot < 0
    assert used(cache) == {"a": 1, "b": 0, "c": 0}
    assert (helped.slot, leaves.slot) == (-1, cache.columns.slot("a"))
    with expected(cache, [moves], (), helped.key):
        assert used(cache) == {"a": 0, "b": 1, "c": 0}, "who is asked about is nowhere"


def test_who_is_gone_already_only_has_a_place_promised(cache: Cache) -> None:
    moves, leaves = move(cache)
    cache.remove_pod(leaves.key)
    with expected(cache, [moves], ()):
        assert used(cache) == {"a": 0, "b": 1, "c": 0}


def test_what_carries_a_pod_holds_its_room_and_no_more(cache: Cache) -> None:
    moves, leaves = move(cache)
    carrier = pod(cache, "carrier", "b")
    metadata = msgspec.structs.replace(carrier.pod.metadata, annotations={OF: leaves.key.uid})
    cache.put_pod(msgspec.structs.replace(carrier.pod, metadata=metadata))
    with expected(cache, [moves], [carrier, pod(cache, "of-another", "c")]):
        assert used(cache) == {"a": 1, "b": 1, "c": 1}
    assert used(cache) == {"a": 1, "b": 1, "c": 1}


def test_a_node_that_is_gone_is_passed_over(cache: Cache) -> None:
    moves, _ = move(cache)
    cache.remove_node("b")
    with expected(cache, [moves], ()):
        assert cache.columns.used["memory"].sum() == GIB


def test_all_is_as_it_was_where_the_block_raises(cache: Cache) -> None:
    moves, _ = move(cache)
    with pytest.raises(ZeroDivisionError), expected(cache, [moves], ()):
        raise ZeroDivisionError
    assert used(cache) == {"a": 1, "b": 0, "c": 0}


def test_where_nothing_moves_nothing_is_news(cache: Cache) -> None:
    version = cache.columns.usage_changes.version
    with expected(cache, [], ()):
        pass
    assert cache.columns.usage_changes.version == version
