"""Events wake whom they can help, and nobody else; nobody who could be placed is ever left asleep."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from engine.cluster.reflector import Deleted, Upserted
from engine.model.objects import (
    Affinity,
    LabelSelector,
    Node,
    OwnerReference,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    Taint,
    TopologySpreadConstraint,
)
from engine.scheduler.inbox import DelaysChanged
from grammar import check_texts
from tests.engine import random_policies, worlds
from tests.engine.build import ZONE, node, pod
from tests.engine.constraints import neighbourhoods
from tests.engine.naive.world import World
from tests.engine.placement.compare import delay_map
from tests.engine.scheduler.bare import OURS, Bare

HOST = "kubernetes.io/hostname"


def ours(made: Pod) -> Pod:
    return msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, scheduler_name=OURS))


def asking(name: str, cpu: str = "1", labels: dict[str, str] | None = None, **spec: Any) -> Pod:
    made = pod(name, labels, requests={"cpu": cpu})
    return ours(msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, **spec)))


def holding(name: str, on: str, cpu: str, labels: dict[str, str] | None = None) -> Pod:
    return pod(name, labels, requests={"cpu": cpu}, on=on)


def of(name: str, cpu: str = "4", zone: str = "z1", **more: Any) -> Node:
    labels = {HOST: name, ZONE: zone, **more.pop("labels", {})}
    return node(name, labels, allocatable={"cpu": cpu, "memory": "4Gi", "pods": 110}, **more)


def apart(key: str = HOST) -> Affinity:
    return Affinity(
        pod_anti_affinity=PodAffinity((PodAffinityTerm(LabelSelector({"app": "db"}), topology_key=key),))
    )


EVENTS: dict[str, tuple[Pod, Any, bool]] = {
    "a pod left, and there is room": (asking("new", "3"), Deleted(holding("big-1", "n1", "4")), True),
    "a pod left, and there is too little room": (
        asking("new", "3"),
        Deleted(holding("small", "n2", "1")),
        False,
    ),
    "a pod left a node that does not matter": (
        asking("new", "3", node_selector={"only": "n2"}),
        Deleted(holding("big-1", "n1", "4")),
        False,
    ),
    "the node that matters": (
        asking("new", "3", node_selector={"only": "n2"}),
        Deleted(holding("big-2", "n2", "3")),
        True,
    ),
    "the pod that is in the way left": (
        asking("new", "0", affinity=apart(ZONE)),
        Deleted(holding("db", "n3", "0")),
        True,
    ),
    "another that is in nobody's way left": (
        asking("new", "0", affinity=apart(ZONE)),
        Deleted(holding("small", "n2", "1")),
        False,
    ),
    "a heartbeat": (asking("new", "3"), Upserted(of("n1", labels={"only": "n1"})), False),
    "a node became larger": (asking("new", "3"), Upserted(of("n1", "8", labels={"only": "n1"})), True),
    "a node became larger, but not enough": (
        asking("new", "6"),
        Upserted(of("n1", "8", labels={"only": "n1"})),
        False,
    ),
    "a node of another kind came": (
        asking("new", "3", node_selector={"only": "n9"}),
        Upserted(of("n8", "64", "z2", labels={"only": "n8"})),
        False,
    ),
    "a node of that kind came": (
        asking("new", "3", node_selector={"only": "n9"}),
        Upserted(of("n9", "64", "z2", labels={"only": "n9"})),
        True,
    ),
    "a node came that it does not tolerate": (
        asking("new", "3"),
        Upserted(of("n9", "64", taints=[Taint("a", "", "NoSchedule")])),
        False,
    ),
    "a node went": (asking("new", "3"), Deleted(of("n1")), False),
}


@pytest.mark.parametrize(("waiting", "event", "tried"), EVENTS.values(), ids=EVENTS.keys())
def test_an_event_wakes_whom_it_can_help(waiting: Pod, event: Any, tried: bool) -> None:
    bare = Bare()
    bare.handle(
        Upserted(of("n1", labels={"only": "n1"})),
        Upserted(of("n2", labels={"only": "n2"})),
        Upserted(of("n3", "0", labels={"only": "n3"})),
        Upserted(holding("big-1", "n1", "4")),
        Upserted(holding("small", "n2", "1")),
        Upserted(holding("big-2", "n2", "3")),
        Upserted(holding("db", "n3", "0", {"app": "db"})),
        Upserted(waiting),
    )
    assert bare.run() == []
    bare.later(20.0)
    bare.handle(event)
    placed = bare.run()
    assert bool(placed) == tried
    assert bare.tried("new") == 1, "who could not be helped was not tried"


def test_a_pod_that_comes_helps_those_that_want_company() -> None:
    bare = Bare()
    near = Affinity(
        pod_affinity=PodAffinity((PodAffinityTerm(LabelSelector({"app": "db"}), topology_key=HOST),))
    )
    bare.handle(Upserted(of("n1")), Upserted(of("n2")), Upserted(asking("new", affinity=near)))
    assert bare.run() == []
    bare.clock.time += 20
    bare.handle(Upserted(holding("other", "n1", "1", {"app": "web"})))
    assert bare.run() == []
    assert bare.tried("new") == 1
    bare.handle(Upserted(holding("db", "n2", "1", {"app": "db"})))
    assert bare.run() == ["new"]


def test_a_spread_opens_when_the_emptiest_domain_fills() -> None:
    bare = Bare()
    spread = (TopologySpreadConstraint(1, ZONE, "DoNotSchedule", LabelSelector({"app": "a"})),)
    bare.handle(
        Upserted(of("n1", zone="z1")),
        Upserted(of("n2", "0", zone="z2")),
        Upserted(asking("first", "1", {"app": "a"}, topology_spread_constraints=spread)),
        Upserted(asking("second", "1", {"app": "a"}, topology_spread_constraints=spread)),
    )
    assert bare.run() == ["first"]
    bare.clock.time += 20
    bare.handle(Upserted(holding("other", "n2", "0", {"app": "b"})))
    assert bare.run() == []
    bare.handle(Upserted(holding("third", "n2", "0", {"app": "a"})))
    assert bare.run() == ["second"]


POLICY = """
rule used for pods where pod.labels["app"] == "a" {
  require node.used.cpu >= 50%
}
"""


def test_a_rule_that_wants_a_node_to_be_used_is_helped_by_a_pod_that_comes() -> None:
    policy = check_texts({"test.policy": POLICY}).policy
    assert policy is not None
    bare = Bare(policy)
    bare.handle(Upserted(of("n1")), Upserted(asking("new", "1", {"app": "a"})))
    assert bare.run() == []
    bare.clock.time += 20
    bare.handle(Upserted(holding("other", "n1", "3")))
    assert bare.run() == ["new"]


def test_of_many_that_ask_for_the_same_one_is_tried_and_all_are_placed() -> None:
    bare = Bare()
    bare.handle(Upserted(of("n1", "4")), Upserted(holding("big", "n1", "4")))
    bare.handle(*(Upserted(asking(f"new-{number}", "1")) for number in range(50)))
    assert bare.run() == []
    bare.later(20.0)
    tried = sum(bare.tried(f"new-{number}") for number in range(50))
    assert tried == 50, "each once, when it came"
    bare.handle(Deleted(holding("big", "n1", "4")))
    assert bare.run() == ["new-0", "new-1", "new-2", "new-3"], (
        "the longest queued, as many as there is room for"
    )
    assert sum(bare.tried(f"new-{number}") for number in range(50)) == 51, (
        "one more found out that it is full again"
    )


def test_a_group_backs_off_as_one_and_a_probe_that_is_deleted_is_followed_by_the_next() -> None:
    bare = Bare()
    bare.handle(Upserted(of("n1", "4")), Upserted(holding("big", "n1", "4")))
    news = [asking(f"new-{number}", "1") for number in range(3)]
    bare.handle(*(Upserted(one) for one in news))
    bare.run()
    bare.handle(Deleted(holding("big", "n1", "4")))
    assert bare.run() == [], "all of them back off"
    bare.handle(Deleted(news[0]))
    assert bare.later(1.0) == ["new-1", "new-2"]


@given(st.integers(0, 2**32))
def test_nobody_who_could_be_placed_is_left_asleep(seed: int) -> None:
    r = Random(seed)
    world = worlds.world(r)
    policy = random_policies.policy(r)
    if "age" in repr(policy):
        return  # what time alone changes is looked at every five minutes
    bare = Bare(policy, delay_map(world.delays), worlds.NOW)
    run(
        r,
        bare,
        list(world.nodes.values()),
        lambda name, on: worlds.pod(r, name, on),
        lambda n: worlds.node(r, n),
    )
    bare.handle(DelaysChanged(delay_map(worlds.delays(r))))
    nobody_is_left(bare)


@given(
    neighbourhoods.worlds(),
    st.integers(0, 2**32),
    st.lists(neighbourhoods.templates, min_size=12, max_size=20),
)
def test_nor_where_pods_mind_each_other(world: World, seed: int, templates: list[Pod]) -> None:
    r = Random(seed)
    bare = Bare()

    def make(name: str, on: tuple[str, ...]) -> Pod:
        made = neighbourhoods.named(r.choice(templates), name)
        return neighbourhoods.on_node(made, r.choice(on)) if on else made

    nodes = list(world.nodes.values())
    run(r, bare, nodes, make, lambda name: neighbourhoods.node(r.choice(nodes), name))


def run(r: Random, bare: Bare, nodes: list[Node], make: Any, remake: Any) -> None:
    """Things happen; after each, whoever can be placed is."""
    pods: dict[str, Pod] = {}
    names = tuple(one.name for one in nodes)
    for step in range(r.randint(4, 14)):
        name = f"p{step}"
        match r.choice(("ours", "ours", "ours", "theirs", "theirs", "gone", "gone", "node", "node", "away")):
            case "ours":
                pods[name] = ours(make(name, ()))
                bare.handle(Upserted(pods[name]))
            case "theirs":
                pods[name] = make(name, names)
                bare.handle(Upserted(pods[name]))
            case "gone" if pods:
                bare.handle(Deleted(pods.pop(r.choice(list(pods)))))
            case "node":
                bare.handle(Upserted(remake(r.choice(names))))
            case "away":
                bare.handle(Deleted(r.choice(nodes)))
        bare.run()
        bare.later(11.0)  # longer than any backoff
        nobody_is_left(bare)


def nobody_is_left(bare: Bare) -> None:
    bare.run()
    bare.later(11.0)
    for waiting in bare.queue.pods():
        placed = bare.cache.pod(waiting.key)
        assert placed is not None
        since = waiting.waiting_since
        waited = 0.0 if since is None else (bare.clock.time - since) * 1000
        decision = bare.placer.place(placed, bare.clock.time, waited)
        note(f"{waiting} {decision}")
        assert decision.node is None, f"{waiting.key} could be on {decision.node}"


NEAR = """
rule near-web for all pods {
  require node.delay("web") <= 5ms
}
"""


def test_a_limit_to_a_workload_is_helped_by_a_pod_of_it_that_comes() -> None:
    policy = check_texts({"test.policy": NEAR}).policy
    assert policy is not None
    delays = {("n1", "n2"): 30.0, ("n2", "n1"): 30.0}
    bare = Bare(policy, delay_map(delays))
    bare.handle(
        Upserted(of("n1", "0")),
        Upserted(of("n2", "4")),
        Upserted(holding("web", "n1", "0")),
        Upserted(asking("new")),
    )
    assert bare.run() == []
    bare.clock.time += 20
    bare.handle(Upserted(holding("other", "n2", "1")))
    assert bare.run() == []
    assert bare.tried("new") == 1, "another workload is not looked at"
    owner = (OwnerReference("StatefulSet", "web", "o", True),)
    more = holding("web-1", "n2", "0")
    bare.handle(
        Upserted(
            msgspec.structs.replace(
                more, metadata=msgspec.structs.replace(more.metadata, owner_references=owner)
            )
        )
    )
    assert bare.run() == ["new"]


def test_a_node_that_moves_to_another_zone_helps_on_other_nodes() -> None:
    bare = Bare()
    bare.handle(
        Upserted(of("n1", zone="z1")),
        Upserted(of("n2", "0", zone="z1")),
        Upserted(holding("db", "n2", "0", {"app": "db"})),
        Upserted(asking("new", affinity=apart(ZONE))),
    )
    assert bare.run() == []
    bare.clock.time += 20
    bare.handle(Upserted(of("n2", "0", zone="z2")))
    assert bare.run() == ["new"]
