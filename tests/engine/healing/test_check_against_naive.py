"""The proof says what trying everything says."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, note
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.healing import Loss, LossReport, Verdict, check
from engine.model.objects import ContainerStatus, Pod
from tests.engine import random_policies, worlds
from tests.engine.healing.crowds import Crowd, crowd
from tests.engine.naive import reserve as naive
from tests.engine.naive.world import World
from tests.engine.placement.compare import content, first_refusals, fresh, place

MOST = 3
"""Lost pods that are tried in all orders and places."""


def unresized(pod: Pod) -> Pod:
    """A replacement asks for what the template asks for, however its predecessor was resized."""
    statuses = tuple(
        ContainerStatus(one.name, one.restart_count) for one in pod.status.container_statuses or ()
    )
    return replace(pod, status=replace(pod.status, container_statuses=statuses))


def small_world(r: Random) -> World:
    world = worlds.world(r)
    for key, pod in list(world.pods.items()):
        world.pods[key] = unresized(pod)
    return world


def amounts(r: Random) -> dict[str, int]:
    return {
        "cpu": r.choice((0, 100, 500, 5000)),
        "memory": r.choice((10**8, 3 * 10**8, 10**9, 10**10)),
        worlds.GPU: r.choice((0, 1, 1)),
        "pods": r.choice((1, 1, 2, 10)),
    }


def loose(r: Random) -> Crowd:
    """Any world that the placement is tested with."""
    world, policy = small_world(r), random_policies.policy(r)
    lost = tuple(sorted(r.sample(sorted(world.nodes), r.randint(1, min(2, len(world.nodes))))))
    return Crowd(
        world, policy, lost, None if worlds.rarely(r, 3) else {name: amounts(r) for name in world.nodes}
    )


def compare(crowd: Crowd) -> tuple[LossReport, bool]:
    """What the proof says, and whether trying everything finds an arrangement."""
    world, policy = crowd.world, crowd.policy
    lost = set(crowd.lost)
    victims = [pod for pod in world.counted() if world.node_of(pod) in lost][:MOST]
    covered = {pod.key for pod in victims}
    placer, cache = fresh(world, policy)
    [report] = check(
        cache,
        placer,
        lambda pod: pod.key in covered,
        crowd.kept or {},
        [Loss("node", "x", crowd.lost)],
        worlds.NOW,
        free_too=crowd.kept is None,
    )
    after = naive.after_loss(world, lost)
    expected = naive.fits(
        policy, after, [after.pods[pod.key] for pod in victims], lost, crowd.kept, worlds.NOW
    )
    assert report.verdict is (Verdict.HOLDS if expected else Verdict.FAILS)
    assert {key for key, _ in report.places} | {one.pod for one in report.unplaced} == covered
    assert all(one.reason for one in report.unplaced)
    for key, node in report.places:
        assert node in naive.legal(policy, after, after.pods[key], worlds.NOW) - lost
        after.assumed[key] = node
    return report, expected


@given(st.integers(0, 2**32))
def test_same_as_trying_everything(seed: int) -> None:
    made = loose(Random(seed))
    note(f"{made}")
    compare(made)


@given(st.integers(0, 2**32))
def test_same_as_trying_everything_where_pods_bear_on_each_other(seed: int) -> None:
    made = crowd(Random(seed))
    note(f"{made}")
    compare(made)


def test_the_comparison_meets_all_kinds_of_cases() -> None:
    met: Counter[str] = Counter()
    for seed in range(400):
        made = crowd(Random(seed))
        report, holds = compare(made)
        pods = len(report.places) + len(report.unplaced)
        met["holds" if holds else "fails"] += pods > 1
        met["some find a place, others none"] += bool(report.places and report.unplaced)
        met["searched"] += report.steps > pods
    assert min(met[one] for one in ("holds", "fails", "some find a place, others none")) > 50, met
    assert met["searched"] > 10, met


@given(st.integers(0, 2**32))
def test_nothing_is_changed_by_asking(seed: int) -> None:
    r = Random(seed)
    world, policy = small_world(r), random_policies.policy(r)
    pod = worlds.pod(r, r.choice(("new", "web")))
    world.put_pod(pod)
    placer, cache = fresh(world, policy)
    if worlds.rarely(r, 2):
        place(placer, cache, pod, worlds.NOW, 0.0)
    lost = tuple(sorted(r.sample(sorted(world.nodes), r.randint(1, len(world.nodes)))))
    list(check(cache, placer, lambda _: True, {}, [Loss("node", "x", lost)], worlds.NOW, free_too=True))
    found = place(placer, cache, pod, worlds.NOW, 0.0)
    other_placer, other = fresh(world, policy)
    expected = place(other_placer, other, pod, worlds.NOW, 0.0)
    assert content(found, cache) == content(expected, other)
    if found.refusals is not None:
        assert first_refusals(found, cache) == first_refusals(expected, other)
    for resource, column in other.columns.used.items():
        assert (
            column[: other.columns.size].tolist()
            == cache.columns.used[resource][: cache.columns.size].tolist()
        )
