"""What a test does with the objects in a control plane: make, bind, read, break and delete them."""

from __future__ import annotations

import os
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import yaml

from tests.controlplane.api import Api, ApiError, Object
from tests.controlplane.manifests import ZONE
from tests.controlplane.processes import ProcessError

_COLLECTIONS = (
    # Owners before what they own, or their controllers would make it anew.
    "apis/batch/v1/namespaces/{}/cronjobs",
    "apis/batch/v1/namespaces/{}/jobs",
    "apis/apps/v1/namespaces/{}/deployments",
    "apis/apps/v1/namespaces/{}/statefulsets",
    "apis/apps/v1/namespaces/{}/daemonsets",
    "apis/apps/v1/namespaces/{}/replicasets",
    "api/v1/namespaces/{}/replicationcontrollers",
    "apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "api/v1/namespaces/{}/pods",
    "api/v1/namespaces/{}/persistentvolumeclaims",
    "apis/events.k8s.io/v1/namespaces/{}/events",
)
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
"""By which nodes show that they live."""
_SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


class Cluster:
    """The objects of a running control plane; `ControlPlane` is one that also starts and stops it.

    Attributes:
        folder: where kubectl finds its home.
        kubeconfig: of an administrator.
        api: requests as the administrator.
        controlled: whether a controller-manager runs.
        node_grace_seconds: how long after a node's last heartbeat it is held to be dead.
    """

    folder: Path
    kubeconfig: Path
    api: Api
    controlled: bool
    node_grace_seconds: int
    _programs: dict[str, Path]

    def check(self) -> None:
        """Raises an error if something that should run does not."""

    def kubectl(self, *arguments: str | Path, standard_input: str | None = None) -> str:
        """Runs kubectl as the administrator and returns what it prints.

        Raises:
            ProcessError: if it fails; the message has what it said.
        """
        command = [self._programs["kubectl"], f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(
            [str(part) for part in command],
            input=standard_input,
            stdin=subprocess.DEVNULL if standard_input is None else None,
            env={**os.environ, "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            words = " ".join(str(argument) for argument in arguments)
            raise ProcessError(f"kubectl {words} ended with status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, manifests: str | Path | Iterable[Object]) -> str:
        """Applies manifests and returns what kubectl prints.

        Args:
            manifests: the YAML itself (indented as a whole, perhaps), the path of a file or folder, or objects.

        Raises:
            ProcessError: if kubectl fails.
        """
        if isinstance(manifests, Path):
            return self.kubectl("apply", "-f", manifests)
        text = textwrap.dedent(manifests) if isinstance(manifests, str) else yaml.safe_dump_all(manifests)
        return self.kubectl("apply", "-f", "-", standard_input=text)

    def create_nodes(self, nodes: Iterable[Object]) -> None:
        """Makes nodes, their status included, over several connections: 5,000 take about ten seconds."""
        self.api.create_all("/api/v1/nodes", nodes)

    def create_pods(self, pods: Iterable[Object]) -> None:
        """Makes pods over several connections."""
        self.api.create_all(lambda pod: f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods", pods)

    def create_namespace(self, name: str) -> None:
        """Makes a namespace and waits until pods can be made in it."""
        self.api.post("/api/v1/namespaces", {"metadata": {"name": name}})
        if self.controlled:
            self.eventually(
                lambda: self._has_service_account(name), f"namespace {name} has its service account"
            )

    def _has_service_account(self, namespace: str) -> bool:
        try:
            self.api.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def bind(self, name: str, node: str, namespace: str = "default") -> None:
        """Binds a pod to a node through the API, as a scheduler does."""
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        self.api.post(f"/api/v1/namespaces/{namespace}/pods/{name}/binding", body)

    def pod(self, name: str, namespace: str = "default") -> Object:
        """Reads a pod."""
        return self.api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")

    def pods(self, namespace: str | None = None) -> list[Object]:
        """Reads all pods, or those of a namespace."""
        return self.api.items(f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods")

    def node(self, name: str) -> Object:
        """Reads a node."""
        return self.api.get(f"/api/v1/nodes/{name}")

    def crash_node(self, name: str) -> None:
        """Lets a node of KWOK's die: its heartbeats end, and after the grace time it is marked as unknown.

        Its lease is given to nobody for long, as KWOK plays only nodes whose lease it holds. (Taking the annotation
        away would not do: KWOK 0.8 overlooks that, `newCacheInformer` in its pkg/utils/informer.)
        """
        self._hand_over_lease(name, holder="crashed", seconds=10**9)

    def restore_node(self, name: str) -> None:
        """Lets a crashed node come back: within seconds KWOK takes its lease, ends pods that are to go, makes it Ready.

        KWOK looks through a node's pods once it has written that the lease is its own. Where its watch has not told it
        so by then, it takes itself for nobody who may end them, and never looks again (0.8, `onNodeManaged` and
        `Held` in its pkg/kwok/controllers). So they are changed until it does.
        """
        self._hand_over_lease(name, holder=None, seconds=self.node_grace_seconds)
        self.eventually(
            lambda: bool(self.api.get(f"{LEASES}/{name}")["spec"].get("holderIdentity")),
            f"KWOK has the lease of {name}",
        )
        self.eventually(lambda: self._ended(name), f"the pods that {name} is to end are gone")

    def _ended(self, node: str) -> bool:
        pods = self.api.items(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}")
        leaving = [pod["metadata"] for pod in pods if "deletionTimestamp" in pod["metadata"]]
        for one in leaving:
            change = {"metadata": {"annotations": {"controlplane.example/looked-at": str(time.monotonic())}}}
            try:
                self.api.patch(f"/api/v1/namespaces/{one['namespace']}/pods/{one['name']}", change)
            except ApiError as error:
                if error.status != 404:
                    raise
        return not leaving

    def _hand_over_lease(self, node: str, holder: str | None, seconds: int) -> None:
        change = {"spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds}}
        self.api.patch(f"{LEASES}/{node}", change)

    def zone(self, name: str) -> list[str]:
        """Returns the names of the nodes of a zone, sorted."""
        nodes = self.api.items(f"/api/v1/nodes?labelSelector={ZONE}%3D{name}")
        return sorted(node["metadata"]["name"] for node in nodes)

    def cut_zone(self, name: str) -> list[str]:
        """Lets all nodes of a zone fall silent at once, and returns their names; `restore_zone` undoes it.

        To the API server a link that is cut and nodes that die look alike, so this is either.
        """
        nodes = self.zone(name)
        self._at_once(self.crash_node, nodes)
        return nodes

    def restore_zone(self, name: str) -> list[str]:
        """Lets all nodes of a zone come back, and returns their names."""
        nodes = self.zone(name)
        self._at_once(self.restore_node, nodes)
        return nodes

    @staticmethod
    def _at_once(do: Callable[[str], None], names: Iterable[str]) -> None:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(do, names))

    def await_nodes(self, names: Iterable[str], ready: str, timeout: float = 60.0) -> None:
        """Waits until the Ready condition of all nodes is of a status: ``True``, ``False`` or ``Unknown``.

        A node that is ``True`` is also waited for to lose the taints that it had while it was not.
        """
        wanted = set(names)

        def so() -> bool:
            found = [node for node in self.api.items("/api/v1/nodes") if node["metadata"]["name"] in wanted]
            good = [node for node in found if node_condition(node, "Ready") == ready]
            if ready == "True":
                good = [node for node in good if not _silent_taints(node)]
            return len(good) == len(wanted)

        self.eventually(so, f"the nodes {', '.join(sorted(wanted))} are {ready}", timeout)

    def mark_node(self, name: str, ready: str) -> None:
        """Writes the Ready condition of a node that nobody plays, with this moment as its transition's.

        It is as fast as a request, where `crash_node` takes the grace time; a controller-manager may write it again.
        """
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
        condition = {"type": "Ready", "status": ready, "reason": "MadeByHand", **times}
        self.api.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": [condition]}})

    def cordon(self, name: str, unschedulable: bool = True) -> None:
        """Closes a node to new pods, or opens it again."""
        self.api.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": unschedulable or None}})

    def drain(self, name: str, timeout: int = 60) -> str:
        """Drains a node as an administrator does, pods without a controller too, and returns what kubectl prints.

        Args:
            name: the node's.
            timeout: seconds; a budget may never let a pod go.

        Raises:
            ProcessError: if pods are left after that time.
        """
        options = ("--ignore-daemonsets", "--force", "--delete-emptydir-data", f"--timeout={timeout}s")
        return self.kubectl("drain", name, *options)

    def delete_node(self, name: str) -> None:
        """Takes a node away for good, as a cloud's controller does when its machine is gone."""
        self.api.delete(f"/api/v1/nodes/{name}")

    def delete_pods(self, namespace: str = "default") -> None:
        """Deletes the pods and events of a namespace at once, without grace."""
        options = {"gracePeriodSeconds": 0}
        self.api.request("DELETE", f"/api/v1/namespaces/{namespace}/pods", options)
        self.api.request("DELETE", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events", options)

    def reset(self, timeout: float = 60.0) -> None:
        """Deletes all workloads, pods, nodes, events and priority classes, and waits until they are gone.

        Namespaces stay where no controller-manager runs, as nobody would finish deleting them; what is in them goes.

        Args:
            timeout: seconds to wait at most.

        Raises:
            TimeoutError: if something does not go away.
        """
        spaces = [space["metadata"]["name"] for space in self.api.items("/api/v1/namespaces")]
        for space in spaces:
            for collection in _COLLECTIONS:
                options = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
                self.api.request("DELETE", "/" + collection.format(space), options)
        self.api.delete("/api/v1/nodes")
        for priority in self.api.items("/apis/scheduling.k8s.io/v1/priorityclasses"):
            if not priority["metadata"]["name"].startswith("system-"):
                self.api.delete(f"/apis/scheduling.k8s.io/v1/priorityclasses/{priority['metadata']['name']}")
        others = [space for space in spaces if space not in _SYSTEM_NAMESPACES]
        if self.controlled:
            self.api.delete_all(f"/api/v1/namespaces/{space}" for space in others)

        def gone() -> bool:
            if self.controlled and len(self.api.items("/api/v1/namespaces")) > len(_SYSTEM_NAMESPACES):
                return False
            # Pods that a controller made while its owner was being deleted.
            for pod in self.pods():
                space, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
                self.api.delete_all([f"/api/v1/namespaces/{space}/pods/{name}?gracePeriodSeconds=0"])
            return not self.pods() and not self.api.items("/api/v1/nodes")

        self.eventually(gone, "everything is deleted", timeout)

    def eventually(self, condition: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
        """Waits until a condition holds, asking about ten times a second.

        Args:
            condition: what to wait for.
            what: the condition in words, for the message.
            timeout: seconds to wait at most.

        Raises:
            TimeoutError: if it does not come to hold.
            ProcessError: if meanwhile one of the programs ends.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"after {timeout:.0f} s it is still not so that {what}; logs: {self.folder / 'logs'}"
                )
            time.sleep(0.1)


def node_condition(node: Object, kind: str) -> str:
    """Returns the status of a node's condition, such as ``True`` for ``Ready``; ``absent`` if it has no such one."""
    conditions = node["status"].get("conditions", [])
    return next((str(c["status"]) for c in conditions if c["type"] == kind), "absent")


def _silent_taints(node: Object) -> list[str]:
    """Returns the taints of a node that was not heard of, by their keys."""
    keys = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    return [taint["key"] for taint in node["spec"].get("taints", []) if taint["key"] in keys]
