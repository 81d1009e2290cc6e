"""Counts that follow the pods: behind by much or little, over nodes that come, go and change; how long they live."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest

from engine.constraints.topology_spread import Peers
from engine.model.objects import LabelSelector, Pod, Requirement
from engine.model.selectors import EVERYTHING, NOTHING, selector_of
from engine.state.cache import Cache
from engine.state.counts import DomainCounts, SlotCounts
from engine.state.tallies import Tally
from tests.engine.build import ZONE, node, pod

WEB = selector_of(LabelSelector({"app": "web"}))


def web(number: int, on: str, app: str = "web", namespace: str = "default") -> Pod:
    return pod(f"p{number}", {"app": app}, on=on, namespace=namespace)


def zones(cache: Cache, tally: Tally) -> dict[str, int]:
    column = cache.columns.labels.column(ZONE)
    counts = tally.by_domain(ZONE).tolist()
    return {value: count for value, count in zip(column.values, counts, strict=True) if count}


@pytest.mark.parametrize("between", [1, 7, 600])
def test_a_reader_behind_by_any_number_of_changes(between: int) -> None:
    """More changes than the log keeps mean a recount."""
    random = Random(between)
    cache = Cache()
    for number in range(150):
        cache.put_node(node(f"n{number}", zone=f"z{number % 4}"))
    tally = cache.tallies.tally(Peers("default", WEB))
    within = np.zeros(cache.columns.capacity, dtype=np.bool_)
    within[:100] = True
    some = DomainCounts(cache.columns.labels.column(ZONE))
    expected: Counter[str] = Counter()
    expected_within: Counter[str] = Counter()
    for number in range(1300):
        on = random.randrange(150)
        cache.put_pod(web(number, f"n{on}"))
        expected[f"z{on % 4}"] += 1
        expected_within[f"z{on % 4}"] += on < 100
        if number % between == 0:
            assert zones(cache, tally) == expected
            assert some.refresh(tally, within).sum() == expected_within.total()
    assert zones(cache, tally) == expected
    assert tally.total == 1300
    assert tally.slots().sum() == 1300


def test_another_mask_is_counted_anew() -> None:
    cache = Cache()
    for name in ("a", "b"):
        cache.put_node(node(name, zone="z"))
        cache.put_pod(web(ord(name), name))
    tally = cache.tallies.tally(Peers("default", WEB))
    domains = DomainCounts(cache.columns.labels.column(ZONE))
    mask = np.ones(cache.columns.capacity, dtype=np.bool_)
    assert domains.refresh(tally, mask).tolist() == [2]
    assert domains.refresh(tally, np.zeros_like(mask)).tolist() == [0]
    assert domains.refresh(tally).tolist() == [2]


def test_nodes_that_move_go_and_come() -> None:
    cache = Cache()
    cache.put_node(node("a", zone="z1"))
    tally = cache.tallies.tally(Peers("default", WEB))
    cache.put_pod(web(1, "a"))
    cache.put_pod(web(2, "b"))
    assert zones(cache, tally) == {"z1": 1}
    cache.put_node(node("a", zone="z2"))
    assert zones(cache, tally) == {"z2": 1}
    cache.put_node(node("b", zone="z3"))
    assert zones(cache, tally) == {"z2": 1, "z3": 1}
    cache.put_node(node("a"))
    assert zones(cache, tally) == {"z3": 1}
    cache.remove_node("b")
    assert zones(cache, tally) == {}
    assert tally.total == 1


def test_counted_from_the_start_and_from_later_on_is_the_same() -> None:
    cache = Cache()
    cache.put_node(node("a", zone="z1"))
    early = cache.tallies.tally(Peers("default", WEB))
    for number in range(5):
        cache.put_pod(web(number, "a", app="web" if number % 2 else "db"))
        cache.put_pod(web(10 + number, "a", namespace="other"))
    assert early.total == 2
    assert cache.tallies.tally(Peers("default", WEB)) is early
    late = cache.tallies.tally(Peers("other", WEB))
    assert late.total == 5


SELECTORS = {
    "a value": ({"app": "web"}, None, 3),
    "one of two values": (None, ("app", "In", ("web", "db")), 5),
    "any value": (None, ("app", "Exists", None), 6),
    "no value": (None, ("app", "NotIn", ("web",)), 3),
}


@pytest.mark.parametrize(("labels", "expression", "expected"), SELECTORS.values(), ids=SELECTORS)
@pytest.mark.parametrize("first", [True, False], ids=["asked before", "asked after"])
def test_whatever_a_selector_asks_for(
    labels: dict[str, str] | None,
    expression: tuple[str, str, tuple[str, ...] | None] | None,
    expected: int,
    first: bool,
) -> None:
    selector = selector_of(LabelSelector(labels, (Requirement(*expression),) if expression else None))
    cache = Cache()
    cache.put_node(node("a"))
    tally = cache.tallies.tally(Peers("default", selector)) if first else None
    for number, app in enumerate(("web", "web", "web", "db", "db", "cache")):
        cache.put_pod(web(number, "a", app))
    tally = tally or cache.tallies.tally(Peers("default", selector))
    assert tally.total == expected


def test_a_pod_that_gets_other_labels_where_it_is_counts_as_what_it_is_now() -> None:
    cache = Cache()
    cache.put_node(node("a", zone="z0"))
    cache.put_node(node("b", zone="z1"))
    web_pods = cache.tallies.tally(Peers("default", WEB))
    for app, counted in (("web", 1), ("db", 0), ("web", 1)):
        cache.put_pod(pod("p", {"app": app}, on="b"))
        assert web_pods.total == counted
        assert zones(cache, web_pods) == ({"z1": 1} if counted else {})
    cache.remove_pod(pod("p", on="b").key)
    assert web_pods.total == 0


def test_tallies_that_nobody_holds_end() -> None:
    cache = Cache()
    cache.put_node(node("a"))
    held = cache.tallies.tally(Peers("default", WEB))
    for number in range(3000):
        cache.tallies.tally(Peers(f"ns{number}", WEB))
        cache.put_pod(web(number, "a"))
    assert len(cache.tallies) == 1
    assert len(cache.tallies._in_namespace) < 1000, "what they leave behind is cleared away"
    assert held.total == 3000


def test_selections_without_pods() -> None:
    cache = Cache()
    cache.put_node(node("a"))
    cache.put_pod(web(1, "a"))
    assert cache.tallies.tally(Peers("default", NOTHING)).total == 0
    assert cache.tallies.tally(Peers("default", EVERYTHING)).total == 1


def test_slots_grow() -> None:
    cache = Cache()
    counts = SlotCounts(cache.columns)
    for number in range(200):
        slot = cache.columns.put_node(node(f"n{number}"))
        counts.add(slot, 1)
    assert len(counts.slots()) == cache.columns.capacity
    assert counts.total == 200


def test_other_annotations_make_other_shapes_and_the_same_counts() -> None:
    cache = Cache()
    cache.put_node(node("a", zone="z"))
    tally = cache.tallies.tally(Peers("default", WEB))
    cache.put_pod(web(1, "a"))
    cache.put_pod(pod("gone", {"app": "web"}, on="a", terminating=True))
    cache.read_annotations(["tier"])
    assert tally.total == 1
    cache.remove_pod(web(1, "a").key)
    assert tally.total == 0
