"""Pods that ask of each other, on the simulated cluster from manifests to bindings, and what wakes those that wait."""

from __future__ import annotations

from collections import Counter

import pytest

from engine.cluster.protocol import ResourceKind
from engine.manifests import parse
from engine.model.objects import Pod
from tests.engine.scheduler.test_simulation import World, node

CONTAINERS = "containers: [{name: main, image: web, resources: {requests: {cpu: 100m}}}]"


def deployment(spec: str, replicas: int = 6, labels: str = "app: web") -> str:
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: default}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{{labels}}}}}
  template:
    metadata: {{labels: {{{labels}}}}}
    spec:
      schedulerName: custom-scheduler
      {CONTAINERS}
      {spec}
"""


def single(name: str, spec: str = "", labels: str = "{app: db}", namespace: str = "default") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {labels}}}
spec:
  schedulerName: custom-scheduler
  {CONTAINERS}
  {spec}
"""


NEAR_DB = """affinity:
    podAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - {topologyKey: topology.kubernetes.io/zone, labelSelector: {matchLabels: {app: db}}, %s}"""
ON_NO_HOST_WITH_WEB = """affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
          - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: web}}}"""
SPREAD = """topologySpreadConstraints:
  - {maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule,
     labelSelector: {matchLabels: {app: db}}}"""


def apply(world: World, text: str) -> None:
    for item in parse(text, "manifest").objects:
        world.cluster.apply(item)


def world(*names: str) -> World:
    return World(*(node(name) for name in names), policy="")


def spread(world: World) -> Counter[str]:
    """How many pods are on each node, "" for those on none."""
    pods = world.cluster.list(ResourceKind.PODS).items
    return Counter(pod.spec.node_name for pod in pods if isinstance(pod, Pod))


def test_one_on_each_node_and_no_more() -> None:
    four = world("a", "b", "c", "d")
    apply(four, deployment(ON_NO_HOST_WITH_WEB, replicas=6))
    four.until(5)
    assert spread(four) == {"a": 1, "b": 1, "c": 1, "d": 1, "": 2}
    assert "4 node(s) didn't match pod anti-affinity rules." in four.told("FailedScheduling")[0]
    four.cluster.add_node(node("e"))
    four.until(20)
    assert spread(four) == {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "": 1}


def test_pods_of_a_deployment_are_spread_though_they_say_nothing() -> None:
    """By the selector of their ReplicaSet: a bare pod with the same labels is counted with them."""
    four = world("a", "b", "c", "d")
    apply(four, deployment("terminationGracePeriodSeconds: 0", replicas=8))
    four.until(5)
    assert spread(four) == {"a": 2, "b": 2, "c": 2, "d": 2}


def test_pods_of_a_service_are_spread() -> None:
    two = world("a", "b")
    apply(
        two,
        "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {selector: {app: db}, ports: [{port: 80}]}}",
    )
    for number in range(6):
        apply(two, single(f"db-{number}"))
    two.until(5)
    assert spread(two) == {"a": 3, "b": 3}


WAKES = {
    "the pod that it must be near comes": (NEAR_DB % "", single("db")),
    "a pod is given the label": (NEAR_DB % "", single("other", labels="{app: db, was: other}")),
    "a namespace is given the label": (
        NEAR_DB % "namespaceSelector: {matchLabels: {team: x}}",
        "{apiVersion: v1, kind: Namespace, metadata: {name: data, labels: {team: x}}}",
    ),
}


@pytest.mark.parametrize(("spec", "event"), WAKES.values(), ids=WAKES)
def test_wakes(spec: str, event: str) -> None:
    two = world("a", "b")
    apply(two, single("other", labels="{was: other}"))
    apply(two, "{apiVersion: v1, kind: Namespace, metadata: {name: data}}")
    apply(two, single("elsewhere", namespace="data"))
    apply(two, single("web", spec, labels="{app: web}"))
    two.until(15)
    assert two.node_of("web") == ""
    assert "2 node(s) didn't match pod affinity rules." in two.told("FailedScheduling")[-1]
    apply(two, event)
    two.until(30)
    assert two.node_of("web") != ""


def test_a_pod_that_ends_makes_room_in_a_spread() -> None:
    """As soon as it is on its way out: then it is not counted any more, though its anti-affinity still would be."""
    two = world("a", "b")
    two.cluster.cordon("b")
    apply(two, single("first", SPREAD))
    apply(two, single("second", SPREAD))
    two.until(15)
    assert [two.node_of(name) for name in ("first", "second")] == ["a", ""]
    pod = two.cluster.get_pod("default", "first")
    assert pod is not None
    two.cluster.fail_node("a")  # so that nobody ends it soon, and nobody has noticed yet
    two.cluster.evict(pod.key, grace_seconds=600)
    two.until(25)
    assert two.node_of("first") == "a"
    assert two.node_of("second") == "a"


def test_label_keys_tell_revisions_apart() -> None:
    """A rollout goes on beside the former pods: its own are kept apart from each other only."""
    two = world("a", "b")
    term = ON_NO_HOST_WITH_WEB.replace("{topologyKey", "{matchLabelKeys: [pod-template-hash], topologyKey")
    apply(two, deployment(term, replicas=2))
    two.until(5)
    before = {pod.metadata.name for pod in two.cluster.list(ResourceKind.PODS).items}
    assert spread(two) == {"a": 1, "b": 1}
    apply(two, deployment(term + "\n      hostNetwork: true", replicas=2))
    two.until(120)
    after = {pod.metadata.name for pod in two.cluster.list(ResourceKind.PODS).items}
    assert spread(two) == {"a": 1, "b": 1}
    assert not before & after
