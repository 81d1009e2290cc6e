"""A pod that is read from a real API server and made anew there is the pod that was asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from engine.binder.anew import anew
from engine.cluster.api import ApiCluster, connect
from engine.model.objects import PodKey
from tests.controlplane import ControlPlane, make_node, make_pod
from tests.controlplane.manifests import ZONE

pytestmark = pytest.mark.integration

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@pytest.fixture
def plane(empty_full_control_plane: ControlPlane) -> ControlPlane:
    return empty_full_control_plane


@pytest.fixture
def cluster(plane: ControlPlane) -> Iterator[ApiCluster]:
    cluster = connect(plane.kubeconfig)
    yield cluster
    cluster.close()


def a_demanding_pod() -> dict[str, Any]:
    """A pod with all that the server, its admission plugins and the rest of the cluster add something to."""
    selector = {"matchLabels": {"app": "a"}}
    term = {"topologyKey": ZONE, "labelSelector": selector, "matchLabelKeys": ["version"]}
    spread = {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "ScheduleAnyway"}
    pod = make_pod(
        "x",
        labels={"app": "a", "version": "1"},
        annotations={"note": "mine"},
        scheduler="custom-scheduler",
        priorityClassName="seven",
        affinity={"podAntiAffinity": {REQUIRED: [term]}},
        topologySpreadConstraints=[{**spread, "labelSelector": selector, "matchLabelKeys": ["version"]}],
        volumes=[{"name": "scratch", "emptyDir": {}}],
        tolerations=[{"key": "mine", "operator": "Exists"}],
        initContainers=[{"name": "first", "image": "example.invalid/none:1"}],
    )
    pod["spec"]["containers"][0] |= {
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        "env": [{"name": "A", "value": "b"}],
    }
    return pod


def without_names_of_tokens(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with the token's volume under one name: it is given a new one each time."""
    names = [v["name"] for v in spec.get("volumes", ()) if v["name"].startswith("kube-api-access-")]
    text = json.dumps(spec)
    for name in names:
        text = text.replace(name, "token")
    return json.loads(text)  # type: ignore[no-any-return]


def test_a_pod_made_anew_is_the_pod_that_it_was(plane: ControlPlane, cluster: ApiCluster) -> None:
    plane.create_nodes([make_node("a", kwok=True, labels={ZONE: "here"})])
    plane.create_nodes([make_node("b", kwok=True, labels={ZONE: "there"})])
    plane.apply(
        [
            {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": "seven"},
                "value": 7,
                "preemptionPolicy": "Never",
            }
        ]
    )
    cluster.create_pod(a_demanding_pod())
    fresh = plane.pod("x")
    plane.bind("x", "a")
    plane.eventually(lambda: plane.pod("x")["status"]["phase"] == "Running", "the pod runs")
    old = cluster.get_manifest("default", "x")
    assert old is not None
    assert fresh["spec"]["priority"] == 7
    assert "kube-api-access-" in str(fresh["spec"]["volumes"]), "the test wants a cluster that gives tokens"

    left = anew(old)
    cluster.delete_pod(PodKey("default", "x", fresh["metadata"]["uid"]), 0)
    made = cluster.create_pod(left)
    assert made.key.uid != fresh["metadata"]["uid"]
    again = plane.pod("x")
    assert without_names_of_tokens(again["spec"]) == without_names_of_tokens(fresh["spec"])
    assert again["metadata"]["annotations"] == fresh["metadata"]["annotations"]

    # Labels of its first place, which binding put there, make way for those of the next.
    plane.bind("x", "b")
    labels = plane.pod("x")["metadata"]["labels"]
    assert {**labels, ZONE: ""} == {**fresh["metadata"]["labels"], ZONE: ""}
    assert labels.get(ZONE, "there") == "there"
