"""Affinity and anti-affinity between pods, a row for each sentence of the reference."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from engine.constraints.inter_pod_affinity import InterPodAffinityScore
from engine.constraints.protocol import normalize
from engine.model.objects import (
    Affinity,
    LabelSelector,
    Node,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    Requirement,
    WeightedPodAffinityTerm,
)
from engine.model.pod_terms import with_label_keys
from tests.engine import build
from tests.engine.build import Bench, node

ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"
NEAR = "node(s) didn't match pod affinity rules"
APART = "node(s) didn't match pod anti-affinity rules"
AGAINST = "node(s) didn't satisfy existing pods anti-affinity rules"
DB = LabelSelector({"app": "db"})
WEB = LabelSelector({"app": "web"})


def term(selector: LabelSelector | None = DB, key: str = ZONE, **more: Any) -> PodAffinityTerm:
    return PodAffinityTerm(selector, topology_key=key, **more)


def near(*terms: PodAffinityTerm) -> Affinity:
    return Affinity(None, PodAffinity(terms))


def apart(*terms: PodAffinityTerm) -> Affinity:
    return Affinity(None, None, PodAffinity(terms))


def rather(weight: int, wanted: PodAffinityTerm) -> Affinity:
    preferred = (WeightedPodAffinityTerm(abs(weight), wanted),)
    kind = PodAffinity(None, preferred)
    return Affinity(None, kind) if weight > 0 else Affinity(None, None, kind)


def pod(
    name: str = "pod",
    app: str = "web",
    affinity: Affinity | None = None,
    on: str = "",
    namespace: str = "default",
    terminating: bool = False,
    labels: Mapping[str, str] | None = None,
) -> Pod:
    made = build.pod(name, labels or {"app": app}, on=on, namespace=namespace, terminating=terminating)
    return replace(made, spec=replace(made.spec, affinity=affinity))


def cluster(*pods: Pod, nodes: tuple[Node, ...] = ()) -> Bench:
    """Two zones of two nodes each, and a node without a zone."""
    made = nodes or (
        *(node(f"n{number}", {HOST: f"n{number}"}, zone=f"z{1 + number // 2}") for number in range(4)),
        node("nowhere", {HOST: "nowhere"}),
    )
    return Bench(made, pods=pods)


def open_to(bench: Bench, asked: Pod) -> set[str]:
    """The nodes that can take the pod."""
    decision = bench.place(asked, diagnose=True)
    assert decision.refusals is not None
    return {bench.cache.columns.names[slot] for slot in np.flatnonzero(decision.refusals.feasible)}


ALL = {"n0", "n1", "n2", "n3", "nowhere"}
Z1, Z2 = {"n0", "n1"}, {"n2", "n3"}
TEAM = LabelSelector({"team": "x"})
AFFINITY = {
    "in the domain of the pod that is meant": (near(term()), [pod("db", "db", on="n0")], Z1),
    "the domain is that of the topology key": (near(term(key=HOST)), [pod("db", "db", on="n0")], {"n0"}),
    "any of the domains with one": (
        near(term()),
        [pod("d0", "db", on="n0"), pod("d3", "db", on="n3")],
        Z1 | Z2,
    ),
    "nowhere while nobody is meant": (near(term()), [pod("other", "cache", on="n0")], set()),
    "one pod has to match all terms": (
        near(term(), term(WEB)),
        [pod("db", "db", on="n0"), pod("web", "web", on="n0")],
        set(),
    ),
    "each term by its own key": (
        near(term(), term(LabelSelector({"tier": "back"}), HOST)),
        [pod("db", labels={"app": "db", "tier": "back"}, on="n0")],
        {"n0"},
    ),
    "the keys of all terms have to be on the node": (
        near(term(), term(LabelSelector({"app": "db"}), "rack")),
        [pod("db", "db", on="n0")],
        set(),
    ),
    "a pod on its way out still counts": (near(term()), [pod("db", "db", on="n0", terminating=True)], Z1),
    "a pod on an unknown node does not": (near(term()), [pod("db", "db", on="gone")], set()),
    "the first of a series goes anywhere with the keys": (near(term(WEB)), [], Z1 | Z2),
    "the first, where others of other kinds are": (near(term(WEB)), [pod("db", "db", on="n0")], Z1 | Z2),
    "not the first while one runs, be it without the key": (
        near(term(WEB)),
        [pod("web", "web", on="nowhere")],
        Z1 | Z2,
    ),
    "no longer the first": (near(term(WEB)), [pod("web", "web", on="n2")], Z2),
    "not the first if it does not match itself": (near(term(DB)), [], set()),
    "the first has to match all its terms": (near(term(WEB), term(DB)), [], set()),
    "another namespace is not meant": (near(term()), [pod("db", "db", on="n0", namespace="data")], set()),
    "a named namespace is": (
        near(term(namespaces=("data",))),
        [pod("db", "db", on="n0", namespace="data"), pod("db2", "db", on="n2")],
        Z1,
    ),
    "namespaces by their labels": (
        near(term(namespace_selector=TEAM)),
        [pod("db", "db", on="n0", namespace="data"), pod("db2", "db", on="n2")],
        Z1,
    ),
    "both together": (
        near(term(namespace_selector=TEAM, namespaces=("default",))),
        [pod("db", "db", on="n0", namespace="data"), pod("db2", "db", on="n2")],
        Z1 | Z2,
    ),
    "an empty namespace selector means all": (
        near(term(namespace_selector=LabelSelector())),
        [pod("db", "db", on="n0", namespace="data"), pod("db2", "db", on="n2", namespace="else")],
        Z1 | Z2,
    ),
    "an empty list of namespaces is none": (near(term(namespaces=())), [pod("db", "db", on="n0")], Z1),
    "an empty selector means every pod": (near(term(LabelSelector())), [pod("x", "any", on="n0")], Z1),
    "no selector means none": (near(term(None)), [pod("x", "any", on="n0")], set()),
    "expressions": (
        near(term(LabelSelector(None, (Requirement("app", "NotIn", ("web",)),)))),
        [pod("x", "any", on="n0"), pod("w", "web", on="n2")],
        Z1,
    ),
    "a key that no node has": (near(term(key="galaxy")), [pod("db", "db", on="n0")], set()),
    "anti-affinity: not in the domain": (
        apart(term()),
        [pod("db", "db", on="n0")],
        Z2 | {"nowhere"},
    ),
    "anti-affinity: a node without the key passes": (
        apart(term()),
        [pod("db", "db", on="nowhere")],
        ALL,
    ),
    "anti-affinity: any term blocks": (
        apart(term(), term(LabelSelector({"app": "cache"}))),
        [pod("db", "db", on="n0"), pod("cache", "cache", on="n2")],
        {"nowhere"},
    ),
    "anti-affinity: a pod on its way out still blocks": (
        apart(term()),
        [pod("db", "db", on="n0", terminating=True)],
        Z2 | {"nowhere"},
    ),
    "anti-affinity to itself": (apart(term(WEB)), [], ALL),
    "anti-affinity: nobody in another namespace": (
        apart(term()),
        [pod("db", "db", on="n0", namespace="data")],
        ALL,
    ),
    "symmetry: it is not wanted": (
        None,
        [pod("db", "db", apart(term(WEB)), on="n0")],
        Z2 | {"nowhere"},
    ),
    "symmetry: by host": (
        None,
        [pod("db", "db", apart(term(WEB, HOST)), on="n0")],
        ALL - {"n0"},
    ),
    "symmetry: others are not wanted": (None, [pod("db", "db", apart(term(DB)), on="n0")], ALL),
    "symmetry: in the namespace of who does not want it": (
        None,
        [pod("db", "db", apart(term(WEB)), on="n0", namespace="data")],
        ALL,
    ),
    "symmetry: by the labels of the pod's namespace": (
        None,
        [pod("db", "db", apart(term(WEB, namespace_selector=LabelSelector())), on="n0", namespace="data")],
        Z2 | {"nowhere"},
    ),
    "symmetry: on its way out": (
        None,
        [pod("db", "db", apart(term(WEB)), on="n0", terminating=True)],
        Z2 | {"nowhere"},
    ),
}


@pytest.mark.parametrize(("affinity", "placed", "expected"), AFFINITY.values(), ids=AFFINITY)
def test_affinity(affinity: Affinity | None, placed: list[Pod], expected: set[str]) -> None:
    bench = cluster(*placed)
    bench.cache.put_namespace("data", {"team": "x"})
    assert open_to(bench, pod(affinity=affinity)) == expected


MESSAGES = {
    "near": (near(term()), [], f"0/5 nodes are available: 5 {NEAR}."),
    "apart": (
        apart(term(DB, HOST)),
        [pod(f"db{n}", "db", on=n) for n in sorted(ALL)],
        f"0/5 nodes are available: 5 {APART}.",
    ),
    "against": (
        None,
        [pod(f"db{n}", "db", apart(term(WEB, HOST)), on=n) for n in sorted(ALL)],
        f"0/5 nodes are available: 5 {AGAINST}.",
    ),
    "what it must be near is told before what it must not be": (
        Affinity(None, PodAffinity((term(),)), PodAffinity((term(),))),
        [pod("db", "db", on="n0")],
        f"0/5 nodes are available: 2 {APART}, 3 {NEAR}.",
    ),
    "its own terms before those of others": (
        apart(term()),
        [
            pod("d0", "db", apart(term(WEB)), on="n0"),
            pod("d2", "x", apart(term(WEB)), on="n2"),
            pod("d4", "db", apart(term(WEB, HOST)), on="nowhere"),
        ],
        f"0/5 nodes are available: 2 {APART}, 3 {AGAINST}.",
    ),
}


@pytest.mark.parametrize(("affinity", "placed", "message"), MESSAGES.values(), ids=MESSAGES)
def test_messages(affinity: Affinity | None, placed: list[Pod], message: str) -> None:
    assert cluster(*placed).message(pod(affinity=affinity)) == message


SCORES: dict[str, tuple[Affinity | None, list[Pod], list[int]]] = {
    "nothing to tell": (None, [pod("db", "db", on="n0")], [0, 0, 0, 0, 0]),
    "preferred: the domain of the pod": (rather(7, term()), [pod("db", "db", on="n0")], [7, 7, 0, 0, 0]),
    "each pod counts": (
        rather(7, term()),
        [pod("d0", "db", on="n0"), pod("d1", "db", on="n1"), pod("d2", "db", on="n2")],
        [14, 14, 7, 7, 0],
    ),
    "a pod on its way out, too": (
        rather(7, term()),
        [pod("db", "db", on="n0", terminating=True)],
        [7, 7, 0, 0, 0],
    ),
    "anti-affinity counts against": (
        rather(-7, term(key=HOST)),
        [pod("db", "db", on="n0")],
        [-7, 0, 0, 0, 0],
    ),
    "symmetry: who would rather have it near": (
        None,
        [pod("db", "db", rather(5, term(WEB)), on="n2")],
        [0, 0, 5, 5, 0],
    ),
    "symmetry: who would rather not": (
        None,
        [pod("db", "db", rather(-5, term(WEB)), on="n2")],
        [0, 0, -5, -5, 0],
    ),
    "symmetry: who must have it near counts 1": (
        None,
        [pod("db", "db", near(term(WEB)), on="n2")],
        [0, 0, 1, 1, 0],
    ),
    "symmetry: who must not have it near is no matter of scores": (
        None,
        [pod("db", "db", apart(term(WEB, HOST)), on="n2")],
        [0, 0, 0, 0, 0],
    ),
    "required affinity of its own is no matter of scores": (
        near(term()),
        [pod("db", "db", on="n0")],
        [0, 0, 0, 0, 0],
    ),
    "all that pulls and pushes, added up": (
        rather(7, term()),
        [pod("d0", "db", rather(-7, term(WEB, HOST)), on="n0"), pod("d2", "db", near(term(WEB)), on="n2")],
        [0, 7, 8, 8, 0],
    ),
}


@pytest.mark.parametrize(("affinity", "placed", "expected"), SCORES.values(), ids=SCORES)
def test_scores(affinity: Affinity | None, placed: list[Pod], expected: list[int]) -> None:
    bench = cluster(*placed)
    score = InterPodAffinityScore(bench.cache.put_pod(pod(affinity=affinity)).shape, bench.cache)
    raw = np.broadcast_to(score.raw(np.arange(5)), 5)
    assert raw.tolist() == expected
    low, high = min(expected), max(expected)
    normal = [int(100 * ((one - low) / (high - low))) if high > low else 0 for one in expected]
    assert normalize(raw, score.normalization).tolist() == normal
    assert score.weight == 2


KEYS: dict[str, tuple[dict[str, Any], Requirement | None]] = {
    "match": ({"match_label_keys": ("rev",)}, Requirement("rev", "In", ("2",))),
    "mismatch": ({"mismatch_label_keys": ("rev",)}, Requirement("rev", "NotIn", ("2",))),
    "a label that is not there": ({"match_label_keys": ("absent",)}, None),
}


@pytest.mark.parametrize(("keys", "merged"), KEYS.values(), ids=KEYS)
def test_label_keys_are_merged_as_the_api_server_does(
    keys: dict[str, Any], merged: Requirement | None
) -> None:
    labels = {"app": "web", "rev": "2"}
    for affinity in (near(term(WEB, **keys)), apart(term(WEB, **keys)), rather(3, term(WEB, **keys))):
        spec = with_label_keys(pod(affinity=affinity).spec, labels)
        assert spec.affinity is not None
        terms = [
            *(
                one
                for kind in (spec.affinity.pod_affinity, spec.affinity.pod_anti_affinity)
                if kind
                for one in kind.required_during_scheduling_ignored_during_execution or ()
            ),
            *(
                one.pod_affinity_term
                for kind in (spec.affinity.pod_affinity, spec.affinity.pod_anti_affinity)
                if kind
                for one in kind.preferred_during_scheduling_ignored_during_execution or ()
            ),
        ]
        expressions = (merged,) if merged else None
        assert [one.label_selector for one in terms] == [LabelSelector({"app": "web"}, expressions)]
        assert with_label_keys(spec, labels) == spec


def test_a_term_that_no_selector_restricts_keeps_none() -> None:
    affinity = near(term(None, match_label_keys=("app",)))
    spec = pod(affinity=affinity).spec
    assert with_label_keys(spec, {"app": "web"}) == spec


def test_namespace_that_gets_the_label_later() -> None:
    bench = cluster(pod("db", "db", on="n0", namespace="data"))
    asked = pod(affinity=near(term(namespace_selector=TEAM)))
    assert open_to(bench, asked) == set()
    bench.cache.put_namespace("data", {"team": "x"})
    assert open_to(bench, asked) == Z1
    bench.cache.put_namespace("data", None)
    assert open_to(bench, asked) == set()


def test_namespace_of_the_pod_that_gets_the_label_later() -> None:
    bench = cluster(pod("db", "db", apart(term(WEB, namespace_selector=TEAM)), on="n0", namespace="data"))
    assert open_to(bench, pod()) == ALL
    bench.cache.put_namespace("default", {"team": "x"})
    assert open_to(bench, pod()) == Z2 | {"nowhere"}


def test_counts_end_with_those_who_ask() -> None:
    """Without the help of the garbage collector."""
    bench = cluster(pod("db", "db", apart(term(WEB)), on="n0"))
    gc.disable()
    try:
        for number in range(50):
            bench.place(pod(f"p{number}", affinity=near(term(LabelSelector({"n": f"{number}"})))))
            bench.cache.remove_pod(pod(f"p{number}").key)
        assert len(bench.cache.tallies) == 50
        bench.placer.swap_plan(bench.placer.plan)
        assert len(bench.cache.tallies) == 0
    finally:
        gc.enable()
    assert bench.cache.tallies.held == 1
    bench.cache.remove_pod(pod("db").key)
    assert bench.cache.tallies.held == 0


def test_pods_of_one_selection_share_one_count() -> None:
    bench = cluster()
    for number in range(10):
        bench.place(pod(f"p{number}", labels={"app": "web", "pod-name": f"p{number}"}, affinity=near(term())))
    assert len(bench.cache.tallies) == 1
