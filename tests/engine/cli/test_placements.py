"""Rows: what is shown of a pod about which the last decision is not the last word, or about which there was none."""

from __future__ import annotations

from typing import cast

import pytest

from engine.cli.placements import Placements
from engine.model.objects import ObjectMeta, Pod, PodSpec, SchedulingGate
from engine.model.placeholder import PLACEHOLDER
from engine.model.shape import Workload
from engine.placement import Decision, MeasuredLimit, Placer
from engine.state.pods import PlacedPod

OURS = "custom-scheduler"


class Unlimited:
    """Stands in for the placer, which is asked for limits only."""

    def delays(self, pod: PlacedPod, node: str, now: float) -> list[MeasuredLimit]:
        return []


class Known:
    """Stands in for a cached pod, of which the key is used only."""

    def __init__(self, pod: Pod) -> None:
        self.key = pod.key
        self.workload = Workload("Pod", pod.metadata.name)


def placements() -> Placements:
    return Placements(100.0, (OURS,), placer=cast("Placer", Unlimited()))


def pod(name: str = "p", **spec: object) -> Pod:
    made = PodSpec(**{"scheduler_name": OURS, **spec})  # type: ignore[arg-type]
    return Pod(ObjectMeta(name=name, namespace="default", uid=name), made)


def test_a_decision_that_was_carried_out() -> None:
    seen = placements()
    seen.decided(cast("PlacedPod", Known(pod())), Decision("n1", 3, feasible=2), 101.5)
    [row] = seen.of([pod(node_name="n1")])
    assert (row.node, row.time, row.feasible, row.message) == ("n1", 1.5, 2, "")


def test_a_decision_that_the_cluster_refused_leaves_the_pod_pending() -> None:
    seen = placements()
    seen.decided(cast("PlacedPod", Known(pod())), Decision("n1", 3, feasible=2), 101.5)
    [row] = seen.of([pod()])
    assert (row.node, row.message) == (None, "the cluster refused to bind it to n1; --timeline shows why")


@pytest.mark.parametrize(
    ("made", "told"),
    [
        pytest.param(pod(node_name="n1"), "its manifest names the node", id="bound by hand"),
        pytest.param(pod(scheduler_name="other"), "set spec.schedulerName: custom-scheduler", id="another's"),
        pytest.param(
            pod(scheduling_gates=(SchedulingGate("a"), SchedulingGate("b"))), "gates: a, b", id="gated"
        ),
        pytest.param(pod(), "not tried yet when the simulation ended", id="too late"),
    ],
)
def test_a_pod_about_which_nothing_was_decided(made: Pod, told: str) -> None:
    [row] = placements().of([made])
    assert told in row.message
    assert (row.node, row.time) == (made.spec.node_name or None, None)


def test_what_holds_a_reserve_is_left_out() -> None:
    labels = {PLACEHOLDER: "backup"}
    held = Pod(
        ObjectMeta(name="held", namespace="kube-system", uid="h", labels=labels), PodSpec(node_name="n1")
    )
    assert [row.name for row in placements().of([held, pod(node_name="n1")])] == ["p"]


def test_the_last_decision_counts_and_pods_that_are_gone_are_not_shown() -> None:
    seen = placements()
    for name in ("a", "b"):
        seen.decided(cast("PlacedPod", Known(pod(name))), Decision(None, 3, trouble="no way"), 100.0)
    seen.decided(cast("PlacedPod", Known(pod("a"))), Decision("n2", 3), 130.0)
    assert [(row.name, row.node, row.time) for row in seen.of([pod("a", node_name="n2")])] == [
        ("a", "n2", 30.0)
    ]
