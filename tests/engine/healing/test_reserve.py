"""The reserve: what it keeps is enough, by the proof, whatever happens; and little."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.healing import Verdict, check, losses_of
from engine.healing.improvement import improve
from engine.healing.reserve import Reserve
from engine.model.objects import Pod
from engine.placement import Placer
from engine.state.cache import Cache
from grammar import check_texts
from grammar.policy import CheckedPolicy
from tests.engine.build import NOW, ZONE, Bench, node, pod
from tests.engine.healing import crowds
from tests.engine.placement.compare import fresh

GI = 2**30
NEAR = """
rule near for pods where pod.labels has "delay_*" {
  for each label "delay_{from}" as limit in ms {
    require node.delay(from) <= limit
  }
}
"""


@pytest.fixture(scope="module")
def near() -> CheckedPolicy:
    result = check_texts({"near.policy": NEAR})
    assert result.policy is not None, result.diagnostics
    return result.policy


def proven(cache: Cache, placer: Placer, reserve: Reserve, label: str | None = None) -> dict[str, Verdict]:
    """The losses for which it is not proven that all backups fit into what is kept."""
    kept = reserve.kept()
    for name, amounts in kept.items():
        slot = cache.columns.slot(name)
        assert slot is not None
        for resource, value in amounts.items():
            free = cache.columns.allocatable[resource][slot] - cache.columns.used[resource][slot]
            assert value <= free, f"{name} keeps more {resource} than is free"
    reports = check(
        cache, placer, lambda one: one.key in reserve.backups, kept, losses_of(cache, "x", label), NOW
    )
    return {report.loss.value: report.verdict for report in reports if report.verdict is not Verdict.HOLDS}


def crowd(r: Random, entangled: bool) -> tuple[Placer, Cache, Random]:
    made = crowds.crowd(r)
    world = made.world
    for number in range(r.randint(0, 8)):
        world.put_pod(some_pod(r, f"p{number}", entangled))
    if not entangled:
        for key in list(world.pods):
            if not key.name.startswith("p"):
                world.remove_pod(key)
                world.put_pod(some_pod(r, key.name, entangled))
    placer, cache = fresh(world, made.policy if entangled else CheckedPolicy(rules=()))
    return placer, cache, r


def some_pod(r: Random, name: str, entangled: bool) -> Pod:
    on = r.choice(crowds.NODES)
    if entangled:
        return crowds.pod(r, name, on)
    requests = {"memory": r.choice(("256Mi", "512Mi", "1Gi")), "cpu": r.choice(("100m", "1"))}
    return pod(name, {"app": r.choice("ab")}, requests=requests, on=on)


@given(st.integers(0, 2**32), st.booleans(), st.booleans())
def test_whatever_happens_what_is_kept_is_enough(seed: int, entangled: bool, by_zone: bool) -> None:
    placer, cache, r = crowd(Random(seed), entangled)
    label = ZONE if by_zone else None
    at_most = r.choice((None, None, 0.3, 0.1, 0.0))
    reserve = Reserve(cache, placer, lambda _: True, label, at_most)
    reserve.put_all(list(cache.pods()), NOW)
    assert proven(cache, placer, reserve, label) == {}
    for number in range(r.randint(1, 6)):
        match r.randrange(5):
            case 0:
                reserve.put(cache.put_pod(some_pod(r, f"new-{number}", entangled)), NOW)
            case 1 if len(cache):
                gone = cache.remove_pod(r.choice([one.key for one in cache.pods()]))
                assert gone is not None
                reserve.drop(gone.key, NOW)
            case 2:
                memory = {"cpu": "4", "memory": r.choice(("1Gi", "6Gi")), "pods": "110"}
                name = r.choice((*crowds.NODES, "n5"))
                labels = {"kubernetes.io/hostname": name}
                cache.put_node(node(name, labels, zone=r.choice(("z1", "z2")), allocatable=memory))
            case 3:
                improve(reserve, 10, r.randint(0, 5), r)
            case 4:
                reserve.retry(NOW)
        note(f"{number}: {reserve.kept()} {reserve.uncovered}")
        if entangled:
            reserve.revise(NOW)
        reserve.put_all([], NOW)
        assert proven(cache, placer, reserve, label) == {}
        placed = {one.key for one in cache.pods() if one.counts}
        assert reserve.backups.keys() | reserve.uncovered.keys() == placed
        assert not reserve.backups.keys() & reserve.uncovered.keys()
        assert all(reserve.uncovered.values())
        if at_most is not None:
            assert reserve.kept_memory <= at_most * reserve.requested_memory


def bench(policy: CheckedPolicy | None = None, *pods: Pod, nodes: int = 3) -> Bench:
    names = [f"n{number}" for number in range(1, nodes + 1)]
    made = [
        node(one, zone=one.replace("n", "z"), allocatable={"memory": "4Gi", "pods": "10"}) for one in names
    ]
    delays = [("n1", "n2", 5.0), ("n1", "n3", 50.0), ("n2", "n3", 5.0)]
    return Bench(made, policy or (), delays, pods)


def one(name: str, on: str, memory: str = "1Gi", **labels: str) -> Pod:
    return pod(name, labels, requests={"memory": memory}, on=on)


def reserved(world: Bench, label: str | None = None, at_most: float | None = None) -> Reserve:
    reserve = Reserve(world.cache, world.placer, lambda _: True, label, at_most)
    reserve.put_all(list(world.cache.pods()), NOW)
    return reserve


def memory(reserve: Reserve) -> dict[str, float]:
    return {name: amounts["memory"] / GI for name, amounts in reserve.kept().items()}


def test_losses_share_what_is_kept() -> None:
    reserve = reserved(bench(None, one("a", "n1"), one("b", "n2"), nodes=3))
    assert memory(reserve) == {"n3": 1.0}


def test_what_is_lost_together_adds_up() -> None:
    reserve = reserved(bench(None, one("a", "n1"), one("b", "n1"), nodes=2))
    assert memory(reserve) == {"n2": 2.0}


def test_a_zone_is_survived_outside_it() -> None:
    world = bench(None, one("a", "n1"), nodes=3)
    world.cache.put_node(node("n2", zone="z1", allocatable={"memory": "4Gi", "pods": "10"}))
    assert memory(reserved(world, ZONE)) == {"n3": 1.0}


def test_a_backup_obeys_the_pods_own_delay(near: CheckedPolicy) -> None:
    reserve = reserved(bench(near, one("a", "n2", delay_n1="10"), one("b", "n3", delay_n2="10")))
    assert {key.name: reserve.backup(key) for key in reserve.backups} == {"a": "n1", "b": "n1"}
    assert memory(reserve) == {"n1": 1.0}


CANNOT = {
    "near the node itself": (
        [one("a", "n1", delay_n1="10")],
        None,
        "0/3 nodes are available: n1 is not ready, so no delay can be measured from it.",
    ),
    "everything near is full": (
        [one("a", "n2", delay_n1="10"), one("full", "n1", "4Gi")],
        None,
        "none of the 1 other node(s) that may take it has room for its memory 1Gi",
    ),
    "beside another": (
        [one("a", "n2", "2Gi", delay_n1="10"), one("b", "n2", "2Gi", delay_n1="10"), one("c", "n1", "1Gi")],
        None,
        "none of the 1 other node(s) that may take it has room for it beside those that are lost with it",
    ),
    "the limit": (
        [one("a", "n2")],
        0.1,
        "its 1Gi of memory would exceed the limit of what is kept: 10% of what is requested, 102.4Mi",
    ),
}


@pytest.mark.parametrize(("pods", "at_most", "reason"), CANNOT.values(), ids=CANNOT)
def test_what_cannot_be_covered_is_named(
    near: CheckedPolicy, pods: list[Pod], at_most: float | None, reason: str
) -> None:
    assert reason in reserved(bench(near, *pods), at_most=at_most).uncovered.values()


def test_without_the_label_a_node_is_in_no_domain() -> None:
    world = Bench([node("n1"), node("n2", zone="z2")], pods=[one("a", "n1")])
    assert list(reserved(world, ZONE).uncovered.values()) == [f'its node n1 has no label "{ZONE}"']


def test_the_more_important_are_covered_where_not_all_can_be() -> None:
    low, high = one("a-low", "n1", "3Gi"), one("b-high", "n1", "3Gi")
    high = replace(high, spec=replace(high.spec, priority=7))
    reserve = reserved(bench(None, low, high, nodes=2))
    assert [key.name for key in reserve.uncovered] == ["a-low"]


def test_others_make_way_for_one_that_has_no_other_place(near: CheckedPolicy) -> None:
    world = bench(near, one("wide", "n1", "2Gi"))
    reserve = reserved(world)
    [only] = memory(reserve)
    bound = world.cache.put_pod(one("bound", "n1", "3Gi", **{f"delay_{only}": "1"}))
    reserve.put(bound, NOW)
    assert memory(reserve) == {only: 3.0, "n2" if only == "n3" else "n3": 2.0}
    assert proven(world.cache, world.placer, reserve) == {}


def test_room_that_is_taken_is_looked_for_elsewhere() -> None:
    world = bench(None, one("a", "n1"))
    reserve = reserved(world)
    [before] = memory(reserve)
    world.cache.put_pod(one("big", before, "4Gi"))
    reserve.put_all([], NOW)
    [after] = memory(reserve)
    assert {before, after} == {"n2", "n3"}


def test_placeholders_hold_what_is_kept_and_do_not_count_as_taken() -> None:
    world = bench(None, one("a", "n1"), one("b", "n3", "4Gi"), one("holding", "n2", "4Gi"))
    holding = [placed for placed in world.cache.pods() if placed.key.name == "holding"]
    reserve = Reserve(world.cache, world.placer, lambda _: True, placeholders=holding)
    reserve.put_all(list(world.cache.pods()), NOW)
    assert memory(reserve) == {"n2": 4.0}
    [report] = check(
        world.cache,
        world.placer,
        lambda placed: placed.key in reserve.backups,
        reserve.kept(),
        losses_of(world.cache, "node", None)[:1],
        NOW,
        placeholders=holding,
    )
    assert report.verdict is Verdict.HOLDS


def test_moves_of_the_optimiser_are_bounded() -> None:
    pods = [one(f"p{number}", f"n{1 + number % 6}", "512Mi") for number in range(18)]
    reserve = reserved(bench(None, *pods, nodes=6))
    before = {key: reserve.backup(key) for key in reserve.backups}
    done = improve(reserve, 200, 2, Random(1))
    moved = sum(reserve.backup(key) != node for key, node in before.items())
    assert moved == done.moved <= 2
    assert done.after <= done.before


def test_the_optimiser_finds_what_greed_does_not() -> None:
    # Greedily the large go where nothing is shared; put together, half of it does.
    r = Random(5)
    sizes = ["256Mi", "512Mi", "1Gi", "2Gi"]
    pods = [one(f"p{number}", f"n{1 + number % 5}", r.choice(sizes)) for number in range(15)]
    made = [node(f"n{n}", allocatable={"memory": "12Gi", "pods": "20"}) for n in range(1, 6)]
    world = Bench(made, pods=pods)
    reserve = reserved(world)
    done = improve(reserve, 300, 100, Random(1))
    assert done.after < done.before
    assert done.after == reserve.kept_memory
    assert proven(world.cache, world.placer, reserve) == {}


def test_the_same_comes_of_the_same() -> None:
    def run() -> dict[str, dict[str, int]]:
        pods = [one(f"p{number}", f"n{1 + number % 6}", "512Mi") for number in range(18)]
        reserve = reserved(bench(None, *pods, nodes=6))
        improve(reserve, 50, 100, Random(3))
        return reserve.kept()

    assert run() == run()
