"""Filters and scores of what a node is: name, cordon, taints, selectors, affinity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from engine.constraints.nodes import NodeName, tolerates
from engine.model.objects import Node, NodeSelectorTerm, Pod, PreferredTerm, Requirement, Taint, Toleration
from engine.state.columns import Columns
from tests.engine import build
from tests.engine.build import Bench, expression, field, node, pod

UNSCHEDULABLE = "0/1 nodes are available: 1 node(s) were unschedulable."
TAINTED = "0/1 nodes are available: 1 node(s) had untolerated taint(s)."
MISMATCH = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
CORDON = "node.kubernetes.io/unschedulable"


def check(asked: Pod, single: Node, message: str | None) -> None:
    bench = Bench([single])
    if message is None:
        assert bench.where(asked) == single.name
    else:
        assert bench.message(asked) == message


CORDONS = {
    "not tolerated": ((), UNSCHEDULABLE),
    "tolerated by key": ((Toleration(CORDON, "Exists"),), None),
    "tolerated by everything": ((Toleration(operator="Exists"),), None),
    "with its effect": ((Toleration(CORDON, "Exists", effect="NoSchedule"),), None),
    "with another effect": ((Toleration(CORDON, "Exists", effect="NoExecute"),), UNSCHEDULABLE),
    "with another value": ((Toleration(CORDON, "Equal", "x"),), UNSCHEDULABLE),
}


@pytest.mark.parametrize(("tolerations", "message"), CORDONS.values(), ids=CORDONS)
def test_cordon(tolerations: Sequence[Toleration], message: str | None) -> None:
    check(pod(tolerations=tolerations), node("n", cordoned=True), message)


def test_the_cordon_is_told_before_its_taint() -> None:
    cordoned = node("n", cordoned=True, taints=[Taint(CORDON, "", "NoSchedule")])
    assert Bench([cordoned]).message(pod()) == UNSCHEDULABLE


T = Taint("k", "v", "NoSchedule")
TOLERATIONS = {
    "exact": (Toleration("k", "Equal", "v", "NoSchedule"), T, True),
    "empty operator means Equal": (Toleration("k", "", "v"), T, True),
    "Equal with another value": (Toleration("k", "Equal", "w"), T, False),
    "Exists whatever the value": (Toleration("k", "Exists"), T, True),
    "empty effect means every": (Toleration("k", "Exists"), Taint("k", "", "NoExecute"), True),
    "another effect": (Toleration("k", "Exists", effect="NoExecute"), T, False),
    "another key": (Toleration("j", "Exists"), T, False),
    "empty key with Exists": (Toleration("", "Exists"), T, True),
    "empty key with Exists and an effect": (Toleration("", "Exists", effect="NoSchedule"), T, True),
    "empty key with Equal": (Toleration("", "Equal", "v"), T, False),
    "empty key with no operator": (Toleration("", "", ""), Taint("k", "", "NoSchedule"), False),
    "Gt is switched off": (Toleration("k", "Gt", "1"), Taint("k", "5", "NoSchedule"), False),
    "Lt is switched off": (Toleration("k", "Lt", "9"), Taint("k", "5", "NoSchedule"), False),
    "an operator nobody knows": (Toleration("k", "Like", "v"), T, False),
}


@pytest.mark.parametrize(("toleration", "taint", "expected"), TOLERATIONS.values(), ids=TOLERATIONS)
def test_tolerates(toleration: Toleration, taint: Taint, expected: bool) -> None:
    assert tolerates(toleration, taint) is expected


TAINTS = {
    "none": ([], (), None),
    "NoSchedule": ([T], (), TAINTED),
    "NoExecute": ([Taint("k", "v", "NoExecute")], (), TAINTED),
    "PreferNoSchedule does not filter": ([Taint("k", "v", "PreferNoSchedule")], (), None),
    "one of two tolerated": ([T, Taint("j", "", "NoExecute")], (Toleration("k", "Exists"),), TAINTED),
    "each by another toleration": (
        [T, Taint("j", "", "NoExecute")],
        (Toleration("k", "Exists"), Toleration("j", "Exists")),
        None,
    ),
}


@pytest.mark.parametrize(("taints", "tolerations", "message"), TAINTS.values(), ids=TAINTS)
def test_taints(taints: list[Taint], tolerations: Sequence[Toleration], message: str | None) -> None:
    check(pod(tolerations=tolerations), node("n", taints=taints), message)


def test_a_set_of_taints_that_appears_later_is_judged() -> None:
    bench = Bench([node("n")])
    assert bench.where(pod()) == "n"
    bench.cache.put_node(node("n", taints=[T]))
    assert bench.message(pod()) == TAINTED
    bench.cache.put_node(node("n", taints=[Taint("other", "", "PreferNoSchedule")]))
    assert bench.where(pod()) == "n"


LABELS = {"disk": "ssd", "cores": "8", "odd": "8x", "long": "1" * 32 + "x", "big": "9" * 30}
SELECTORS = {
    "equal": ({"disk": "ssd"}, None),
    "another value": ({"disk": "hdd"}, MISMATCH),
    "absent": ({"gpu": "yes"}, MISMATCH),
    "all must hold": ({"disk": "ssd", "cores": "9"}, MISMATCH),
}


@pytest.mark.parametrize(("selector", "message"), SELECTORS.values(), ids=SELECTORS)
def test_node_selector(selector: dict[str, str], message: str | None) -> None:
    check(pod(selector=selector), node("n", LABELS), message)


TERMS: dict[str, tuple[list[NodeSelectorTerm], bool]] = {
    "no term": ([], False),
    "empty term": ([NodeSelectorTerm()], False),
    "empty expressions": ([NodeSelectorTerm((), ())], False),
    "an empty term beside one that holds": ([NodeSelectorTerm(), expression("disk", "Exists")], True),
    "terms are ORed": ([expression("disk", "In", "hdd"), expression("disk", "In", "ssd")], True),
    "expressions are ANDed": (
        [NodeSelectorTerm((Requirement("disk", "Exists"), Requirement("gpu", "Exists")))],
        False,
    ),
    "In": ([expression("disk", "In", "hdd", "ssd")], True),
    "In, absent": ([expression("gpu", "In", "yes")], False),
    "In of nothing": ([expression("disk", "In")], False),
    "NotIn": ([expression("disk", "NotIn", "hdd", "tape")], True),
    "NotIn, there": ([expression("disk", "NotIn", "ssd")], False),
    "NotIn matches the absent": ([expression("gpu", "NotIn", "yes")], True),
    "NotIn of nothing": ([expression("disk", "NotIn")], False),
    "Exists": ([expression("disk", "Exists")], True),
    "Exists takes no values": ([expression("disk", "Exists", "ssd")], False),
    "DoesNotExist": ([expression("gpu", "DoesNotExist")], True),
    "DoesNotExist, there": ([expression("disk", "DoesNotExist")], False),
    "Gt": ([expression("cores", "Gt", "7")], True),
    "Gt is strict": ([expression("cores", "Gt", "8")], False),
    "Lt": ([expression("cores", "Lt", "9")], True),
    "Gt compares integers, not text": ([expression("cores", "Gt", "10")], False),
    "Gt of a signed bound": ([expression("cores", "Gt", "-1")], True),
    "Gt of a label that is no integer": ([expression("odd", "Gt", "1")], False),
    "Gt of a long label that only starts as one": ([expression("long", "Gt", "1")], False),
    "Gt of a label beyond 64 bits": ([expression("big", "Gt", "1")], False),
    "Gt of an absent label": ([expression("gpu", "Gt", "1")], False),
    "Gt of a bound that is no integer": ([expression("cores", "Gt", "7.5")], False),
    "Gt of other digits": ([expression("cores", "Gt", "٣")], False),
    "Gt of two bounds": ([expression("cores", "Gt", "1", "2")], False),
    "an operator nobody knows": ([expression("disk", "Like", "ssd")], False),
    "field In": ([field("metadata.name", "In", "n")], True),
    "field In, another": ([field("metadata.name", "In", "m")], False),
    "field NotIn": ([field("metadata.name", "NotIn", "m")], True),
    "field NotIn, this": ([field("metadata.name", "NotIn", "n")], False),
    "field of two values": ([field("metadata.name", "In", "n", "m")], False),
    "field Exists": ([field("metadata.name", "Exists")], False),
    "another field": ([field("metadata.uid", "In", "n")], False),
    "fields and expressions": (
        [NodeSelectorTerm((Requirement("disk", "Exists"),), (Requirement("metadata.name", "In", ("m",)),))],
        False,
    ),
}


@pytest.mark.parametrize(("terms", "matches"), TERMS.values(), ids=TERMS)
def test_required_affinity(terms: list[NodeSelectorTerm], matches: bool) -> None:
    # Beside a term for another node, so that the terms do not name all nodes, which is told in other words.
    terms = [*terms, field("metadata.name", "NotIn", "n")]
    check(pod(required=terms), node("n", LABELS), None if matches else MISMATCH)


def test_selector_and_affinity_must_both_hold() -> None:
    asked = pod(selector={"disk": "hdd"}, required=[expression("disk", "Exists")])
    check(asked, node("n", LABELS), MISMATCH)


def test_node_name() -> None:
    columns = Columns()
    for name in ("a", "b"):
        columns.put_node(node(name))
    slots = np.array([1, 0])
    assert NodeName("b", columns).passes(slots).tolist() == [True, False]
    assert NodeName("c", columns).passes(slots).tolist() == [False, False]
    reasons = NodeName("c", columns).reasons(slots)
    assert reasons == {"node(s) didn't match the requested node name": 2}


def test_preferred_terms_add_their_weights() -> None:
    near, far = node("near", {"disk": "ssd", "rack": "1"}), node("far", {"disk": "ssd"})
    preferring = [
        PreferredTerm(10, expression("disk", "Exists")),
        PreferredTerm(1, expression("rack", "Exists")),
        PreferredTerm(100, NodeSelectorTerm()),
    ]
    assert Bench([far, near]).where(pod(preferred=preferring)) == "near"


def test_fewer_soft_taints_are_better() -> None:
    soft = [Taint("a", "", "PreferNoSchedule"), Taint("b", "", "PreferNoSchedule")]
    two, one = node("two", taints=soft), node("one", taints=soft[:1])
    assert Bench([two, one]).where(pod()) == "one"
    # A toleration of another effect does not bear a soft taint.
    hard = (Toleration("b", "Exists", effect="NoSchedule"),)
    assert Bench([two, one]).where(pod(tolerations=hard)) == "one"
    bench = Bench([two, one])
    both = (Toleration(operator="Exists"),)
    assert bench.place(pod(tolerations=both)).score == bench.place(pod("other", tolerations=both)).score


def test_reasons_stand_in_the_stock_schedulers_order() -> None:
    nodes = [
        *(node(f"t{n}", taints=[T]) for n in range(3)),
        *(node(f"s{n}", allocatable={"cpu": "1", "memory": "1Mi", "pods": "9"}) for n in range(2)),
    ]
    message = Bench(nodes).message(pod(requests={"memory": "1Gi"}))
    assert message == "0/5 nodes are available: 2 Insufficient memory, 3 node(s) had untolerated taint(s)."


def test_no_nodes_at_all() -> None:
    assert Bench([]).message(build.pod()) == "0/0 nodes are available."
