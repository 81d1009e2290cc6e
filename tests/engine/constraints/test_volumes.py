"""What volumes ask of a node, sentence by sentence, with the stock scheduler's messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from engine.model.objects import (
    AwsDisk,
    GceDisk,
    IscsiDisk,
    LabelSelector,
    Node,
    Pod,
    RbdDisk,
    Volume,
)
from engine.model.storage import OLD_CLASS, StorageObject
from tests.engine import build
from tests.engine import storage as make
from tests.engine.build import ZONE, Bench

HOST = "kubernetes.io/hostname"
NODES = tuple(
    build.node(name, {HOST: name}, zone=zone) for name, zone in (("a", "z1"), ("b", "z1"), ("c", "z2"))
)
ANYWHERE = ("a", "b", "c")
NO_VOLUME = "node(s) didn't find available persistent volumes to bind"
NO_REACH = "node(s) didn't match PersistentVolume's node affinity"
NO_ROOM = "node(s) did not have enough free storage"


def bench(storage: Iterable[StorageObject], pods: Iterable[Pod] = (), nodes: Iterable[Node] = NODES) -> Bench:
    made = Bench(nodes, pods=pods)
    for item in storage:
        made.cache.volumes.put(item)
    return made


def outcome(made: Bench, pod: Pod) -> tuple[set[str], str]:
    """The nodes that would take the pod, and the message where none does."""
    decision = made.place(pod, diagnose=True)
    if decision.refusals is None:
        return set(), decision.message()
    feasible = {made.cache.columns.names[slot] for slot in decision.refusals.feasible.nonzero()[0]}
    return feasible, "" if decision.node else decision.message()


POD = make.using(build.pod("web"), "data")
LATE = make.storage_class()
BY_HAND = make.storage_class("late", "kubernetes.io/no-provisioner")
EPHEMERAL = make.using(build.pod("web"), ephemeral=["scratch"])


@dataclass(frozen=True)
class Case:
    storage: tuple[StorageObject, ...]
    where: tuple[str, ...] = ()
    told: str = ""
    pod: Pod = POD
    pods: tuple[Pod, ...] = ()
    nodes: tuple[Node, ...] = field(default=NODES)


def all_nodes(reason: str) -> str:
    return f"0/3 nodes are available: 3 {reason}."


TROUBLES = {
    "no such claim": Case((), told='persistentvolumeclaim "data" not found'),
    "a claim in another namespace": Case(
        (make.claim("data", namespace="other"),), told='persistentvolumeclaim "data" not found'
    ),
    "a lost claim": Case(
        (make.claim("data", volume="pv", phase="Lost"),),
        told='persistentvolumeclaim "data" bound to non-existent persistentvolume "pv"',
    ),
    "a claim that is being deleted": Case(
        (make.claim("data", deleting=True), LATE), told='persistentvolumeclaim "data" is being deleted'
    ),
    "an unbound claim of an immediate class": Case(
        (make.claim("data", "now"), make.storage_class("now", delayed=False)),
        told="pod has unbound immediate PersistentVolumeClaims",
    ),
    "an unbound claim without a class": Case(
        (make.claim("data", None),), told="pod has unbound immediate PersistentVolumeClaims"
    ),
    "an unbound claim of a class that is not there": Case(
        (make.claim("data", "none"),), told="pod has unbound immediate PersistentVolumeClaims"
    ),
    "a claim that names its volume, and is not bound to it yet": Case(
        (make.claim("data", volume="pv", bound=False), make.volume("pv"), LATE),
        told="pod has unbound immediate PersistentVolumeClaims",
    ),
    "a bound claim whose volume is gone": Case(
        (make.claim("data", volume="pv"),), told='persistentvolume "pv" not found'
    ),
    "a claim that the ephemeral volume controller has still to make": Case(
        (),
        told='waiting for ephemeral volume controller to create the persistentvolumeclaim "web-scratch"',
        pod=EPHEMERAL,
    ),
    "a claim of the right name that is not the pod's": Case(
        (make.claim("web-scratch"), LATE),
        told="PVC default/web-scratch was not created for pod default/web (pod is not owner)",
        pod=EPHEMERAL,
    ),
    "an ephemeral volume of a pod that was made anew": Case(
        (make.claim("web-scratch", owner=build.pod("web", uid="earlier")), LATE),
        told="PVC default/web-scratch was not created for pod default/web (pod is not owner)",
        pod=EPHEMERAL,
    ),
}


@pytest.mark.parametrize("case", TROUBLES.values(), ids=TROUBLES)
def test_what_no_node_can_help(case: Case) -> None:
    where, told = outcome(bench(case.storage), case.pod)
    assert (where, told) == (set(), f"0/3 nodes are available: {case.told}.")


BOUND = {
    "a volume that all nodes reach": Case((make.claim("data", volume="pv"), make.volume("pv")), ANYWHERE),
    "a volume of one host": Case(
        (make.claim("data", volume="pv"), make.volume("pv", terms=make.on(HOST, "b"))), ("b",)
    ),
    "one of two terms is enough": Case(
        (
            make.claim("data", volume="pv"),
            make.volume("pv", terms=(*make.on(HOST, "b"), *make.on(ZONE, "z2"))),
        ),
        ("b", "c"),
    ),
    "a volume of a host that is no more": Case(
        (make.claim("data", volume="pv"), make.volume("pv", terms=make.on(HOST, "gone"))),
        told=all_nodes(NO_REACH),
    ),
    "an affinity without terms": Case(
        (make.claim("data", volume="pv"), make.volume("pv", terms=())), told=all_nodes(NO_REACH)
    ),
    "two volumes that meet nowhere": Case(
        (
            make.claim("data", volume="pv"),
            make.volume("pv", terms=make.on(HOST, "a")),
            make.claim("logs", volume="other"),
            make.volume("other", terms=make.on(ZONE, "z2")),
        ),
        told=all_nodes(NO_REACH),
        pod=make.using(build.pod("web"), "data", "logs"),
    ),
    "the pod's own ephemeral volume": Case(
        (
            make.claim("web-scratch", volume="pv", owner=EPHEMERAL),
            make.volume("pv", terms=make.on(HOST, "b")),
        ),
        ("b",),
        pod=EPHEMERAL,
    ),
    "an ephemeral volume that is gone": Case(
        (make.claim("web-scratch", volume="pv", owner=EPHEMERAL),),
        told=all_nodes("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"),
        pod=EPHEMERAL,
    ),
}

BARE = (build.node("a"), build.node("b", {ZONE: "z1"}), build.node("c", {ZONE: "z2", "other": "1"}))
OLD_ZONE = "failure-domain.beta.kubernetes.io/zone"
IN_ZONES = {
    "a zone's volume": Case(
        (make.claim("data", volume="pv"), make.volume("pv", labels={ZONE: "z1"})), ("a", "b")
    ),
    "a volume of two zones": Case(
        (make.claim("data", volume="pv"), make.volume("pv", labels={ZONE: "z1__z2"})), ANYWHERE
    ),
    "a node without any zone takes it": Case(
        (make.claim("data", volume="pv"), make.volume("pv", labels={ZONE: "z1"})), ("a", "b"), nodes=BARE
    ),
    "a volume in a region that no node tells": Case(
        (make.claim("data", volume="pv"), make.volume("pv", labels={"topology.kubernetes.io/region": "r"})),
        ("a",),
        nodes=BARE,
    ),
    "the volume's old label, the node's new one": Case(
        (make.claim("data", volume="pv"), make.volume("pv", labels={OLD_ZONE: "z2"})), ("c",)
    ),
    "an empty zone among others is ignored": Case(
        (make.claim("data", volume="pv"), make.volume("pv", labels={ZONE: "z1____z2"})), ANYWHERE
    ),
    "a zone where nobody is": Case(
        (make.claim("data", volume="pv"), make.volume("pv", labels={ZONE: "z9"})),
        told=all_nodes("node(s) had no available volume zone"),
    ),
    "labels of an ephemeral volume don't count": Case(
        (make.claim("web-scratch", volume="pv", owner=EPHEMERAL), make.volume("pv", labels={ZONE: "z1"})),
        ANYWHERE,
        pod=EPHEMERAL,
    ),
}

STATIC = {
    "where a volume is": Case(
        (make.claim("data"), BY_HAND, make.volume("pv", terms=make.on(HOST, "b"))), ("b",)
    ),
    "none at all": Case((make.claim("data"), BY_HAND), told=all_nodes(NO_VOLUME)),
    "too small": Case(
        (make.claim("data", size="2Gi"), BY_HAND, make.volume("pv")), told=all_nodes(NO_VOLUME)
    ),
    "large enough": Case((make.claim("data", size="1Gi"), BY_HAND, make.volume("pv", "5Gi")), ANYWHERE),
    "another class": Case(
        (make.claim("data"), BY_HAND, make.volume("pv", storage_class="other")), told=all_nodes(NO_VOLUME)
    ),
    "the class in the old annotation": Case(
        (make.claim("data", "other", annotations={OLD_CLASS: "late"}), BY_HAND, make.volume("pv")), ANYWHERE
    ),
    "not available yet": Case(
        (make.claim("data"), BY_HAND, make.volume("pv", phase="Pending")), told=all_nodes(NO_VOLUME)
    ),
    "released, not cleaned up": Case(
        (make.claim("data"), BY_HAND, make.volume("pv", phase="Released", claim="old", claim_uid="1")),
        told=all_nodes(NO_VOLUME),
    ),
    "being deleted": Case(
        (make.claim("data"), BY_HAND, make.volume("pv", deleting=True)), told=all_nodes(NO_VOLUME)
    ),
    "an access mode lacks": Case(
        (make.claim("data", modes=("ReadWriteMany",)), BY_HAND, make.volume("pv")), told=all_nodes(NO_VOLUME)
    ),
    "more access modes than asked for": Case(
        (make.claim("data"), BY_HAND, make.volume("pv", modes=("ReadWriteMany", "ReadWriteOnce"))), ANYWHERE
    ),
    "a block device for a file system": Case(
        (make.claim("data"), BY_HAND, make.volume("pv", mode="Block")), told=all_nodes(NO_VOLUME)
    ),
    "a block device where one is asked for": Case(
        (make.claim("data", mode="Block"), BY_HAND, make.volume("pv", mode="Block")), ANYWHERE
    ),
    "the selector decides": Case(
        (
            make.claim("data", selector=LabelSelector({"tier": "fast"})),
            BY_HAND,
            make.volume("slow", labels={"tier": "slow"}),
            make.volume("fast", labels={"tier": "fast"}, terms=make.on(HOST, "c")),
        ),
        ("c",),
    ),
    "somebody else's": Case(
        (make.claim("data"), BY_HAND, make.volume("pv", claim="other")), told=all_nodes(NO_VOLUME)
    ),
    "an earlier claim's of the name": Case(
        (make.claim("data", uid="new"), BY_HAND, make.volume("pv", claim="data", claim_uid="old")),
        told=all_nodes(NO_VOLUME),
    ),
    "reserved for the claim by hand, in whatever phase": Case(
        (
            make.claim("data"),
            BY_HAND,
            make.volume("mine", "9Gi", claim="data", terms=make.on(HOST, "c"), phase="Pending"),
            make.volume("free", "1Gi"),
        ),
        ("c",),
    ),
    "reserved, and too small: another one is taken": Case(
        (
            make.claim("data", size="2Gi"),
            BY_HAND,
            make.volume("mine", "1Gi", claim="data", terms=make.on(HOST, "c")),
            make.volume("free", "2Gi", terms=make.on(HOST, "a")),
        ),
        ("a",),
    ),
    "two claims, two volumes on one node only": Case(
        (
            make.claim("data"),
            make.claim("logs"),
            BY_HAND,
            make.volume("a1", terms=make.on(HOST, "a")),
            make.volume("b1", terms=make.on(HOST, "b")),
            make.volume("b2", "3Gi", terms=make.on(HOST, "b")),
        ),
        ("b",),
        pod=make.using(build.pod("web"), "data", "logs"),
    ),
    "the smaller claim leaves the larger volume": Case(
        (
            make.claim("data", size="5Gi"),
            make.claim("logs", size="1Gi"),
            BY_HAND,
            make.volume("small", "1Gi", terms=make.on(HOST, "b")),
            make.volume("large", "5Gi", terms=make.on(HOST, "b")),
        ),
        ("b",),
        pod=make.using(build.pod("web"), "data", "logs"),
    ),
}

Z1 = {ZONE: "z1"}
MADE = {
    "anywhere": Case((make.claim("data"), LATE), ANYWHERE),
    "where the class allows": Case(
        (make.claim("data"), make.storage_class(allowed=[{ZONE: ("z1",)}])), ("a", "b")
    ),
    "two keys of one term, another term": Case(
        (
            make.claim("data"),
            make.storage_class(allowed=[{ZONE: ("z1",), HOST: ("b", "c")}, {HOST: ("c",)}]),
        ),
        ("b", "c"),
    ),
    "where nobody is": Case(
        (make.claim("data"), make.storage_class(allowed=[{ZONE: ("z9",)}])), told=all_nodes(NO_VOLUME)
    ),
    "a class without a provisioner": Case(
        (make.claim("data"), make.storage_class(provisioner="")), told=all_nodes(NO_VOLUME)
    ),
    "where there is room": Case(
        (make.claim("data", size="5Gi"), LATE, make.csi_driver(), make.capacity("c1", "10Gi", Z1)), ("a", "b")
    ),
    "no driver says that it tracks room": Case(
        (make.claim("data", size="5Gi"), LATE, make.csi_driver(tracks=None), make.capacity("c1", "1Gi", Z1)),
        ANYWHERE,
    ),
    "nobody knows of room": Case((make.claim("data"), LATE, make.csi_driver()), told=all_nodes(NO_ROOM)),
    "too little room": Case(
        (make.claim("data", size="5Gi"), LATE, make.csi_driver(), make.capacity("c1", "4Gi", Z1)),
        told=all_nodes(NO_ROOM),
    ),
    "the largest volume counts before the room": Case(
        (
            make.claim("data", size="5Gi"),
            LATE,
            make.csi_driver(),
            make.capacity("c1", "9Gi", Z1, largest="4Gi"),
        ),
        told=all_nodes(NO_ROOM),
    ),
    "room of another class": Case(
        (
            make.claim("data"),
            LATE,
            make.csi_driver(),
            make.capacity("c1", "9Gi", Z1, storage_class="other"),
        ),
        told=all_nodes(NO_ROOM),
    ),
    "room that no node reaches": Case(
        (make.claim("data"), LATE, make.csi_driver(), make.capacity("c1", "9Gi", None)),
        told=all_nodes(NO_ROOM),
    ),
    "room that all nodes reach": Case(
        (make.claim("data"), LATE, make.csi_driver(), make.capacity("c1", "9Gi", {})), ANYWHERE
    ),
    "nothing asked for needs no room": Case(
        (make.claim("data", size=None), LATE, make.csi_driver()), ANYWHERE
    ),
    "a volume is there on one node, and one can be made in a zone": Case(
        (
            make.claim("data"),
            make.storage_class(allowed=[{ZONE: ("z1",)}]),
            make.volume("pv", terms=make.on(HOST, "c")),
        ),
        ANYWHERE,
    ),
    "the node is chosen already": Case((make.claim("data", selected="b"), LATE), ("b",)),
    "a chosen node is not left for a volume elsewhere": Case(
        (make.claim("data", selected="b"), LATE, make.volume("pv", terms=make.on(HOST, "a"))), ("b",)
    ),
    "the chosen node is gone": Case((make.claim("data", selected="gone"), LATE), told=all_nodes(NO_VOLUME)),
    "the chosen node has no room any more": Case(
        (make.claim("data", selected="c"), LATE, make.csi_driver(), make.capacity("c1", "9Gi", Z1)),
        told=f"0/3 nodes are available: 1 {NO_ROOM}, 2 {NO_VOLUME}.",
    ),
    "a bound and an unbound claim, both refused": Case(
        (
            make.claim("logs", volume="pv"),
            make.volume("pv", terms=make.on(HOST, "gone")),
            make.claim("data"),
            BY_HAND,
        ),
        told=f"0/3 nodes are available: 3 {NO_VOLUME}, 3 {NO_REACH}.",
        pod=make.using(build.pod("web"), "data", "logs"),
    ),
}

ALONE = make.claim("data", volume="pv", modes=("ReadWriteOncePod",))
USER = make.using(build.pod("user", on="b"), "data")
ONE_POD = (
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another "
    "pod"
)
RESTRICTED = {
    "a claim for one pod, free": Case((ALONE, make.volume("pv")), ANYWHERE),
    "a claim for one pod, in use": Case((ALONE, make.volume("pv")), told=all_nodes(ONE_POD), pods=(USER,)),
    "a claim for one pod, the other is ending": Case(
        (ALONE, make.volume("pv")),
        told=all_nodes(ONE_POD),
        pods=(make.using(build.pod("user", on="b", terminating=True), "data"),),
    ),
    "a claim for one pod, the other waits like us": Case(
        (ALONE, make.volume("pv")), ANYWHERE, pods=(make.using(build.pod("user"), "data"),)
    ),
    "a claim of that name elsewhere": Case(
        (ALONE, make.volume("pv")),
        ANYWHERE,
        pods=(make.using(build.pod("user", on="b", namespace="other"), "data"),),
    ),
    "a claim for one node, in use": Case(
        (make.claim("data", volume="pv"), make.volume("pv")), ANYWHERE, pods=(USER,)
    ),
}


@pytest.mark.parametrize(
    "case",
    [*BOUND.values(), *IN_ZONES.values(), *STATIC.values(), *MADE.values(), *RESTRICTED.values()],
    ids=[*BOUND, *IN_ZONES, *STATIC, *MADE, *RESTRICTED],
)
def test_where_volumes_let_a_pod_go(case: Case) -> None:
    assert outcome(bench(case.storage, case.pods, case.nodes), case.pod) == (set(case.where), case.told)


LIMIT = "node(s) exceed max volume count"
ON_A = make.using(build.pod("one", on="a"), "one")
ONE = (make.claim("one", volume="pv1"), make.volume("pv1", handle="h1"))
TWO = (make.claim("data", volume="pv2"), make.volume("pv2", handle="h2"))
LIMITS = tuple(make.csi_node(name, csi_example_com=1) for name in ANYWHERE)
COUNTED = {
    "no limits": Case((*ONE, *TWO), ANYWHERE, pods=(ON_A,)),
    "a full node": Case((*ONE, *TWO, *LIMITS), ("b", "c"), pods=(ON_A,)),
    "a limit of another driver": Case((*ONE, *TWO, make.csi_node("a", other=0)), ANYWHERE, pods=(ON_A,)),
    "a driver without a number": Case(
        (*ONE, *TWO, make.csi_node("a", csi_example_com=None)), ANYWHERE, pods=(ON_A,)
    ),
    "the same volume counts once": Case(
        (*ONE, *LIMITS), ANYWHERE, pod=make.using(build.pod("web"), "one"), pods=(ON_A,)
    ),
    "volumes that are not CSI ones don't count": Case(
        (
            make.claim("data", volume="pv"),
            make.volume("pv"),
            *(make.csi_node(n, csi_example_com=0) for n in ANYWHERE),
        ),
        ANYWHERE,
    ),
    "one that is still to be made counts as its provisioner's": Case(
        (make.claim("data"), LATE, *(make.csi_node(n, csi_example_com=0) for n in ANYWHERE)),
        told=all_nodes(LIMIT),
    ),
    "what is attached counts though no pod has it": Case(
        (*ONE, *TWO, *LIMITS, make.attachment("at", "b", "pv1")), ("a", "c")
    ),
    "what is attached and in use counts once": Case(
        (*ONE, *TWO, make.attachment("at", "a", "pv1"), make.csi_node("a", csi_example_com=2)),
        ANYWHERE,
        pods=(ON_A,),
    ),
    "two at once are too many": Case(
        (*ONE, *TWO, *LIMITS), told=all_nodes(LIMIT), pod=make.using(build.pod("web"), "one", "data")
    ),
    "two at once, one of which is there": Case(
        (*ONE, *TWO, *(make.csi_node(n, csi_example_com=2 if n == "a" else 1) for n in ANYWHERE)),
        ("a",),
        pod=make.using(build.pod("web"), "one", "data"),
        pods=(ON_A,),
    ),
    "a claim that is gone holds nothing": Case((*TWO, *LIMITS), ANYWHERE, pods=(ON_A,)),
}


@pytest.mark.parametrize("case", COUNTED.values(), ids=COUNTED)
def test_volumes_that_a_node_takes(case: Case) -> None:
    assert outcome(bench(case.storage, case.pods, case.nodes), case.pod) == (set(case.where), case.told)


def with_volume(name: str, volume: Volume, on: str = "") -> Pod:
    pod = build.pod(name, on=on)
    return replace(pod, spec=replace(pod.spec, volumes=(volume,)))


def gce(name: str, read_only: bool = False) -> Volume:
    return Volume(gce_persistent_disk=GceDisk(name, read_only))


def iscsi(name: str, read_only: bool = False) -> Volume:
    return Volume(iscsi=IscsiDisk(name, read_only))


def aws(name: str) -> Volume:
    return Volume(aws_elastic_block_store=AwsDisk(name))


def rbd(*monitors: str, image: str = "i", read_only: bool = False) -> Volume:
    return Volume(rbd=RbdDisk(monitors, image, "p", read_only))


DISKS = {
    "a disk that is written": (gce("d"), gce("d"), False),
    "a disk that both read": (gce("d", True), gce("d", True), True),
    "a disk that one writes": (gce("d", True), gce("d"), False),
    "another disk": (gce("d"), gce("e"), True),
    "disks of AWS are never shared": (aws("d"), aws("d"), False),
    "an iSCSI target": (iscsi("d"), iscsi("d", True), False),
    "an iSCSI target that both read": (iscsi("d", True), iscsi("d", True), True),
    "a Ceph image by one monitor of two": (rbd("m1", "m2"), rbd("m2", "m3"), False),
    "a Ceph image by other monitors": (rbd("m1"), rbd("m2"), True),
    "another Ceph image": (rbd("m1"), rbd("m1", image="j"), True),
    "names of another kind": (gce("d"), iscsi("d"), True),
}


@pytest.mark.parametrize(("own", "other", "together"), DISKS.values(), ids=DISKS)
def test_disks_that_pods_name_themselves(own: Volume, other: Volume, together: bool) -> None:
    made = bench((), [with_volume("other", other, "b")])
    where, _ = outcome(made, with_volume("web", own))
    assert where == (set(ANYWHERE) if together else {"a", "c"})
    made = bench((), [with_volume(f"other-{name}", other, name) for name in ANYWHERE])
    _, told = outcome(made, with_volume("web", own))
    assert told == ("" if together else all_nodes("node(s) had no available disk"))
