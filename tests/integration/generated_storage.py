"""Random storage for the pods of a random cluster: volumes that reach their nodes or not, and claims of every kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from engine.model.objects import Node
from tests.controlplane.api import Object

CORE: Final = "/api/v1"
STORAGE: Final = "/apis/storage.k8s.io/v1"
VOLUMES: Final = f"{CORE}/persistentvolumes"
HOSTNAME: Final = "kubernetes.io/hostname"
ZONE: Final = "topology.kubernetes.io/zone"
OLD_ZONE: Final = "failure-domain.beta.kubernetes.io/zone"
SELECTED: Final = "volume.kubernetes.io/selected-node"
BOUND: Final = "pv.kubernetes.io/bind-completed"
FINALIZERS: Final = {"finalizers": ["example.com/stays"]}
"""Of what is deleted but does not go."""

DRIVER: Final = "disk.example.com"
"""Makes volumes anywhere."""
TRACKED: Final = "tracked.example.com"
"""Makes volumes only where it says that there is room."""
DELAYED: Final = {"volumeBindingMode": "WaitForFirstConsumer"}
LATE: Final = ("local", "made", "zoned", "tracked")
"""Classes whose claims wait for their first pod."""


@dataclass
class Made:
    """An object to be made.

    Attributes:
        path: Of its collection.
        body: Without its status.
        status: None for none; set after it is made.
        leaving: Whether it is deleted at once, and stays.
    """

    path: str
    body: Object
    status: Object | None = None
    leaving: bool = False


def standing_storage() -> list[Made]:
    """What all clusters share: kube-scheduler knows of it before the first."""

    def storage_class(name: str, provisioner: str, **more: Any) -> Made:
        body = {"metadata": {"name": name}, "provisioner": provisioner, **more}
        return Made(f"{STORAGE}/storageclasses", body)

    def driver(name: str, tracked: bool) -> Made:
        return Made(
            f"{STORAGE}/csidrivers", {"metadata": {"name": name}, "spec": {"storageCapacity": tracked}}
        )

    allowed = [{"matchLabelExpressions": [{"key": ZONE, "values": ["z1", "z2"]}]}]
    return [
        driver(DRIVER, False),
        driver(TRACKED, True),
        storage_class("now", DRIVER),
        storage_class("local", "kubernetes.io/no-provisioner", **DELAYED),
        storage_class("made", DRIVER, **DELAYED),
        storage_class("zoned", DRIVER, **DELAYED, allowedTopologies=allowed),
        storage_class("tracked", TRACKED, **DELAYED),
    ]


@dataclass
class Storage:
    """The storage of one cluster, made as its pods ask for it.

    Attributes:
        random: Where chance comes from.
        seed: The cluster's; in all names.
        nodes: The cluster's.
        made: In the order in which it has to be made.
        late: The claims that get their volumes with the first pod, by namespace and name.
        to_own: For pods that wait at a gate: the claims that are to be made as theirs.
    """

    random: Random
    seed: int
    nodes: Sequence[Node]
    made: list[Made] = field(default_factory=list)
    late: set[tuple[str, str]] = field(default_factory=set)
    to_own: dict[str, list[Made]] = field(default_factory=dict)
    _claims: dict[str, list[str]] = field(default_factory=dict)
    _volumes: list[str] = field(default_factory=list)
    _count: int = 0

    def surroundings(self) -> None:
        """What is there whatever the pods ask for: limits, room, and volumes that are free."""
        random = self.random
        for node in self.nodes:
            if random.random() < 0.7:
                drivers = [
                    {
                        "name": name,
                        "nodeID": node.name,
                        "allocatable": {"count": random.choice((0, 1, 1, 2, 3))},
                    }
                    for name in (DRIVER, TRACKED)
                    if random.random() < 0.7
                ]
                body = {"metadata": {"name": node.name}, "spec": {"drivers": drivers}}
                self.made.append(Made(f"{STORAGE}/csinodes", body))
        for number in range(random.randint(1, 3)):
            room: Object = {
                "metadata": {"name": f"room-{self.seed}-{number}", "namespace": "default"},
                "storageClassName": "tracked",
                "capacity": random.choice(("1Gi", "2Gi", "5Gi")),
                "nodeTopology": random.choice(
                    (
                        {"matchLabels": {ZONE: random.choice(("z1", "z2"))}},
                        {"matchLabels": {HOSTNAME: random.choice(self.nodes).name}},
                        {"matchExpressions": [{"key": "rack", "operator": "DoesNotExist"}]},
                        {},
                    )
                ),
            }
            if random.random() < 0.3:
                room["maximumVolumeSize"] = random.choice(("1Gi", "4Gi"))
            self.made.append(Made(f"{STORAGE}/namespaces/default/csistoragecapacities", room))
        for _ in range(random.randint(len(self.nodes), 2 * len(self.nodes))):
            self._free_volume()

    def for_running(self, namespace: str, node: str) -> list[Object]:
        """The volumes of a pod that runs: its claims, if it has any, are bound."""
        if self.random.random() < 0.35:
            name = self._bound(namespace, alone=self.random.random() < 0.3)
            if self.random.random() < 0.2:
                self._attach(node)
            return [_using(name)]
        return [self._disk()] if self.random.random() < 0.15 else []

    def for_pending(self, pod: str, namespace: str) -> list[Object]:
        """The volumes of a pod that is to be placed."""
        volumes = [
            _using(name)
            for name in dict.fromkeys(
                self._claim(namespace) for _ in range(self.random.choice((1, 1, 1, 2, 3)))
            )
        ]
        if self.random.random() < 0.12:
            volumes.append(self._ephemeral(pod, namespace))
        if self.random.random() < 0.15:
            volumes.append(self._disk())
        return volumes

    # Claims

    def _claim(self, namespace: str) -> str:
        kinds = {
            "again": 5,
            "bound": 8,
            "alone": 2,
            "late": 14,
            "reserved": 2,
            "chosen": 2,
            "immediate": 0.5,
            "half": 0.5,
            "leaving": 0.5,
            "classless": 0.5,
            "lost": 0.5,
            "dangling": 0.5,
            "missing": 0.5,
        }
        (kind,) = self.random.choices(list(kinds), list(kinds.values()))
        known = self._claims.get(namespace, [])
        match kind:
            case "again" if known:
                return self.random.choice(known)
            case "late" | "again":
                return self._late(namespace)
            case "bound" | "alone":
                return self._bound(namespace, kind == "alone")
            case "reserved":
                name = self._late(namespace, "local")
                # No second one: which of two kube-scheduler looks at first is up to chance.
                self._free_volume("local", {"namespace": namespace, "name": name})
                return name
            case "chosen":
                node = self.random.choice([*(node.name for node in self.nodes), "no-such-node"])
                storage_class = self.random.choice(LATE[1:])
                return self._late(namespace, storage_class, annotations={SELECTED: node})
            case "immediate":
                return self._add(namespace, storage_class=self.random.choice(("now", None)))
            case "half":  # its user has chosen a volume, and nobody has bound them yet
                self._free_volume("local")
                return self._add(namespace, storage_class="local", volume=self._volumes[-1])
            case "leaving":
                return self._add(namespace, storage_class="local", leaving=True)
            case "classless":
                return self._add(namespace, storage_class="none-such")
            case "lost":
                gone = self._name("gone")
                return self._add(namespace, volume=gone, status={"phase": "Lost"}, annotations={BOUND: "yes"})
            case "dangling":
                return self._add(namespace, volume=self._name("gone"), annotations={BOUND: "yes"})
            case _:
                return self._name("missing")

    def _late(self, namespace: str, storage_class: str = "", **more: Any) -> str:
        random = self.random
        storage_class = storage_class or random.choice(("local", "local", "local", *LATE))
        if storage_class == "local" and random.random() < 0.15:
            more["selector"] = {"matchLabels": {"tier": "fast"}}
        if random.random() < 0.08:
            more["mode"] = "Block"
        name = self._add(
            namespace,
            storage_class=storage_class,
            size=random.choice(("1Gi", "1Gi", "1Gi", "2Gi", "3Gi")),
            modes=random.choice((["ReadWriteOnce"], ["ReadWriteOnce"], ["ReadOnlyMany"])),
            **more,
        )
        self.late.add((namespace, name))
        return name

    def _bound(self, namespace: str, alone: bool = False) -> str:
        random = self.random
        volume = self._name("v")
        modes = ["ReadWriteOncePod" if alone else "ReadWriteOnce"]
        name = self._add(namespace, volume=volume, modes=modes, annotations={BOUND: "yes"})
        labels = {}
        if random.random() < 0.45:
            zone = random.choice(("z1", "z2", "z3", "z1__z2", "z2__z3"))
            labels[random.choice((ZONE, ZONE, OLD_ZONE))] = zone
        reference = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": namespace,
            "name": name,
        }
        spec: Object = {
            "capacity": {"storage": "1Gi"},
            "accessModes": modes,
            "claimRef": {**reference, "uid": f"{namespace}/{name}"},  # its real one once the claim is made
            **self._source(csi=0.75),
            **self._affinity(random.random() < 0.5),
        }
        self.made.append(Made(VOLUMES, {"metadata": {"name": volume, "labels": labels}, "spec": spec}))
        self._volumes.append(volume)
        return name

    def _add(
        self,
        namespace: str,
        *,
        storage_class: str | None = "",
        size: str = "1Gi",
        modes: Sequence[str] = ("ReadWriteOnce",),
        volume: str = "",
        mode: str = "Filesystem",
        selector: Object | None = None,
        annotations: dict[str, str] | None = None,
        status: Object | None = None,
        leaving: bool = False,
    ) -> str:
        made = self._manifest(self._name("c"), namespace, storage_class, size, modes)
        name: str = made.body["metadata"]["name"]
        made.body["metadata"] |= {"annotations": annotations or {}, **(FINALIZERS if leaving else {})}
        made.body["spec"]["volumeMode"] = mode
        if volume:
            made.body["spec"]["volumeName"] = volume
        if selector:
            made.body["spec"]["selector"] = selector
        made.status, made.leaving = status, leaving
        self.made.append(made)
        self._claims.setdefault(namespace, []).append(name)
        return name

    def _manifest(
        self, name: str, namespace: str, storage_class: str | None, size: str, modes: Sequence[str]
    ) -> Made:
        spec: Object = {"accessModes": list(modes), "resources": {"requests": {"storage": size}}}
        if storage_class is not None:
            spec["storageClassName"] = storage_class
        body = {"metadata": {"name": name, "namespace": namespace}, "spec": spec}
        return Made(f"{CORE}/namespaces/{namespace}/persistentvolumeclaims", body)

    def _ephemeral(self, pod: str, namespace: str) -> Object:
        """A volume that comes and goes with its pod. Its claim is made, or somebody else's, or not there yet."""
        volume = f"own-{self._name('e')}"
        made = self._manifest(f"{pod}-{volume}", namespace, "made", "1Gi", ("ReadWriteOnce",))
        fate = self.random.random()
        if fate < 0.6:
            self.to_own.setdefault(pod, []).append(made)
            self.late.add((namespace, f"{pod}-{volume}"))
        elif fate < 0.8:
            self.made.append(made)
        template = {"spec": made.body["spec"]}
        return {"name": volume, "ephemeral": {"volumeClaimTemplate": template}}

    # Volumes

    def _free_volume(self, storage_class: str = "", reserved: Object | None = None) -> None:
        random = self.random
        name = self._name("v")
        spec: Object = {
            # No two are alike: which kube-scheduler would take is up to chance.
            "capacity": {"storage": f"{1024 * random.choice((1, 2, 3, 5)) + self._count}Mi"},
            "accessModes": random.choice(
                (["ReadWriteOnce"], ["ReadWriteOnce", "ReadOnlyMany"], ["ReadOnlyMany"])
            ),
            "volumeMode": random.choice(("Filesystem",) * 9 + ("Block",)),
            "storageClassName": storage_class or random.choice(("local",) * 8 + ("made", "tracked")),
            **self._source(csi=0),
            **self._affinity(random.random() < 0.9),
        }
        if reserved:
            spec["claimRef"] = reserved
        labels = {"tier": random.choice(("fast", "slow"))}
        leaving = random.random() < 0.05
        metadata = {"name": name, "labels": labels, **(FINALIZERS if leaving else {})}
        phase = "Pending" if random.random() < 0.07 else "Available"
        self.made.append(Made(VOLUMES, {"metadata": metadata, "spec": spec}, {"phase": phase}, leaving))
        self._volumes.append(name)

    def _attach(self, node: str) -> None:
        spec = {
            "attacher": DRIVER,
            "nodeName": node,
            "source": {"persistentVolumeName": self.random.choice(self._volumes)},
        }
        body = {"metadata": {"name": self._name("a")}, "spec": spec}
        self.made.append(Made(f"{STORAGE}/volumeattachments", body))

    def _source(self, csi: float) -> Object:
        if self.random.random() >= csi:
            return {"hostPath": {"path": "/tmp"}}
        driver = self.random.choice((DRIVER, DRIVER, TRACKED))
        handle = f"h{self.random.randrange(12)}"  # some volumes are one and the same to their driver
        return {"csi": {"driver": driver, "volumeHandle": handle}}

    def _affinity(self, has: bool) -> Object:
        if not has:
            return {}
        random = self.random
        hosts = random.sample([node.name for node in self.nodes], random.randint(1, 2))
        zone = random.choice(("z1", "z2", "z3"))
        on_hosts: Object = {"key": HOSTNAME, "operator": "In", "values": hosts}
        in_zone: Object = {"key": ZONE, "operator": random.choice(("In", "NotIn")), "values": [zone]}
        term = random.choice((on_hosts, on_hosts, in_zone))
        terms: list[Object] = [{"matchExpressions": [term]}]
        if random.random() < 0.1:
            terms.append({"matchExpressions": [{"key": "rack", "operator": "Exists"}]})
        return {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}

    def _disk(self) -> Object:
        """A disk of its own name, without a claim."""
        random = self.random
        read = random.random() < 0.5
        number = random.randrange(2)
        iqn = f"iqn.2000-01.com.example:{number}"
        sources: tuple[Object, ...] = (
            {"iscsi": {"targetPortal": "10.0.0.9", "iqn": iqn, "lun": 0, "readOnly": read}},
            {"rbd": {"monitors": ["m1"], "pool": "p", "image": f"i{number}", "readOnly": read}},
        )
        return {"name": self._name("d"), **random.choice(sources)}

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self.seed}-{self._count}"


def _using(claim: str) -> Object:
    return {"name": claim, "persistentVolumeClaim": {"claimName": claim}}
