"""Manifests: what they read to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.manifests import ManifestError, parse, read
from engine.manifests.objects import (
    DaemonSet,
    Deployment,
    FullPodSpec,
    Job,
    Namespace,
    PodDisruptionBudget,
    PriorityClass,
    ReplicaSet,
    StatefulSet,
    TimedToleration,
)
from engine.model.objects import Node, Pod

# Asks the same as the prototype's demo: a delay from a node as a label, memory only, its scheduler's name.
DELAYED = """\
kind: Deployment
apiVersion: apps/v1
metadata: {name: camera-feed}
spec:
  replicas: 1
  selector: {matchLabels: {app: feed}}
  template:
    metadata:
      name: feed
      labels: {app: feed, delay_edge-1: "25"}
    spec:
      schedulerName: custom-scheduler
      containers:
        - name: main
          image: registry.example/tools:1
          command: [/sbin/init]
          resources: {limits: {memory: 6Gi}, requests: {memory: 6Gi}}
"""

# The scheduler itself, with its account and role: only the Deployment makes pods.
SCHEDULER = """\
apiVersion: v1
kind: ServiceAccount
metadata: {name: second, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: second-is-a-scheduler}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:kube-scheduler"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: second, namespace: kube-system, labels: {tier: control-plane}}
spec:
  selector: {matchLabels: {tier: control-plane}}
  template:
    metadata: {labels: {tier: control-plane}}
    spec:
      nodeSelector: {kubernetes.io/hostname: master}
      containers:
        - {name: main, image: x, resources: {requests: {cpu: '0.1'}}, volumeMounts: [], securityContext: {}}
      volumes: []
"""

TEMPLATE = """\
  selector: {matchLabels: {app: a}}
  template: {metadata: {labels: {app: a}}, spec: {containers: [{name: c}]}}
"""
APPS = "apiVersion: apps/v1\nkind: %s\nmetadata: {name: x}\nspec:\n" + TEMPLATE


def one(text: str) -> object:
    (item,) = parse(text, "x.yaml").items
    return item.object


def test_the_prototypes_kind_of_deployment() -> None:
    (item,) = parse(DELAYED, "demo/feed.yaml").items
    assert (item.kind, item.place) == ("Deployment", "demo/feed.yaml:1")
    made = item.object
    assert isinstance(made, Deployment)
    assert (made.metadata.name, made.metadata.namespace, made.spec.replicas) == ("camera-feed", "default", 1)
    template = made.spec.template
    assert template.metadata.labels == {"app": "feed", "delay_edge-1": "25"}
    assert template.spec.scheduler_name == "custom-scheduler"
    (container,) = template.spec.containers or ()
    assert container.resources is not None
    assert container.resources.requests == container.resources.limits == {"memory": "6Gi"}


def test_kinds_that_place_no_pod_are_named() -> None:
    found = parse(SCHEDULER, "s.yaml")
    assert [item.place for item in found.items] == ["s.yaml:10"]
    assert [str(skipped) for skipped in found.skipped] == [
        "s.yaml:1: ServiceAccount second: left out, as it places no pod",
        "s.yaml:5: ClusterRoleBinding second-is-a-scheduler: left out, as it places no pod",
    ]


def test_kinds_of_extensions_are_named() -> None:
    (skipped,) = parse("apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n", "w.yaml").skipped
    assert str(skipped) == "w.yaml:1: Widget w: left out, as it is not a kind of Kubernetes"


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: c}]}\n", Pod),
        ("apiVersion: v1\nkind: Node\nmetadata: {name: x}\n", Node),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n", Namespace),
        (APPS % "Deployment", Deployment),
        (APPS % "ReplicaSet", ReplicaSet),
        (APPS % "StatefulSet", StatefulSet),
        (APPS % "DaemonSet", DaemonSet),
        (
            "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\n"
            "spec: {template: {spec: {restartPolicy: Never, containers: [{name: c}]}}}\n",
            Job,
        ),
        (
            "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: x}\n"
            "spec: {minAvailable: 50%, selector: {matchLabels: {app: a}}}\n",
            PodDisruptionBudget,
        ),
        (
            "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: x}\nvalue: 5\n",
            PriorityClass,
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_every_kind(text: str, type_: type) -> None:
    made = one(text)
    assert type(made) is type_
    assert made.metadata.name == "x"  # type: ignore[attr-defined]


def test_a_pod_keeps_what_only_a_cluster_reads() -> None:
    made = one(
        """\
apiVersion: v1
kind: Pod
metadata: {name: x, creationTimestamp: null}
spec:
  containers: [{name: c, resources: {requests: {cpu: 0.5, memory: 1e9, example.com/gpu: 2}}}]
  tolerations: [{key: k, operator: Exists, effect: NoExecute, tolerationSeconds: 7}]
  priorityClassName: system-node-critical
  restartPolicy: OnFailure
  terminationGracePeriodSeconds: 0
  nodeSelector:
"""
    )
    assert isinstance(made, Pod)
    assert made.metadata.creation_timestamp is None
    spec = made.spec
    assert isinstance(spec, FullPodSpec)
    assert spec.node_selector is None
    assert spec.tolerations == (TimedToleration("k", "Exists", "", "NoExecute", 7),)
    assert (spec.priority_class_name, spec.restart_policy, spec.termination_grace_period_seconds) == (
        "system-node-critical",
        "OnFailure",
        0,
    )
    (container,) = spec.containers or ()
    assert container.resources is not None
    assert container.resources.requests == {"cpu": 0.5, "memory": 1e9, "example.com/gpu": 2}


def test_a_node_that_tells_its_capacity_offers_it() -> None:
    made = one("apiVersion: v1\nkind: Node\nmetadata: {name: x}\nstatus: {capacity: {cpu: 4, memory: 8Gi}}\n")
    assert isinstance(made, Node)
    assert made.status.allocatable == {"cpu": 4, "memory": "8Gi"}


# As `kubectl get nodes -o json` writes it, shortened.
NODES: dict[str, object] = {
    "apiVersion": "v1",
    "kind": "List",
    "metadata": {"resourceVersion": ""},
    "items": [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "uid": f"uid-{name}",
                "resourceVersion": "77",
                "creationTimestamp": "2025-06-01T10:00:00Z",
                "labels": {"kubernetes.io/hostname": name, "kubernetes.io/role": "cloud"},
                "managedFields": [{"manager": "kubelet"}],
            },
            "spec": {"podCIDR": "10.0.0.0/24", "taints": None},
            "status": {
                "allocatable": {"cpu": "4", "memory": "8037Mi", "pods": "110"},
                "capacity": {"cpu": "4", "memory": "8137Mi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
                "nodeInfo": {"kubeletVersion": "v1.36.3"},
            },
        }
        for name in ("n1", "n2")
    ],
}


@pytest.mark.parametrize("form", ["List", "NodeList", "array", "large"])
def test_lists_of_nodes_as_kubectl_writes_them(tmp_path: Path, form: str) -> None:
    dump = json.loads(json.dumps(NODES))
    if form == "NodeList":
        dump["kind"] = "NodeList"
        for item in dump["items"]:  # A list of the API itself leaves these to the list.
            del item["kind"], item["apiVersion"]
    elif form == "array":
        dump = dump["items"]
    elif form == "large":
        dump["items"][0]["metadata"]["annotations"] = {"filler": "x" * 250_000}
    file = tmp_path / "nodes.json"
    file.write_text(json.dumps(dump))
    found = read([file])
    assert [item.object.metadata.name for item in found.items] == ["n1", "n2"]
    node = found.items[0].object
    assert isinstance(node, Node)
    assert node.ready
    assert node.metadata.uid == "uid-n1"
    assert node.status.allocatable == {"cpu": "4", "memory": "8037Mi", "pods": "110"}


def test_mistakes_in_large_json_have_their_line_too(tmp_path: Path) -> None:
    dump = json.loads(json.dumps(NODES))
    dump["items"][0]["metadata"]["annotations"] = {"filler": "x" * 250_000}
    dump["items"][1]["status"]["allocatable"]["cpu"] = "four"
    file = tmp_path / "nodes.json"
    text = json.dumps(dump, indent=2)
    file.write_text(text)
    line = 1 + text[: text.index('"cpu": "four"')].count("\n")
    with pytest.raises(ManifestError) as caught:
        read([file])
    (problem,) = caught.value.problems
    assert (problem.line, problem.path) == (line, "items[1].status.allocatable.cpu")


def test_folders_are_read_in_order_and_not_below(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yaml", "c.json", "notes.txt"):
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name[0]}}
        (tmp_path / name).write_text(json.dumps(node))
    below = tmp_path / "below"
    below.mkdir()
    (below / "d.yaml").write_text("not: read")
    assert [item.object.metadata.name for item in read([tmp_path]).items] == ["a", "b", "c"]


def test_nothing_is_kept_of_one_file_when_another_is_bad(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(DELAYED)
    bad.write_text("kind: Pod\n  nonsense: [\n")
    empty, latin = tmp_path / "empty.yaml", tmp_path / "latin.yaml"
    empty.write_text("# nothing\n---\n")
    latin.write_bytes(b"a: b\nc: \xe9\n")
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    with pytest.raises(ManifestError) as caught:
        read([good, bad, empty, latin, nothing, tmp_path / "gone.yaml"])
    assert str(caught.value).replace(f"{tmp_path}/", "") == "\n".join(
        [
            "bad.yaml:2: a colon where no key may stand; check the indentation, or quote the text",
            "empty.yaml: holds no object; check the path",
            "latin.yaml:2: not UTF-8; save the file as UTF-8 text",
            "nothing: no manifests in this folder; they end in .yaml, .yml, .json",
            "gone.yaml: no such file or directory; check the path",
        ]
    )


def test_an_object_that_stands_twice_names_both_places(tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_text(DELAYED)
    (tmp_path / "2.yaml").write_text("---\n" + DELAYED)
    with pytest.raises(ManifestError) as caught:
        read([tmp_path])
    assert str(caught.value).replace(f"{tmp_path}/", "") == (
        "2.yaml:4: metadata.name: Deployment default/camera-feed stands already at 1.yaml:3; "
        "rename one or leave one out"
    )
