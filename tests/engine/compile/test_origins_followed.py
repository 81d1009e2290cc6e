"""An origin that followed what happened says what a new one says, and its log names what is another."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.compile import origins
from engine.compile.origins import Origin, Origins
from engine.delay.map import DelayMap
from engine.state.cache import Cache
from tests.engine.build import node, pod

NODES = ("a", "b", "c", "d", "e")
UNMEASURED = "f"
NAMES = ("a", "b", UNMEASURED, "web", "z1", "z2", "nobody")


def a_map(delays: dict[tuple[str, str], float]) -> DelayMap:
    return DelayMap.from_table(
        NODES,
        [NODES.index(one) for one, _ in delays],
        [NODES.index(other) for _, other in delays],
        list(delays.values()),
    )


def happen(r: Random, cache: Cache, followed: Origins, delays: dict[tuple[str, str], float]) -> None:
    name = r.choice((*NODES, UNMEASURED))
    match r.randrange(5):
        case 0 | 1:
            cache.put_node(node(name, zone=r.choice(("z1", "z2")), ready=r.random() < 0.8))
        case 2 if cache.columns.slot(name) is not None and not list(cache.pods_on(name)):
            cache.remove_node(name)
        case 3 if cache.columns.slot(name) is not None:
            cache.put_pod(pod(f"web-{r.randrange(3)}", on=name, owner=("StatefulSet", "web")))
        case 4:
            for _ in range(r.randint(1, 2)):
                one, other = sorted(r.sample(NODES, 2))
                delays[one, other] = float(r.randint(1, 9))
            followed.swap(a_map(delays))


@given(st.integers(0, 2**32))
def test_it_says_what_a_new_one_says(seed: int) -> None:
    r = Random(seed)
    cache = Cache()
    columns = cache.columns
    delays = {("a", "b"): 5.0, ("a", "c"): 20.0, ("b", "c"): 8.0}
    followed = Origins(columns, cache.workloads, a_map(delays))
    known = [followed.origin(name, "default", own) for name in NAMES for own in (False, True)]
    for _ in range(r.randint(1, 10)):
        seen = [(one.changes().version, one.vector().copy()) for one in known]
        nodes_seen = columns.node_changes.version
        for _ in range(r.randint(1, 3)):
            happen(r, cache, followed, delays)
        others = columns.node_changes.since(nodes_seen)
        assert others is not None
        anew = Origins(columns, cache.workloads, followed.delays)
        for origin, (version, before) in zip(known, seen, strict=True):
            moved = origin.changes().since(version)
            same = Origin(anew, origin.name, origin.namespace, origin._own)
            np.testing.assert_array_equal(origin.vector(), same.vector())
            assert origin.missing() == same.missing()
            if moved is not None:
                other = (origin.vector() != before) & ~(np.isnan(origin.vector()) & np.isnan(before))
                assert set(np.flatnonzero(other).tolist()) <= {*moved, *others}


def test_who_takes_the_slot_of_an_unmeasured_origin_is_unmeasured() -> None:
    cache = Cache()
    cache.put_node(node(UNMEASURED))
    followed = Origins(cache.columns, cache.workloads, a_map({("a", "b"): 5.0}))
    origin = followed.origin(UNMEASURED, "default")
    assert origin.vector()[0] == 0.0
    cache.remove_node(UNMEASURED)
    cache.put_node(node("b"))
    cache.put_node(node(UNMEASURED))
    assert cache.columns.slot("b") == 0
    assert np.isnan(origin.vector()[0])
    assert origin.vector()[1] == 0.0


def test_a_change_of_another_node_or_link_is_no_news_of_the_rest() -> None:
    cache = Cache()
    for name in NODES:
        cache.put_node(node(name))
    delays = {("a", "b"): 5.0, ("a", "c"): 20.0, ("b", "c"): 8.0}
    followed = Origins(cache.columns, cache.workloads, a_map(delays))
    origin = followed.origin("a", "default")
    seen = origin.changes().version
    cache.put_node(node("b", zone="z"))
    assert origin.changes().since(seen) == []
    followed.swap(a_map({**delays, ("b", "c"): 9.0}))
    assert origin.changes().since(seen) == []
    followed.swap(a_map({**delays, ("a", "c"): 9.0}))
    assert origin.changes().since(seen) == [cache.columns.slot("c")]


def test_of_many_changes_only_that_there_are_some_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origins, "_FEW", 1)
    cache = Cache()
    for name in NODES:
        cache.put_node(node(name))
    followed = Origins(cache.columns, cache.workloads, a_map({("a", "b"): 5.0}))
    origin = followed.origin("a", "default")
    seen = origin.changes().version
    followed.swap(a_map({("a", "b"): 6.0, ("a", "c"): 6.0}))
    assert origin.changes().since(seen) is None
