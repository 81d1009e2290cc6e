"""Random devices for the pods of a random cluster: pools that are whole or not, and claims that can be had or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from engine.model.objects import Node
from tests.controlplane.api import Object
from tests.integration.generated_storage import FINALIZERS, HOSTNAME, ZONE, Made

DEVICES: Final = "/apis/resource.k8s.io/v1"
GPU: Final = "gpu.example.com"
NIC: Final = "nic.example.com"
ADMIN: Final = "resource.kubernetes.io/admin-access"
"""A label of namespaces: claims in them may look after devices that others have."""
MOST_USERS: Final = 256

_OWN: Final = 'device.attributes["gpu.example.com"]'
_SIZE: Final = 'device.capacity["gpu.example.com"].memory'
_EXPRESSIONS: Final = (
    f'{_OWN}.model == "a"',
    f'{_OWN}.model == "b"',
    f'{_OWN}.model in ["a", "c"]',
    f"{_OWN}.index >= 1",
    f"{_OWN}.fast",
    f"!{_OWN}.fast && {_OWN}.numa == 0",
    f"has({_OWN}.rare) && {_OWN}.rare",
    f'{_SIZE}.compareTo(quantity("20Gi")) >= 0',
    f'{_SIZE}.isLessThan(quantity("15Gi")) || {_OWN}.index == 2',
    f'{_OWN}.v.isGreaterThan(semver("1.9.0"))',
    "device.allowMultipleAllocations == false",
    f'cel.bind(it, {_OWN}, it.index < 2 && it.model.startsWith("a"))',
)
_ODD: Final = f"{_OWN}.rare"
"""Fails where a device does not have it: then kube-scheduler gives the pod up, wherever else it could go."""
_TAINT: Final = {"key": "example.com/ill", "value": "yes"}


def standing_devices() -> list[Made]:
    """What all clusters share: kube-scheduler knows of it before the first."""

    def device_class(name: str, *expressions: str) -> Made:
        selectors = [{"cel": {"expression": one}} for one in expressions]
        body = {"metadata": {"name": name}, "spec": {"selectors": selectors}}
        return Made(f"{DEVICES}/deviceclasses", body)

    return [
        device_class("gpu", f'device.driver == "{GPU}"'),
        device_class("fast-gpu", f'device.driver == "{GPU}"', f"{_OWN}.fast"),
        device_class("nic", f'device.driver == "{NIC}"'),
        device_class("any"),
    ]


@dataclass
class Devices:
    """The devices of one cluster, and the claims that its pods ask for.

    Attributes:
        random: Where chance comes from.
        seed: The cluster's; in all names.
        nodes: The cluster's.
        made: In the order in which it has to be made.
        to_own: The claims to be made as those of a pod that is there, by its name for them.
        unsaid: Pods of which kube-scheduler says nothing, as it does not even try them.
    """

    random: Random
    seed: int
    nodes: Sequence[Node]
    made: list[Made] = field(default_factory=list)
    to_own: dict[str, dict[str, Made]] = field(default_factory=dict)
    unsaid: set[str] = field(default_factory=set)
    _claims: dict[str, list[str]] = field(default_factory=dict)
    _given: list[tuple[str, str, str, str]] = field(default_factory=list)
    _count: int = 0

    # Devices

    def surroundings(self) -> None:
        """All devices."""
        for node in self.nodes:
            kind = self.random.choices(("none", "whole", "parts"), (1, 6, 1.5))[0]
            if kind == "whole":
                self._pool(node.name)
            elif kind == "parts":
                self._parted(node.name)
        if self.random.random() < 0.6:
            self._network()
        for _ in range(self.random.choice((0, 1, 1, 2))):
            self._holder()

    def _pool(self, node: str) -> None:
        """The devices of a node, in one slice or two, of which one may not be there yet or be out of date."""
        random = self.random
        devices = [self._device(number) for number in range(random.randint(0, 5))]
        split = random.randint(0, len(devices)) if random.random() < 0.3 else None
        parts = [devices] if split is None else [devices[:split], devices[split:]]
        missing, old = random.random() < 0.06, random.random() < 0.1
        generation = 2 if old else 1
        for part in parts:
            self._slice(GPU, node, part, generation, len(parts) + missing, nodeName=node)
        if old:
            self._slice(GPU, node, [self._device(9)], 1, 1, nodeName=node)
        if not missing:
            self._given += [(GPU, node, one["name"], node) for one in devices]

    def _device(self, number: int) -> Object:
        random = self.random
        attributes: Object = {
            "model": {"string": random.choice("aabbc")},
            "index": {"int": number},
            "numa": {"int": random.choice((0, 1))},
            "fast": {"bool": random.random() < 0.5},
            "v": {"version": random.choice(("1.8.2", "1.10.0", "2.0.0"))},
        }
        if random.random() < 0.6:
            attributes["rare"] = {"bool": random.random() < 0.6}
        made: Object = {
            "name": f"gpu-{number}",
            "attributes": attributes,
            "capacity": {"memory": {"value": random.choice(("10Gi", "20Gi", "40Gi"))}},
        }
        if random.random() < 0.2:
            effect = random.choice(("NoSchedule", "NoSchedule", "NoExecute", "None"))
            made["taints"] = [{**_TAINT, "effect": effect}]
        return made

    def _parted(self, node: str) -> None:
        """A device of which whole or parts can be had, which share its memory."""
        consumed = {"whole": "40Gi", "half-0": "20Gi", "half-1": "20Gi", "quarter": "10Gi"}
        devices = []
        for number, (name, memory) in enumerate(consumed.items()):
            consumes = [{"counterSet": "card", "counters": {"memory": {"value": memory}}}]
            devices.append({**self._device(number), "name": name, "consumesCounters": consumes})
        self._slice(GPU, node, devices, 1, 2, nodeName=node)
        total = self.random.choice(("40Gi", "40Gi", "30Gi"))
        counters = [{"name": "card", "counters": {"memory": {"value": total}}}]
        self._slice(GPU, node, None, 1, 2, nodeName=node, sharedCounters=counters)
        self._given.append((GPU, node, self.random.choice(("half-0", "quarter")), node))

    def _network(self) -> None:
        """Devices that several nodes reach."""
        random = self.random
        ports = [
            {"name": f"port-{number}", "attributes": {"numa": {"int": number % 2}}}
            for number in range(random.randint(1, 3))
        ]
        zone = [{"key": ZONE, "operator": "In", "values": [random.choice(("z1", "z2"))]}]
        in_zone = {"nodeSelectorTerms": [{"matchExpressions": zone}]}
        kind = random.choice(("all", "zone", "zone", "each"))
        pool = f"net-{self.seed}"
        if kind == "all":
            self._slice(NIC, pool, ports, 1, 1, allNodes=True)
        elif kind == "zone":
            self._slice(NIC, pool, ports, 1, 1, nodeSelector=in_zone)
        else:
            for port in ports:
                host = [{"key": HOSTNAME, "operator": "In", "values": [random.choice(self.nodes).name]}]
                places: tuple[Object, ...] = (
                    {"nodeName": random.choice(self.nodes).name},
                    {"allNodes": True},
                    {"nodeSelector": in_zone},
                    {"nodeSelector": {"nodeSelectorTerms": [{"matchExpressions": host}]}},
                )
                port |= random.choice(places)
            self._slice(NIC, pool, ports, 1, 1, perDeviceNodeSelection=True)

    def _slice(
        self, driver: str, pool: str, devices: list[Object] | None, generation: int, count: int, **where: Any
    ) -> None:
        spec: Object = {
            "driver": driver,
            "pool": {"name": pool, "generation": generation, "resourceSliceCount": count},
            **({} if devices is None else {"devices": devices}),
            **where,
        }
        body = {"metadata": {"name": self._name("slice")}, "spec": spec}
        self.made.append(Made(f"{DEVICES}/resourceslices", body))

    def _holder(self) -> None:
        """A claim that has a device of which the pods here know nothing."""
        if self._given:
            self._allocated("differ-a", known=False)

    # Claims

    def for_pending(self, pod: str, namespace: str, last: bool) -> list[Object]:
        """The claims of devices of a pod that is to be placed.

        Args:
            pod: Its name.
            namespace: Its namespace.
            last: Whether no other pod comes after it: then what kube-scheduler gives back does not matter.
        """
        references: list[Object] = []
        for number in range(self.random.choice((1, 1, 1, 2))):
            name = f"claim-{number}"
            if self.random.random() < 0.2:
                references.append({"name": name, "resourceClaimTemplateName": "template"})
                self.to_own.setdefault(pod, {})[name] = self._manifest(namespace)
            else:
                claim = self._claim(pod, namespace, last)
                if claim not in [one.get("resourceClaimName") for one in references]:
                    references.append({"name": name, "resourceClaimName": claim})
        return references

    def _claim(self, pod: str, namespace: str, last: bool) -> str:
        kinds = {"new": 14, "again": 2, "elsewhere": 3, "missing": 0.4, "leaving": 0.4}
        if last:
            kinds |= {"idle": 3, "full": 2}
        (kind,) = self.random.choices(list(kinds), list(kinds.values()))
        known = self._claims.get(namespace, [])
        if kind == "again" and known:
            return self.random.choice(known)
        if kind in ("elsewhere", "full", "idle") and self._given:
            users = {"elsewhere": self.random.randint(1, 2), "full": MOST_USERS, "idle": 0}[kind]
            return self._allocated(namespace, users)
        if kind == "missing":
            self.unsaid.add(pod)
            return self._name("missing")
        made = self._manifest(namespace)
        name: str = made.body["metadata"]["name"]
        if kind == "leaving":
            self.unsaid.add(pod)
            made.body["metadata"] |= FINALIZERS
            made.leaving = True
        else:
            self._claims.setdefault(namespace, []).append(name)
        self.made.append(made)
        return name

    def _allocated(self, namespace: str, users: int = 1, known: bool = True) -> str:
        """A claim that has a device, and so many users already; idle ones that have none are given back."""
        random = self.random
        driver, pool, device, node = self._given.pop(random.randrange(len(self._given)))
        made = self._manifest(namespace, requests=[{"name": "r0", "exactly": {"deviceClassName": "any"}}])
        name: str = made.body["metadata"]["name"]
        only = {"key": "metadata.name", "operator": "In", "values": [node]}
        result = {"request": "r0", "driver": driver, "pool": pool, "device": device}
        allocation: Object = {"devices": {"results": [result]}, "allocationTimestamp": "2026-01-01T00:00:00Z"}
        if random.random() < 0.85:
            allocation["nodeSelector"] = {"nodeSelectorTerms": [{"matchFields": [only]}]}
        reserved = [
            {"resource": "pods", "name": f"user-{number}", "uid": f"user-{name}-{number}"}
            for number in range(users)
        ]
        made.status = {"allocation": allocation, "reservedFor": reserved}
        self.made.append(made)
        if known and users:
            self._claims.setdefault(namespace, []).append(name)
        return name

    def _manifest(self, namespace: str, requests: list[Object] | None = None) -> Made:
        devices: Object = {"requests": requests or self._requests()}
        if requests is None and self.random.random() < 0.25:
            kind = self.random.choice(("matchAttribute", "matchAttribute", "distinctAttribute"))
            devices["constraints"] = [{kind: f"{GPU}/{self.random.choice(('numa', 'model', 'rare'))}"}]
        body = {
            "metadata": {"name": self._name("claim"), "namespace": namespace},
            "spec": {"devices": devices},
        }
        return Made(f"{DEVICES}/namespaces/{namespace}/resourceclaims", body)

    def _requests(self) -> list[Object]:
        return [self._request(f"r{number}") for number in range(self.random.choice((1, 1, 1, 2)))]

    def _request(self, name: str) -> Object:
        random = self.random
        if random.random() < 0.75:
            exactly = self._asked()
            if random.random() < 0.08:
                exactly["adminAccess"] = True
            return {"name": name, "exactly": exactly}
        ways = [{"name": f"s{way}", **self._asked()} for way in range(random.randint(1, 3))]
        return {"name": name, "firstAvailable": ways}

    def _asked(self) -> Object:
        random = self.random
        (class_,) = random.choices(("gpu", "fast-gpu", "nic", "any", "none-such"), (10, 3, 3, 0.6, 0.3))
        made: Object = {"deviceClassName": class_}
        if "gpu" in class_ and random.random() < 0.4:
            chosen = random.sample(_EXPRESSIONS, random.choice((1, 1, 2)))
            if random.random() < 0.06:
                chosen = [_ODD]
            made["selectors"] = [{"cel": {"expression": one}} for one in chosen]
        if random.random() < 0.12:
            made["allocationMode"] = "All"
        elif random.random() < 0.4:
            made["count"] = random.choice((1, 2, 2, 3))
        if random.random() < 0.3:
            made["tolerations"] = [
                random.choice(
                    (
                        {"operator": "Exists"},
                        {"key": _TAINT["key"], "operator": "Exists", "effect": "NoSchedule"},
                        {**_TAINT, "operator": "Equal"},
                        {"key": _TAINT["key"], "operator": "Equal", "value": "no"},
                    )
                )
            ]
        return made

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self.seed}-{self._count}"
