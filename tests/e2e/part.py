"""One test's own part of the cluster: a namespace, and nodes that only the pods of this part ask for.

Names in the tests are short: a node `a` of the part is `a.<namespace>` in the cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tests.controlplane import ApiError, ControlPlane, make_node, make_pod
from tests.controlplane.api import Object
from tests.controlplane.cluster import node_condition

SCHEDULER: Final = "berth-e2e"
"""What the pods of these tests name, so that nothing of another folder's runs is touched."""
SECOND_SCHEDULER: Final = "berth-e2e-second"
"""Another name that the same process serves."""
PART: Final = "e2e.example/part"
"""The label that tells the nodes of one part from all others."""

LOW: Final = "e2e-low"
MEEK: Final = "e2e-meek"
MEDIUM: Final = "e2e-medium"
HIGH: Final = "e2e-high"
CRITICAL: Final = "system-cluster-critical"
PRIORITIES: Final = {LOW: 1, MEEK: 10, MEDIUM: 100, HIGH: 1000}
"""Priority classes. Pods of `MEEK` never preempt."""

MARKED: Final = {"marked": "yes"}
"""Pods with this label have to be on nodes with this label, says `POLICY`."""
POLICY: Final = """\
rule marked-nodes for pods where pod.labels["marked"] == "yes" {
  require node.labels["marked"] == "yes"
}
"""

UNSCHEDULABLE: Final = "Unschedulable"
PATIENCE: Final = 30.0


def container(
    requests: Mapping[str, str] | None = None,
    limits: Mapping[str, str] | None = None,
    name: str = "main",
    **fields: Any,
) -> Object:
    """A container; resources that may not be overcommitted need limits, which are then the requests."""
    resources = {"requests": dict(requests or {}), "limits": dict(limits or {})}
    return {"name": name, "image": "example.invalid/none:1", "resources": resources, **fields}


class Part:
    """A namespace and its nodes.

    Attributes:
        plane: The control plane.
        namespace: Its name, which is also the part's label on nodes.
        nodes: The names of its nodes.
    """

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane = plane
        self.namespace = namespace
        self.nodes: list[str] = []
        self._cleanups: list[str] = []
        plane.create_namespace(namespace)

    def close(self) -> None:
        """Take everything away, without waiting for what controllers do in their own time."""
        api = self.plane.api
        self.let_go()
        api.delete(f"/api/v1/namespaces/{self.namespace}")
        api.request("DELETE", f"{self._path}/pods", {"gracePeriodSeconds": 0})
        api.delete_all([*(f"/api/v1/nodes/{self.full(node)}" for node in self.nodes), *self._cleanups])

    # Nodes

    def full(self, node: str) -> str:
        """The name in the cluster of a node of this part."""
        return f"{node}.{self.namespace}"

    def short(self, node: str) -> str:
        """The name in this part of a node of the cluster."""
        return node.removesuffix(f".{self.namespace}")

    @property
    def selector(self) -> dict[str, str]:
        """What a pod's nodeSelector has to say to stay within the part."""
        return {PART: self.namespace}

    def add_nodes(self, nodes: Iterable[str] | Mapping[str, Mapping[str, Any]], **common: Any) -> None:
        """Make nodes that KWOK plays, and wait until they can run pods.

        Args:
            nodes: Their names in this part, perhaps each with what differs, as `make_node` takes it.
            common: What all have, as `make_node` takes it.
        """
        each: Mapping[str, Mapping[str, Any]] = (
            nodes if isinstance(nodes, Mapping) else {name: {} for name in nodes}
        )
        made = []
        for name, options in each.items():
            given = {**common, **options}
            labels = {**self.selector, **common.get("labels", {}), **options.get("labels", {})}
            made.append(make_node(self.full(name), **{**given, "labels": labels, "kwok": True}))
        self.nodes += each
        self.plane.create_nodes(made)

        def ready() -> bool:
            found = self.plane.api.items(f"/api/v1/nodes?labelSelector={PART}={self.namespace}")
            return len(found) == len(self.nodes) and all(
                node_condition(node, "Ready") == "True"
                and not any("not-ready" in taint["key"] for taint in node["spec"].get("taints", ()))
                for node in found
            )

        self.plane.eventually(ready, f"the nodes of {self.namespace} are ready")
        self.until_seen(each)

    def until_seen(self, nodes: Iterable[str], **options: Any) -> None:
        """Wait until the scheduler, too, knows nodes as they are now: a pod is placed on each, and deleted.

        What is told of nodes and what is told of pods reach it in no common order.

        Args:
            nodes: Which.
            options: Of these pods: what they ask for shows that a change was seen, such as of labels.
        """
        cordon = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}
        seen = {}
        for node in nodes:
            taints = self.plane.node(self.full(node))["spec"].get("taints", ())
            tolerations = [{"key": taint["key"], "operator": "Exists"} for taint in taints] + [cordon]
            name = f"witness-{len(self.nodes)}-{node}"
            nothing = {
                "cpu": None,
                "memory": None,
                "tolerations": tolerations,
                "affinity": self.only_on(node),
            }
            seen[self.add_pod(name, **{**nothing, **options})] = node
        for name, node in seen.items():
            assert self.node_of(name) == node
        for name in seen:
            self.delete_pod(name)

    def patch_node(self, node: str, change: Object, subresource: str = "") -> None:
        """Merge a change into a node, or into a subresource such as ``/status``."""
        self.plane.api.patch(f"/api/v1/nodes/{self.full(node)}{subresource}", change)

    def only_on(self, node: str) -> Object:
        """The affinity of a pod for one node by its name, as a DaemonSet's pods have it."""
        name = {"key": "metadata.name", "operator": "In", "values": [self.full(node)]}
        terms = {"nodeSelectorTerms": [{"matchFields": [name]}]}
        return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}

    # Pods

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}"

    def manifest(self, name: str, *, within: bool = True, **options: Any) -> Object:
        """A pod of this part, that asks for nearly nothing unless told.

        Args:
            name: Its name.
            within: Whether its nodeSelector keeps it in this part.
            options: As `make_pod` takes them; `requests` and `limits` are its container's, `finalizers` its own.
        """
        requests, limits = options.pop("requests", None), options.pop("limits", None)
        finalizers = options.pop("finalizers", None)
        if requests or limits:
            options["containers"] = [container(requests, limits)]
        if within:
            options["nodeSelector"] = {**self.selector, **options.get("nodeSelector", {})}
        options = {"scheduler": SCHEDULER, "cpu": "10m", "memory": "1Mi", **options}
        pod = make_pod(name, namespace=self.namespace, **options)
        if finalizers:
            pod["metadata"]["finalizers"] = finalizers
        return pod

    def template(self, labels: Mapping[str, str], **options: Any) -> Object:
        """A pod template of a controller of this part."""
        pod = self.manifest("x", **options)
        return {"metadata": {"labels": dict(labels)}, "spec": pod["spec"]}

    def add_pod(self, name: str, **options: Any) -> str:
        """Make a pod, as `manifest` describes it. Returns its name."""
        self.create("pods", self.manifest(name, **options))
        return name

    def create(self, collection: str, manifest: Object, group: str = "") -> Object:
        """Make an object of this namespace, such as of ``deployments`` in the group ``apps/v1``."""
        root = f"/apis/{group}" if group else "/api/v1"
        return self.plane.api.post(f"{root}/namespaces/{self.namespace}/{collection}", manifest)

    def create_global(self, path: str, manifest: Object) -> Object:
        """Make an object outside of namespaces, which goes when the part does.

        Args:
            path: Of the collection, such as ``/apis/node.k8s.io/v1/runtimeclasses``.
            manifest: The object.
        """
        made = self.plane.api.post(path, manifest)
        self._cleanups.append(f"{path}/{manifest['metadata']['name']}")
        return made

    def workload(
        self,
        kind: str,
        name: str,
        replicas: int | None,
        *,
        group: str = "apps/v1",
        more: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Make a controller of pods with the label ``app: <name>``.

        Args:
            kind: The plural, such as ``replicasets``.
            name: Its name.
            replicas: How many pods, None where the kind does not say.
            group: Of the kind, "" for the core.
            more: More fields of its spec.
            options: Of its pods, as `manifest` takes them.
        """
        labels = {"app": name, **options.pop("labels", {})}
        spec: Object = {
            "selector": {"matchLabels": labels} if group else labels,
            "template": self.template(labels, **options),
            **(more or {}),
        }
        if replicas is not None:
            spec["replicas"] = replicas
        self.create(kind, {"metadata": {"name": name}, "spec": spec}, group)

    def pod(self, name: str) -> Object:
        """Read a pod."""
        return self.plane.pod(name, self.namespace)

    def pods(self, app: str | None = None) -> list[Object]:
        """Read all pods, or those with the label ``app``."""
        query = "" if app is None else f"?labelSelector=app={app}"
        return self.plane.api.items(f"{self._path}/pods{query}")

    def exists(self, name: str) -> bool:
        """Whether there is a pod of this name, terminating or not."""
        try:
            self.pod(name)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def patch_pod(self, name: str, change: Object, subresource: str = "") -> None:
        """Merge a change into a pod, or into a subresource such as ``/status``."""
        self.plane.api.patch(f"{self._path}/pods/{name}{subresource}", change)

    def let_go(self) -> None:
        """Take all finalizers off the pods, so that those that were deleted go."""
        for pod in self.pods():
            if pod["metadata"].get("finalizers"):
                self.patch_pod(pod["metadata"]["name"], {"metadata": {"finalizers": None}})

    def delete_pod(self, name: str) -> None:
        """Delete a pod at once."""
        self.plane.api.delete(f"{self._path}/pods/{name}?gracePeriodSeconds=0")

    # What came of them

    def eventually(self, condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
        """Wait for something."""
        self.plane.eventually(condition, what, timeout)

    def node_of(self, name: str) -> str:
        """Wait until a pod has a node. Returns the node's name in this part."""

        def bound() -> bool:
            return bool(self.pod(name)["spec"].get("nodeName"))

        try:
            self.eventually(bound, f"{name} has a node")
        except TimeoutError as error:
            raise AssertionError(f"{error}; {self.told(name)}") from None
        return self.short(self.pod(name)["spec"]["nodeName"])

    def running(self, *names: str) -> None:
        """Wait until pods run."""
        for name in names:
            self.node_of(name)
            self.eventually(lambda name=name: self._runs(name), f"{name} runs")  # type: ignore[misc]

    def _runs(self, name: str) -> bool:
        return bool(self.pod(name)["status"]["phase"] == "Running")

    def nodes_of(self, app: str, count: int) -> Counter[str]:
        """Wait until so many pods with this label ``app`` have nodes. Returns how many are on each."""

        def found() -> list[str]:
            return [
                self.short(pod["spec"]["nodeName"]) for pod in self.pods(app) if pod["spec"].get("nodeName")
            ]

        try:
            self.eventually(lambda: len(found()) == count, f"{count} pods of {app} have nodes")
        except TimeoutError as error:
            raise AssertionError(
                f"{error}; {[self.told(p['metadata']['name']) for p in self.pods(app)]}"
            ) from None
        return Counter(found())

    def condition(self, name: str, kind: str = "PodScheduled") -> Object:
        """A pod's condition of a type; empty where it has none."""
        conditions = self.pod(name)["status"].get("conditions", ())
        return next((condition for condition in conditions if condition["type"] == kind), {})

    @staticmethod
    def condition_time(pod: Object, kind: str) -> str:
        """When a condition of a pod came to be as it is, "" where it has none of this type."""
        conditions = pod["status"].get("conditions", ())
        return next((str(one["lastTransitionTime"]) for one in conditions if one["type"] == kind), "")

    def told(self, name: str) -> str:
        """What a person sees of a pod that waits."""
        condition = self.condition(name)
        return f"{name}: {condition.get('reason', '')}: {condition.get('message', '')}"

    def refused(self, name: str, saying: str = "") -> str:
        """Wait until a pod is told to be unschedulable, in certain words. Returns all that is said."""

        def told() -> bool:
            condition = self.condition(name)
            return condition.get("reason") == UNSCHEDULABLE and saying in condition["message"]

        try:
            self.eventually(told, f"{name} is unschedulable, saying {saying!r}")
        except TimeoutError as error:
            pod = self.pod(name)
            raise AssertionError(f"{error}; {self.told(name)}; on {pod['spec'].get('nodeName')}") from None
        message: str = self.condition(name)["message"]
        assert "nodeName" not in self.pod(name)["spec"]
        return message

    def events(self, name: str) -> list[Object]:
        """The events about a pod, oldest first."""
        found = self.plane.api.items(f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events")
        mine = [event for event in found if event["regarding"]["name"] == name]
        return sorted(mine, key=lambda event: str(event["eventTime"]))

    def event(self, name: str, reason: str) -> Object:
        """Wait for an event about a pod."""
        self.eventually(
            lambda: any(event["reason"] == reason for event in self.events(name)),
            f"{name} has an event {reason}",
        )
        return next(event for event in self.events(name) if event["reason"] == reason)
