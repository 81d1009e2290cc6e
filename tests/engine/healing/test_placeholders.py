"""What a change of a few pods costs in placeholders, on nodes with many places and on those that run out of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.healing.placeholders import Keep, differences, numbers
from engine.model.objects import ObjectMeta, Pod, PodKey
from engine.state.cache import Cache
from engine.state.columns import PODS
from engine.state.pods import PlacedPod
from tests.engine.scheduler.scenes import GIB, spec

A_FEW = 8
"""Errands that one pod may cost: three placeholders that hold something are replaced by one, places shift by two."""
MOST = 10
"""What others may take before each place is held."""


def held(name: str, amounts: Mapping[str, int]) -> PlacedPod:
    cache = Cache()
    pod = cache.put_pod(Pod(ObjectMeta(name=name, namespace="kube-system", uid=name), spec()))
    pod.requests, pod.node = dict(amounts), "n"
    return pod


@dataclass
class Edge:
    """A node on which pods come and go, some of which room is kept for."""

    places: int
    others: int = 0
    kept: list[int] = field(default_factory=list)
    placeholders: dict[PodKey, PlacedPod] = field(default_factory=dict)
    made: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def plan(self) -> dict[str, dict[str, int]]:
        if not self.kept:
            return {}
        amounts = {"memory": sum(self.kept) * GIB, "cpu": 100 * len(self.kept), PODS: len(self.kept)}
        return {"n": {name: value for name, value in amounts.items() if value}}

    def differences(self) -> list[Keep]:
        counts = numbers({"r": self.plan}, {"n": self.places - self.others})
        return differences("r", self.plan, self.placeholders.values(), counts.get("r"))

    def sync(self) -> int:
        """Do what is asked for. Returns how many placeholders came and went."""
        found = self.differences()
        assert len(found) <= 1
        for keep in found:
            for key in keep.delete:
                del self.placeholders[key]
            for amounts in keep.create:
                one = held(f"p{next(self.made)}", amounts)
                self.placeholders[one.key] = one
        assert not self.differences(), "what was asked for is enough, and nothing is asked for twice"
        self.check()
        return sum(len(keep.delete) + len(keep.create) for keep in found)

    def check(self) -> None:
        wanted = {name: value for name, value in self.plan.get("n", {}).items() if name != PODS}
        total: dict[str, int] = {}
        for one in self.placeholders.values():
            for name, value in one.requests.items():
                total[name] = total.get(name, 0) + value
        assert total == wanted
        assert bool(self.placeholders) == bool(self.kept)
        free = self.places - self.others
        if len(self.kept) <= free:
            assert len(self.placeholders) <= free, "placeholders take no place that is not kept"
        if free - len(self.kept) <= MOST:
            assert len(self.placeholders) >= len(self.kept), "each place that is kept is held"


@given(st.data())
def test_a_pod_that_comes_or_goes_costs_a_few_placeholders(data: st.DataObject) -> None:
    edge = Edge(110, others=data.draw(st.integers(0, 60), "others"))
    edge.kept = [1] * data.draw(st.integers(0, 50), "kept")
    edge.sync()
    for _ in range(data.draw(st.integers(1, 40), "steps")):
        free = edge.places - edge.others - len(edge.kept)
        what = data.draw(st.sampled_from(["other comes", "other goes", "kept", "not kept"]))
        if what == "other comes" and free > 0:
            edge.others += 1
        elif what == "other goes" and edge.others:
            edge.others -= 1
        elif what == "kept" and free > 0:
            edge.kept.append(data.draw(st.integers(1, 4), "Gi"))
        elif what == "not kept" and edge.kept:
            edge.kept.pop(data.draw(st.integers(0, len(edge.kept) - 1), "which"))
        assert edge.sync() <= A_FEW


@pytest.mark.parametrize(
    ("others", "kept", "change", "most"),
    [
        (20, 20, "others", 0),
        (70, 20, "others", 1),
        (80, 20, "others", 1),
        (89, 20, "others", 1),
        (20, 20, "kept", 1),
        (60, 40, "kept", 3),
    ],
    ids=["plenty", "getting few", "few", "the last one", "one more kept", "one more kept, and few"],
)
def test_what_one_costs(others: int, kept: int, change: str, most: int) -> None:
    edge = Edge(110, others=others, kept=[1] * kept)
    edge.sync()
    if change == "others":
        edge.others += 1
    else:
        edge.kept.append(1)
    assert edge.sync() <= most


def test_back_and_forth_at_the_edge_costs_one_each_time() -> None:
    edge = Edge(110, others=70, kept=[1] * 30)
    edge.sync()
    costs = []
    for turn in range(20):
        edge.others += 1 if turn % 2 else -1
        costs.append(edge.sync())
    assert max(costs) <= 1


def test_less_that_is_kept_leaves_the_rest_where_it_is() -> None:
    """One of those that hold something goes, the smallest that is enough, and what it held too much is held anew."""
    edge = Edge(110, kept=[4])
    edge.sync()
    edge.kept.append(1)
    edge.sync()
    before = dict(edge.placeholders)
    assert sorted(one.requests["memory"] // GIB for one in before.values()) == [1, 4]
    edge.kept.remove(1)
    assert edge.sync() == 1
    assert edge.placeholders.items() <= before.items()


def test_places_of_several_reserves_are_counted_together() -> None:
    kept = {"memory": GIB, PODS: 5}
    plans = {"a": {"n": kept}, "b": {"n": kept}, "c": {"m": kept}}
    assert numbers(plans, {"n": 10, "m": 10}) == {"a": {"n": 5}, "b": {"n": 5}, "c": {"m": 5}}
    assert numbers(plans, {"n": 23, "m": 23}) == {"a": {"n": 2}, "b": {"n": 2}}
    assert numbers(plans, {"n": 90}) == {}
