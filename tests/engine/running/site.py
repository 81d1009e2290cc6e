"""An edge site on a real control plane: nodes that KWOK plays, pods that controllers make, delays in a file."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from engine.model.placeholder import FOR_ONE, PLACEHOLDER
from tests.controlplane import ControlPlane, make_node, make_pod
from tests.controlplane.manifests import ZONE
from tests.engine.cli.berth import run
from tests.engine.cluster.real import roles_for_berth
from tests.engine.running.berth import Berth, Start

SCHEDULER = "custom-scheduler"
GATEWAY = "gateway"
"""Takes no pods: it is where the users are."""
DEFAULT = "/api/v1/namespaces/default/pods"
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
PATIENCE = 60.0
_FEW = 20

RULES = """
rule near-source for pods where pod.labels has "delay_*" {
  for each label "delay_{from}" as limit in ms {
    require node.delay(from) <= limit
  }
}
"""
RESERVE = """
reserve backup for pods where pod.labels has "delay_*" {
  survive loss of 1 node
}
"""
NODE_LOSS = """
heal node-loss on node lost for 2s {
  move pods
}
"""

Object = dict[str, Any]


def workload(
    kind: str, name: str, replicas: int, limit: str | None = None, cpu: str = "500m", memory: str = "1Gi"
) -> Object:
    """A Deployment or a StatefulSet; its pods have to be within ``limit`` ms of the gateway."""
    pod = make_pod(name, labels=labels(name, limit), scheduler=SCHEDULER, cpu=cpu, memory=memory)
    spec: Object = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": pod["metadata"]["labels"]}, "spec": pod["spec"]},
    }
    if kind == "StatefulSet":
        spec |= {"serviceName": name, "podManagementPolicy": "Parallel"}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def labels(name: str, limit: str | None = None, origin: str = GATEWAY) -> dict[str, str]:
    return {"app": name} | ({f"delay_{origin}": limit} if limit else {})


def budget(name: str, min_available: int) -> Object:
    spec = {"minAvailable": min_available, "selector": {"matchLabels": {"app": name}}}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def moment(text: str) -> float:
    """Seconds since the epoch of a time as the API server writes it."""
    return datetime.fromisoformat(text).timestamp()


@dataclass
class Life:
    """What was ever seen of a pod.

    Attributes:
        name: Its name.
        app: Its label of that name, else its own.
        nodes: Where it was bound, in turn; more than one would be a fault.
        came: When the watch told of it, on this machine's clock.
        bound: When the watch told that it was bound; None where it never was.
        left: When the watch told that it was asked to leave; None where it never was.
        gone: Whether it is gone.
    """

    name: str
    app: str
    came: float
    nodes: list[str] = field(default_factory=list)
    bound: float | None = None
    left: float | None = None
    gone: bool = False


class Diary:
    """All that a watch tells of the pods of the namespace ``default``, from now on."""

    def __init__(self, plane: ControlPlane) -> None:
        self.lives: dict[str, Life] = {}
        self.twice: list[str] = []
        """Names that two pods had at a time."""
        self._named: dict[str, str] = {}
        self._changed = threading.Condition()
        self._api = plane.api_as(plane.admin_token)
        listed = self._api.get(DEFAULT)
        for pod in listed["items"]:
            self._see("ADDED", pod)
        self._ended = False

        def watch() -> None:
            version = listed["metadata"]["resourceVersion"]
            while not self._ended:  # the server ends a watch whose reader is slow for a moment
                for line in self._api.watch_lines(DEFAULT, version):
                    event = msgspec.json.decode(line)
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._see(event["type"], event["object"])

        self._thread = threading.Thread(target=watch, daemon=True)
        self._thread.start()

    def _see(self, kind: str, pod: Object) -> None:
        metadata = pod["metadata"]
        uid, name, now = metadata["uid"], metadata["name"], time.time()
        app = metadata.get("labels", {}).get("app", name)
        if kind == "ADDED":
            if self._named.get(name, uid) != uid:
                self.twice.append(name)
            self._named[name] = uid
        life = self.lives.setdefault(uid, Life(name, app, now))
        node = pod["spec"].get("nodeName")
        if node and node not in life.nodes:
            life.nodes.append(node)
            life.bound = now
            with self._changed:
                self._changed.notify_all()
        if life.left is None and "deletionTimestamp" in metadata:
            life.left = now
        if kind == "DELETED":
            life.gone = True
            if self._named.get(name) == uid:
                del self._named[name]

    def made(self, app: str) -> int:
        """How many pods of a workload there ever were."""
        return sum(life.app == app for life in list(self.lives.values()))

    def bound(self) -> int:
        """How many pods were ever bound."""
        return sum(life.bound is not None for life in list(self.lives.values()))

    def await_bound(self, count: int, timeout: float = PATIENCE) -> None:
        """Wait until so many pods were bound, and return with the binding that makes them so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.bound() >= count, timeout), (
                f"{self.bound()} of {count}"
            )

    def bound_twice(self) -> list[str]:
        return [life.name for life in self.lives.values() if len(life.nodes) > 1]

    def end(self) -> None:
        self._ended = True
        self._api.close()
        self._thread.join(10)


class Site:
    """The site, and the scheduler that runs at the moment.

    Args:
        plane: With controllers and KWOK, and empty.
        start: Starts a scheduler.
        milliseconds: Node → delay from and to the gateway; between few other nodes it is 50, between many unmeasured.
        policies: What is in force.
        cpu: Of each node.
        memory: Of each node.
        places: Pods that each node has room for.
    """

    def __init__(
        self,
        plane: ControlPlane,
        start: Start,
        folder: Path,
        policies: str,
        milliseconds: Mapping[str, float],
        cpu: str = "4",
        memory: str = "8Gi",
        places: str = "110",
    ) -> None:
        self.plane = plane
        self._start = start
        self._folder = folder
        self._policies = policies
        self.milliseconds = dict(milliseconds)
        self.names = sorted(milliseconds)
        self.diary = Diary(plane)
        plane.apply(roles_for_berth())
        nodes = [
            make_node(name, cpu=cpu, memory=memory, pods=places, labels={ZONE: f"zone-{at // 2}"}, kwok=True)
            for at, name in enumerate(self.names)
        ]
        taint = {"key": "example.com/gateway", "effect": "NoSchedule"}
        nodes.append(make_node(GATEWAY, cpu="1", memory="1Gi", taints=[taint], kwok=True))
        plane.create_nodes(nodes)
        plane.await_nodes([*self.names, GATEWAY], "True")
        self.berth = self.begin()

    def begin(self) -> Berth:
        """Start the scheduler, as after a kill."""
        self.berth = self._start(
            self.plane,
            kubeconfig=self.plane.berth_kubeconfig,
            policies=self._policies,
            delays=self._delays(),
            settings={"delays": {"glance": "200ms", "period": "1s"}},
        )
        return self.berth

    def _delays(self) -> str:
        few = self.names if len(self.names) <= _FEW else []
        far = [f"{one},{other},50" for at, one in enumerate(few) for other in few[at + 1 :]]
        near = [f"{GATEWAY},{name},{value:g}" for name, value in self.milliseconds.items()]
        return "\n".join(["from,to,ms", *near, *far, ""])

    def write_delays(self, **milliseconds: float) -> None:
        """Other delays from the gateway; the others stay. Whoever reads the file never finds half of it."""
        self.milliseconds |= milliseconds
        fresh = self.berth.delays.with_suffix(".fresh")
        fresh.write_text(self._delays())
        fresh.replace(self.berth.delays)

    def age(self, app: str, seconds: float = 3600.0) -> None:
        """Have pods seem to have started so long ago: those that started just now are left in peace."""
        started = datetime.fromtimestamp(time.time() - seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for pod in self.pods(app):
            self.plane.api.patch(
                f"{DEFAULT}/{pod['metadata']['name']}/status", {"status": {"startTime": started}}
            )

    # What there is

    def pods(self, app: str = "") -> list[Object]:
        """The pods that are not on their way out, by name."""
        return sorted(
            (
                pod
                for pod in self.plane.pods("default")
                if "deletionTimestamp" not in pod["metadata"]
                and pod["status"].get("phase") not in ("Failed", "Succeeded")
                and app in ("", pod["metadata"]["name"], pod["metadata"].get("labels", {}).get("app"))
            ),
            key=lambda pod: str(pod["metadata"]["name"]),
        )

    def nodes_of(self, app: str) -> list[str]:
        """The nodes of its pods, sorted; "" for one that has none."""
        return sorted(str(pod["spec"].get("nodeName", "")) for pod in self.pods(app))

    def uids(self, app: str = "", node: str | None = None) -> set[str]:
        return {
            pod["metadata"]["uid"]
            for pod in self.pods(app)
            if node is None or pod["spec"].get("nodeName") == node
        }

    def events(self, reason: str) -> list[str]:
        """``NAME: NOTE`` of the events of a reason, on pods and nodes."""
        events = self.plane.api.items("/apis/events.k8s.io/v1/events")
        return [f"{one['regarding']['name']}: {one['note']}" for one in events if one["reason"] == reason]

    def placeholders(self) -> list[Object]:
        return [
            pod
            for pod in self.plane.pods("kube-system")
            if PLACEHOLDER in pod["metadata"].get("labels", {}) and "deletionTimestamp" not in pod["metadata"]
        ]

    def wrong(self, counts: Mapping[str, int], lost: Iterable[str] = ()) -> list[str]:
        """What of these workloads is not as it has to be: as many, all placed, within their limits, on good nodes."""
        pods = [pod for pod in self.pods() if pod["metadata"].get("labels", {}).get("app") in counts]
        there = Counter(pod["metadata"].get("labels", {}).get("app", "") for pod in pods)
        found = [f"{app}: {there[app]} of {count}" for app, count in counts.items() if there[app] != count]
        bad = set(lost)
        for pod in pods:
            name, node = pod["metadata"]["name"], pod["spec"].get("nodeName")
            limit = pod["metadata"]["labels"].get(f"delay_{GATEWAY}")
            if node is None:
                found.append(f"{name}: on no node")
            elif node in bad:
                found.append(f"{name}: on {node}, which is lost")
            elif limit is not None and self.milliseconds[node] > float(limit):
                found.append(f"{name}: on {node}, which is beyond its limit")
        return found

    def await_right(
        self, counts: Mapping[str, int], lost: Iterable[str] = (), timeout: float = PATIENCE
    ) -> None:
        """Wait until nothing is wrong."""
        bad = list(lost)
        self._await(lambda: self.wrong(counts, bad), "everything is where it has to be", timeout)

    def await_held(self, timeout: float = PATIENCE) -> None:
        """Wait until placeholders hold as much as the scheduler plans, and nothing is left over."""
        self._await(self.unheld, "room is held as planned", timeout)

    def unheld(self) -> list[str]:
        """What of the placeholders is not as planned."""
        held = self.placeholders()
        found = [
            f"{pod['metadata']['name']} carries a pod"
            for pod in held
            if pod["metadata"]["labels"][PLACEHOLDER] == FOR_ONE
        ]
        memory = sum(
            int(pod["spec"]["containers"][0]["resources"].get("requests", {}).get("memory", "0"))
            for pod in held
        )
        planned = self.berth.metric("berth_reserve_memory_bytes")
        if memory != planned:
            found.append(f"{memory} bytes are held, {planned:.0f} are planned")
        return found

    def check_reserve(self, timeout: float = PATIENCE) -> None:
        """Wait until it is proven that what is held is enough for any loss; it is as much as the scheduler plans.

        Plans that change meanwhile may be as large as before and lie elsewhere, which is written a little later.
        """
        live = ["--kubeconfig", str(self.plane.kubeconfig), "--policies", str(self.berth.policies)]
        live += ["--delays", str(self.berth.delays), "--format", "json"]

        def unproven() -> list[str]:
            proof = run(["reserve", "check", *live], self._folder)
            [told] = json.loads(run(["reserve", *live], self._folder).stdout)["reserves"]
            pods = told["pods"]
            found = [] if proof.exit_code == 0 else [proof.output]
            found += [] if pods["covered"] and not pods["uncovered"] else [f"uncovered: {pods}"]
            if told["held"]["memory"] != self.berth.metric("berth_reserve_memory_bytes"):
                found.append(f"held: {told['held']}")
            return [*found, *self.unheld()]

        self._await(unproven, "what is held is proven to be enough", timeout)

    def _await(self, wrong: Callable[[], Sequence[str]], what: str, timeout: float) -> None:
        last: Sequence[str] = ()

        def right() -> bool:
            nonlocal last
            last = wrong()
            return not last

        try:
            self.plane.eventually(right, what, timeout)
        except TimeoutError as error:
            raise AssertionError(f"{error}: {'; '.join(last)}") from error

    def declared(self, node: str) -> float:
        """Since when a node is silent, as the API server has it: in whole seconds, rounded down."""
        conditions = self.plane.node(node)["status"]["conditions"]
        ready = next(one for one in conditions if one["type"] == "Ready")
        assert ready["status"] != "True"
        return moment(ready["lastTransitionTime"])

    def bound(self, app: str, before: Iterable[str] = ()) -> list[float]:
        """When its pods were bound that are not among those before, as the API server has it: rounded down, too."""
        known = set(before)
        found = []
        for pod in self.pods(app):
            conditions = pod["status"]["conditions"]
            scheduled = next(one for one in conditions if one["type"] == "PodScheduled")
            assert scheduled["status"] == "True"
            if pod["metadata"]["uid"] not in known:
                found.append(moment(scheduled["lastTransitionTime"]))
        return found
