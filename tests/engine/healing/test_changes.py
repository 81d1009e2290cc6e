"""What follows changes of nodes, delays and pods says in the end what one that looks for the first time says."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.healing.planner import Planner
from engine.healing.reserve import Reserve
from engine.healing.situation import Situation
from engine.healing.watching import RuleWatch
from engine.model.objects import Pod, PodKey
from engine.placement import Placer
from engine.state.cache import Cache
from grammar import check_texts
from grammar.policy import CheckedPolicy, Heal, Trigger
from tests.engine.build import NOW, ZONE, node, pod
from tests.engine.healing import crowds
from tests.engine.placement.compare import delay_map, fresh

NEAR = """
rule near for pods where pod.labels has "delay_*" {
  for each label "delay_{from}" as limit in ms {
    require node.delay(from) <= limit
  }
}
rule not-on-z2 for pods where pod.labels["app"] == "a" {
  require node.zone != "z2"
}
rule apart for pods where pod.labels["app"] == "b" {
  spread over node
}
"""
RULES = ("near", "not-on-z2", "apart")
NAMES = (*crowds.NODES, "n5")


def policy() -> CheckedPolicy:
    result = check_texts({"near.policy": NEAR})
    assert result.policy is not None, result.diagnostics
    return result.policy


POLICY = policy()


def some_pod(r: Random, name: str) -> Pod:
    """No term of affinity: a placed pod that wants others away from it would bear on those that are not asked again."""
    labels = {"app": r.choice("ab"), **({f"delay_{r.choice(NAMES)}": "10"} if r.random() < 0.7 else {})}
    requests = {"memory": r.choice(("1Gi", "2Gi", "3Gi"))}
    return pod(name, labels, on=r.choice(crowds.NODES), requests=requests, owner=("ReplicaSet", "x"))


def change(r: Random, placer: Placer, cache: Cache, delays: dict[tuple[str, str], float]) -> PodKey | None:
    """Something happens. Returns the pod that came, changed or went."""
    match r.randrange(5):
        case 0:
            return cache.put_pod(some_pod(r, f"p{r.randrange(6)}")).key
        case 1 if len(cache):
            gone = cache.remove_pod(r.choice(sorted(one.key for one in cache.pods())))
            assert gone is not None
            return gone.key
        case 2:
            name = r.choice(NAMES)
            room = {"cpu": "4", "memory": r.choice(("1Gi", "6Gi")), "pods": "110"}
            one = node(
                name,
                {"kubernetes.io/hostname": name},
                zone=r.choice(("z1", "z2")),
                allocatable=room,
                ready=r.random() < 0.8,
            )
            cache.put_node(replace(one, spec=replace(one.spec, unschedulable=r.random() < 0.2)))
        case 3:
            for _ in range(r.randint(1, 3)):
                delays[r.choice(NAMES), r.choice(NAMES)] = r.choice((2.0, 9.0, 11.0, 40.0))
            placer.swap_delays(delay_map(dict(delays)))
        case 4 if cache.columns.slot("n5") is not None and not list(cache.pods_on("n5")):
            cache.remove_node("n5")
    return None


@given(st.integers(0, 2**32), st.sampled_from((None, 1, 3)))
def test_a_watch_finds_what_a_new_one_finds(seed: int, at_once: int | None) -> None:
    r = Random(seed)
    made = crowds.crowd(r)
    placer, cache = fresh(made.world, POLICY)
    delays = dict(made.world.delays)
    watches = [RuleWatch(cache, placer, rule, at_once) for rule in RULES]
    for _ in range(r.randint(1, 8)):
        for watch in watches:
            watch.look(NOW)
        for _ in range(r.randint(0, 3)):
            change(r, placer, cache, delays)
    for rule, watch in zip(RULES, watches, strict=True):
        found = watch.look(NOW)
        while watch.behind:
            found = watch.look(NOW)
        assert found == RuleWatch(cache, placer, rule).look(NOW)


@given(st.integers(0, 2**32), st.sampled_from((None, 1, 3)), st.booleans())
def test_a_reserve_knows_where_backups_may_be(seed: int, at_once: int | None, by_zone: bool) -> None:
    r = Random(seed)
    made = crowds.crowd(r)
    for key in list(made.world.pods):
        made.world.remove_pod(key)
    placer, cache = fresh(made.world, POLICY)
    delays = dict(made.world.delays)
    label = ZONE if by_zone else None
    reserve = Reserve(cache, placer, lambda _: True, label, at_once=at_once)
    reserve.put_all(list(cache.pods()), NOW)
    for _ in range(r.randint(1, 8)):
        version = placer.delay_map.version
        told = change(r, placer, cache, delays)
        if placer.delay_map.version != version:
            reserve.revise(NOW)
        if told is not None and (placed := cache.pod(told)) is not None and placed.counts:
            reserve.put(placed, NOW)
        elif told is not None:
            reserve.drop(told, NOW)
    reserve.follow(NOW)
    while reserve.behind:
        reserve.follow(NOW)
    assert reserve.backups.keys() | reserve.uncovered.keys() == {
        one.key for one in cache.pods() if one.counts
    }
    anew = Reserve(cache, placer, lambda _: True, label)
    for key, backup in reserve.backups.items():
        placed = cache.pod(key)
        assert placed is not None
        other = anew._take_in(placed)
        assert other is not None
        assert (backup.loss, backup.asked, backup.fixed) == (other.loss, other.asked, other.fixed)
        if not backup.fixed:
            legal = reserve._legality.of(backup)
            assert legal.tolist() == other.legal.tolist()
            assert legal[backup.slot]
    popular = sum(
        (one.legal.astype(float) for one in reserve.backups.values() if not one.fixed),
        0 * reserve._legality.popular,
    )
    assert reserve._legality.popular.tolist() == popular.tolist()


def test_a_plan_that_asks_a_few_at_a_time_says_how_many_are_left() -> None:
    r = Random(1)
    placer, cache = fresh(crowds.crowd(r).world, POLICY)
    for key in [one.key for one in cache.pods()]:
        cache.remove_pod(key)
    for number in range(5):
        cache.put_pod(pod(f"p{number}", {"app": "a"}, on="n1"))
    planner = Planner(cache, placer, [Heal("h", Trigger.BROKEN, "not-on-z2", 1000.0)], at_once=2)
    left = []
    for _ in range(4):
        planner.plan(NOW, Situation())
        left.append(planner.behind)
    assert left == [3, 1, 0, 0]
