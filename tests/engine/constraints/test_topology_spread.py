"""Topology spread, hard, soft and by default, a row for each sentence of the reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from engine.constraints.protocol import normalize
from engine.constraints.topology_spread import PodTopologySpreadScore
from engine.model.objects import (
    Identity,
    LabelSelector,
    Node,
    NodeSelectorTerm,
    OwnerReference,
    Pod,
    ReplicaSet,
    ReplicationController,
    ReplicationControllerSpec,
    Requirement,
    SelectingSpec,
    Service,
    ServiceSpec,
    StatefulSet,
    Taint,
    Toleration,
    TopologySpreadConstraint,
)
from engine.state.memberships import Grouping
from tests.engine import build
from tests.engine.build import Bench, node

ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"
FULL = "node(s) didn't match pod topology spread constraints"
LABEL = f"{FULL} (missing required label)"
WEB = LabelSelector({"app": "web"})
ANYWAY = "ScheduleAnyway"


def over(
    key: str = ZONE, skew: int = 1, selector: LabelSelector | None = WEB, **more: Any
) -> TopologySpreadConstraint:
    return TopologySpreadConstraint(skew, key, label_selector=selector, **more)


def softly(
    key: str = ZONE, skew: int = 1, selector: LabelSelector | None = WEB, **more: Any
) -> TopologySpreadConstraint:
    return over(key, skew, selector, when_unsatisfiable=ANYWAY, **more)


def pod(
    name: str = "pod",
    constraints: tuple[TopologySpreadConstraint, ...] = (),
    labels: Mapping[str, str] | None = None,
    owner: tuple[str, str, str] | None = None,
    **more: Any,
) -> Pod:
    made = build.pod(name, {"app": "web"} if labels is None else labels, **more)
    if owner:
        references = (OwnerReference(owner[1], owner[2], "o", True, owner[0]),)
        made = replace(made, metadata=replace(made.metadata, owner_references=references))
    return replace(made, spec=replace(made.spec, topology_spread_constraints=constraints or None))


def webs(**counts: int) -> list[Pod]:
    """So many pods on each node."""
    return [pod(f"{on}-{number}", on=on) for on, count in counts.items() for number in range(count)]


def nodes(*extra: Node) -> list[Node]:
    """Three zones, the first with two nodes, and a node without a zone."""
    return [
        node("a1", {HOST: "a1"}, zone="a"),
        node("a2", {HOST: "a2"}, zone="a"),
        node("b1", {HOST: "b1", "rack": "r"}, zone="b"),
        node("c1", {HOST: "c1", "rack": "r"}, zone="c", taints=[Taint("k", "", "NoSchedule")]),
        node("bare", {HOST: "bare"}),
        *extra,
    ]


TOLERATES: dict[str, Any] = {"tolerations": (Toleration("k", "Exists"),)}
IN_AB: dict[str, Any] = {"required": [NodeSelectorTerm((Requirement(ZONE, "In", ("a", "b")),))]}
HARD: dict[str, tuple[Pod, list[Pod], str]] = {
    "empty: every domain alike": (pod(constraints=(over(),), **TOLERATES), [], "a1 a2 b1 c1"),
    "count + self - minimum <= skew": (
        pod(constraints=(over(),), **TOLERATES),
        webs(a1=1, b1=1),
        "c1",
    ),
    "a domain counts all its nodes": (pod(constraints=(over(),), **TOLERATES), webs(a1=1, c1=1), "b1"),
    "by host": (pod(constraints=(over(HOST),), **TOLERATES), webs(a1=1, c1=1), "a2 b1 bare"),
    "more skew": (pod(constraints=(over(skew=2),), **TOLERATES), webs(a1=1, b1=2), "a1 a2 c1"),
    "a pod that is not counted itself": (
        pod(constraints=(over(),), labels={"app": "other"}, **TOLERATES),
        webs(a1=1, b1=2),
        "a1 a2 c1",
    ),
    "taints are ignored by default: the tainted zone is the emptiest": (
        pod(constraints=(over(),)),
        webs(a1=1, b1=1),
        "",
    ),
    "taints honoured: the tainted zone does not count": (
        pod(constraints=(over(node_taints_policy="Honor"),)),
        webs(a1=1, b1=1),
        "a1 a2 b1",
    ),
    "affinity is honoured by default": (pod(constraints=(over(),), **IN_AB), webs(a1=1, b1=1), "a1 a2 b1"),
    "affinity ignored": (
        pod(constraints=(over(node_affinity_policy="Ignore"),), **IN_AB),
        webs(a1=1, b1=1),
        "",
    ),
    "a node selector is honoured, too": (
        pod(constraints=(over(),), selector={"rack": "r"}),
        webs(a1=0, b1=1),
        "",
    ),
    "pods on nodes that do not count are not counted": (
        pod(constraints=(over(ZONE), over("rack")), **TOLERATES),
        webs(a1=3, b1=1),
        "c1",
    ),
    "other namespaces are not counted": (
        pod(constraints=(over(),), **TOLERATES),
        [pod("x", on="a1", namespace="other")],
        "a1 a2 b1 c1",
    ),
    "pods on their way out are not counted": (
        pod(constraints=(over(),), **TOLERATES),
        [pod("x", on="a1", terminating=True)],
        "a1 a2 b1 c1",
    ),
    "an empty selector counts none": (
        pod(constraints=(over(selector=LabelSelector()),), **TOLERATES),
        webs(a1=3),
        "a1 a2 b1 c1",
    ),
    "no selector counts none": (
        pod(constraints=(over(selector=None),), **TOLERATES),
        webs(a1=3),
        "a1 a2 b1 c1",
    ),
    "fewer domains than the least: the minimum is 0": (
        pod(constraints=(over(min_domains=4),), **TOLERATES),
        webs(a1=1, b1=1, c1=1),
        "",
    ),
    "as many as the least": (
        pod(constraints=(over(min_domains=3),), **TOLERATES),
        webs(a1=1, b1=1, c1=1),
        "a1 a2 b1 c1",
    ),
    "several constraints: each has to hold": (
        pod(constraints=(over(), over(HOST)), **TOLERATES),
        webs(a1=1, b1=1, c1=1),
        "a2",
    ),
    "matchLabelKeys: only pods of the same value": (
        pod(
            constraints=(over(match_label_keys=("rev",)),),
            labels={"app": "web", "rev": "2"},
            **TOLERATES,
        ),
        [*webs(a1=2), pod("y", labels={"app": "web", "rev": "2"}, on="b1")],
        "a1 a2 c1",
    ),
    "matchLabelKeys: a label that the pod lacks says nothing": (
        pod(constraints=(over(match_label_keys=("rev",)),), **TOLERATES),
        webs(a1=1, b1=1),
        "c1",
    ),
    "a soft one keeps off nothing": (
        pod(constraints=(softly(),), **TOLERATES),
        webs(a1=9),
        "a1 a2 b1 c1 bare",
    ),
}


def open_to(bench: Bench, asked: Pod) -> set[str]:
    decision = bench.place(asked, diagnose=True)
    assert decision.refusals is not None
    return {bench.cache.columns.names[slot] for slot in np.flatnonzero(decision.refusals.feasible)}


@pytest.mark.parametrize(("asked", "placed", "expected"), HARD.values(), ids=HARD)
def test_hard(asked: Pod, placed: list[Pod], expected: str) -> None:
    assert open_to(Bench(nodes(), pods=placed), asked) == set(expected.split())


MESSAGES = {
    "too many, and nodes without the label": (
        pod(constraints=(over(),), **TOLERATES),
        webs(a1=1, b1=1, c1=2),
        ["a1", "a2", "b1", "bare"],
        f"0/4 nodes are available: 1 {LABEL}, 3 {FULL}.",
    ),
    "the first constraint that fails is told": (
        pod(constraints=(over("rack", min_domains=2), over(ZONE)), **TOLERATES),
        webs(b1=1),
        ["a1", "b1", "bare"],
        f"0/3 nodes are available: 1 {FULL}, 2 {LABEL}.",
    ),
    "a label that no node has": (
        pod(constraints=(over("galaxy"),)),
        [],
        ["a1", "b1"],
        f"0/2 nodes are available: 2 {LABEL}.",
    ),
}


@pytest.mark.parametrize(("asked", "placed", "on", "message"), MESSAGES.values(), ids=MESSAGES)
def test_messages(asked: Pod, placed: list[Pod], on: list[str], message: str) -> None:
    made = [one for one in nodes() if one.name in on]
    full = min(1, len(placed))
    bench = Bench(made, pods=[*placed, *webs(**{one.name: full for one in made if one.name != "bare"})])
    assert (
        bench.message(
            replace(
                asked,
                spec=replace(
                    asked.spec,
                    topology_spread_constraints=tuple(
                        replace(one, min_domains=9) for one in asked.spec.topology_spread_constraints or ()
                    ),
                ),
            )
        )
        == message
    )


def weighed(pods: int, domains: int, skew: int = 1) -> float:
    return pods * math.log(domains + 2) + skew - 1


NAN = float("nan")
SOFT: dict[str, tuple[tuple[TopologySpreadConstraint, ...], list[Pod], str, list[float]]] = {
    "the pods of the zone, weighed by the number of zones": (
        (softly(),),
        webs(a1=2, b1=1),
        "a1 a2 b1 c1",
        [weighed(2, 3), weighed(2, 3), weighed(1, 3), 0],
    ),
    "zones without a feasible node are not among the domains": (
        (softly(),),
        webs(a1=2, b1=1),
        "a1 b1",
        [weighed(2, 2), weighed(1, 2)],
    ),
    "but pods on other nodes of a zone count": ((softly(),), webs(a2=2), "a1 b1", [weighed(2, 2), 0]),
    "hosts: each has its own pods": (
        (softly(HOST),),
        webs(a1=2, b1=1),
        "a1 a2 b1",
        [weighed(2, 3), 0, weighed(1, 3)],
    ),
    "the skew is added": ((softly(skew=4),), webs(a1=1), "a1 b1", [weighed(1, 2, 4), 3]),
    "several are added up": (
        (softly(), softly(HOST)),
        webs(a1=1),
        "a1 a2 b1",
        [weighed(1, 2) + weighed(1, 3), weighed(1, 2), 0],
    ),
    "a node without the label is not ranked": ((softly(),), webs(a1=1), "a1 bare", [weighed(1, 1), NAN]),
    "nor one without one of several": (
        (softly(HOST), softly()),
        webs(bare=1),
        "a1 bare",
        [0, NAN],
    ),
    "hard ones rank nothing": ((over(),), webs(a1=1), "a1 b1", [0, 0]),
}


@pytest.mark.parametrize(("constraints", "placed", "among", "expected"), SOFT.values(), ids=SOFT)
def test_soft(
    constraints: tuple[TopologySpreadConstraint, ...],
    placed: list[Pod],
    among: str,
    expected: list[float],
) -> None:
    bench = Bench(nodes(), pods=placed)
    shape = bench.cache.put_pod(pod(constraints=constraints)).shape
    if not PodTopologySpreadScore.applies(shape):
        assert set(expected) == {0}
        return
    score = PodTopologySpreadScore(shape, bench.cache)
    slots = np.array([bench.cache.columns.slot(name) for name in among.split()])
    rounded = [one if math.isnan(one) else math.floor(one + 0.5) for one in expected]
    raw = score.raw(slots)
    np.testing.assert_array_equal(raw, rounded)
    known = [one for one in rounded if not math.isnan(one)]
    low, high = min(known), max(known)
    normal = [
        0 if math.isnan(one) else 100 * (high + low - int(one)) // high if high else 100 for one in rounded
    ]
    assert normalize(raw, score.normalization).tolist() == normal
    assert score.weight == 2


LIKE_WEB = SelectingSpec(WEB)
MADE = Identity("made", "default")
DEFAULTS: dict[str, tuple[Grouping | None, tuple[str, str, str] | None, bool]] = {
    "nothing says that pods belong together": (None, None, False),
    "a service": (Service(Identity("s", "default"), ServiceSpec({"app": "web"})), None, True),
    "a service of another namespace": (Service(Identity("s", "x"), ServiceSpec({"app": "web"})), None, False),
    "a service of other pods": (Service(Identity("s", "default"), ServiceSpec({"app": "db"})), None, False),
    "a service without a selector": (Service(Identity("s", "default"), ServiceSpec(None)), None, False),
    "a ReplicaSet": (ReplicaSet(MADE, LIKE_WEB), ("apps/v1", "ReplicaSet", "made"), True),
    "a StatefulSet": (StatefulSet(MADE, LIKE_WEB), ("apps/v1", "StatefulSet", "made"), True),
    "a ReplicationController": (
        ReplicationController(MADE, ReplicationControllerSpec({"app": "web"})),
        ("v1", "ReplicationController", "made"),
        True,
    ),
    "an owner that is gone": (None, ("apps/v1", "ReplicaSet", "made"), False),
    "an owner of another group": (
        ReplicaSet(MADE, LIKE_WEB),
        ("example.com/v1", "ReplicaSet", "made"),
        False,
    ),
    "an owner of another name": (ReplicaSet(MADE, LIKE_WEB), ("apps/v1", "ReplicaSet", "other"), False),
    "an owner of another kind": (ReplicaSet(MADE, LIKE_WEB), ("batch/v1", "Job", "made"), False),
}


@pytest.mark.parametrize(("grouping", "owner", "spread"), DEFAULTS.values(), ids=DEFAULTS)
def test_default(grouping: Grouping | None, owner: tuple[str, str, str] | None, spread: bool) -> None:
    """Over hosts with skew 3 and zones with skew 5, and a node without a zone takes part."""
    bench = Bench(nodes(), pods=webs(a1=2, bare=1))
    shape = bench.cache.put_pod(pod(owner=owner)).shape
    score = PodTopologySpreadScore(shape, bench.cache)
    slots = np.array([bench.cache.columns.slot(name) for name in ("a1", "a2", "b1", "bare")])
    assert score.raw(slots).tolist() == [0]
    if grouping is not None:
        bench.cache.put_grouping(grouping)
    expected = [
        weighed(2, 4, 3) + weighed(2, 3, 5),
        weighed(0, 4, 3) + weighed(2, 3, 5),
        weighed(0, 4, 3) + weighed(0, 3, 5),
        weighed(1, 4, 3),
    ]
    assert score.raw(slots).tolist() == ([math.floor(one + 0.5) for one in expected] if spread else [0])
    if grouping is not None:
        bench.cache.remove_grouping(grouping)
    assert score.raw(slots).tolist() == [0]


def test_no_default_for_a_pod_with_constraints_of_its_own() -> None:
    bench = Bench(nodes(), pods=webs(a1=2))
    bench.cache.put_grouping(Service(Identity("s", "default"), ServiceSpec({"app": "web"})))
    shape = bench.cache.put_pod(pod(constraints=(over(skew=9),), **TOLERATES)).shape
    assert not PodTopologySpreadScore.applies(shape)


def test_the_least_spread_zone_wins() -> None:
    bench = Bench(nodes(), pods=webs(a1=1, b1=2))
    assert bench.where(pod(constraints=(softly(),), **TOLERATES)) == "c1"
