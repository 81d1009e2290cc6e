"""Volumes give what the slow and obvious reference gives, after any history."""

from __future__ import annotations

from dataclasses import dataclass
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.constraints.telling_claims import TellingOfPod
from engine.model.objects import LabelSelector, Node, Pod, PodKey
from engine.model.storage import SELECTED_NODE, ObjectReference, StorageObject, VolumeBindings
from tests.engine import build
from tests.engine import storage as make
from tests.engine.build import ZONE, Bench
from tests.engine.naive import volumes as naive
from tests.engine.placement.compare import first_refusals

HOST = "kubernetes.io/hostname"
HOSTS = ("a", "b", "c", "d")
CLAIMS = ("c1", "c2", "c3", "p1-own")
VOLUMES = ("v1", "v2", "v3", "v4")
CLASSES = ("late", "hand", "now")
SIZES = ("1Gi", "2Gi", "3Gi")
OLD_ZONE = "failure-domain.beta.kubernetes.io/zone"
PLUGINS = ("VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone")


@st.composite
def nodes(draw: st.DrawFn, name: str) -> Node:
    labels = {HOST: name}
    if draw(st.booleans()):
        labels[draw(st.sampled_from((ZONE, OLD_ZONE)))] = draw(st.sampled_from(("z1", "z2")))
    return build.node(name, labels)


@st.composite
def claims(draw: st.DrawFn) -> StorageObject:
    name = draw(st.sampled_from(CLAIMS))
    bound = draw(st.sampled_from(("", "", "", *VOLUMES)))
    return make.claim(
        name,
        draw(st.sampled_from(("late", "hand", "late", "hand", "hand", "now"))),
        draw(st.sampled_from((*SIZES, None))),
        volume=bound,
        bound=bool(bound) and draw(st.integers(0, 9)) > 0,
        phase="Lost" if draw(st.integers(0, 39)) == 0 else "",
        modes=draw(
            st.sampled_from(
                (
                    ("ReadWriteOnce",),
                    ("ReadWriteOnce",),
                    ("ReadWriteOncePod",),
                    ("ReadWriteOnce", "ReadOnlyMany"),
                )
            )
        ),
        selector=draw(st.sampled_from((None, None, LabelSelector({"tier": "x"}), LabelSelector({})))),
        mode=draw(st.sampled_from((None, None, None, "Filesystem", "Block"))),
        selected=draw(st.sampled_from((None, None, None, "a", "b", "gone"))) if not bound else None,
        deleting=draw(st.integers(0, 39)) == 0,
        owner=build.pod("p1") if name == "p1-own" and draw(st.integers(0, 9)) > 0 else None,
    )


@st.composite
def volumes(draw: st.DrawFn) -> StorageObject:
    labels = {}
    if draw(st.booleans()):
        labels["tier"] = draw(st.sampled_from("xy"))
    if draw(st.integers(0, 3)) == 0:
        labels[draw(st.sampled_from((ZONE, OLD_ZONE)))] = draw(st.sampled_from(("z1", "z2", "z1__z2")))
    terms = draw(
        st.sampled_from((None, None, (), make.on(HOST, "a"), make.on(HOST, "a", "b"), make.on(ZONE, "z1")))
    )
    claim = draw(st.sampled_from(("", "", "", *CLAIMS)))
    return make.volume(
        draw(st.sampled_from(VOLUMES)),
        draw(st.sampled_from(SIZES)),
        draw(st.sampled_from(("hand", "hand", "late", "now"))),
        terms=terms,
        claim=claim,
        claim_uid=draw(st.sampled_from(("", f"uid-{claim}", "other"))) if claim else "",
        phase=draw(st.sampled_from(("Available", "Available", "Available", "Pending", "Released"))),
        modes=draw(
            st.sampled_from((("ReadWriteOnce",), ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteOncePod")))
        ),
        mode=draw(st.sampled_from((None, None, None, None, "Block"))),
        labels=labels,
        handle=draw(st.sampled_from(("", "h1", "h2", "h3"))),
        driver=draw(st.sampled_from((make.DRIVER, "other"))),
        deleting=draw(st.integers(0, 39)) == 0,
    )


@st.composite
def others(draw: st.DrawFn) -> StorageObject:
    kind = draw(st.integers(0, 4))
    topology = draw(st.sampled_from((None, {}, {ZONE: "z1"}, {HOST: "b"})))
    if kind == 0:
        return make.csi_node(
            draw(st.sampled_from(HOSTS)), csi_example_com=draw(st.sampled_from((None, 0, 1, 2)))
        )
    if kind == 1:
        return make.csi_driver(tracks=draw(st.sampled_from((None, True, True))))
    if kind == 2:
        return make.capacity(
            draw(st.sampled_from(("k1", "k2"))),
            draw(st.sampled_from((None, *SIZES))),
            topology,
            storage_class=draw(st.sampled_from(CLASSES)),
            largest=draw(st.sampled_from((None, None, "1Gi"))),
        )
    if kind == 3:
        return make.attachment(
            draw(st.sampled_from(("at1", "at2"))),
            draw(st.sampled_from(HOSTS)),
            draw(st.sampled_from(VOLUMES)),
            draw(st.sampled_from((make.DRIVER, "other"))),
        )
    allowed = draw(
        st.sampled_from(((), (), ({ZONE: ("z1",)},), ({HOST: ("a", "b"), ZONE: ("z2",)}, {HOST: ("c",)})))
    )
    name = draw(st.sampled_from(CLASSES))
    provisioner = "kubernetes.io/no-provisioner" if name == "hand" else make.DRIVER
    return make.storage_class(name, provisioner, delayed=name != "now", allowed=allowed)


@st.composite
def pods(draw: st.DrawFn, name: str, on: str = "") -> Pod:
    used = draw(st.lists(st.sampled_from(CLAIMS[:3]), min_size=1, max_size=3, unique=True))
    own = ["own"] if draw(st.integers(0, 3)) == 0 else []
    return make.using(build.pod(name, on=on), *used, ephemeral=own)


BASE: tuple[StorageObject, ...] = (
    make.storage_class("late"),
    make.storage_class("hand", "kubernetes.io/no-provisioner"),
    make.claim("c1", "hand"),
    make.claim("c2", "late"),
    make.claim("c3", volume="v3"),
    make.claim("p1-own", "late", owner=build.pod("p1")),
    make.volume("v1", "1Gi", "hand"),
    make.volume("v2", "2Gi", "hand", terms=make.on(HOST, "b")),
    make.volume("v3", handle="h3", labels={ZONE: "z1"}),
    make.csi_node("a", csi_example_com=1),
)
OBJECTS = st.one_of(claims(), claims(), volumes(), volumes(), others())


@dataclass(frozen=True)
class Step:
    put: StorageObject | Pod | Node | None = None
    remove: StorageObject | Pod | Node | None = None


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    found = []
    for number in range(draw(st.integers(0, 14))):
        kind = draw(st.integers(0, 9))
        if kind <= 6:
            item = draw(OBJECTS)
            found.append(Step(put=item) if kind <= 5 else Step(remove=item))
        elif kind == 7:
            found.append(Step(put=draw(pods(f"other-{number}", draw(st.sampled_from(HOSTS))))))
        elif kind == 8:
            found.append(Step(put=draw(nodes(draw(st.sampled_from(HOSTS))))))
        else:
            found.append(
                Step(remove=draw(st.sampled_from([one.put for one in found if one.put] or [BASE[0]])))
            )
    return found


@pytest.mark.parametrize("groups", [0, 64], ids=["best of each node kept", "all groups gone through"])
@given(
    st.lists(OBJECTS, max_size=14),
    st.tuples(*(nodes(name) for name in HOSTS)),
    st.lists(st.sampled_from(HOSTS).flatmap(lambda on: pods(f"on-{on}", on)), max_size=3),
    steps(),
    pods("p1"),
    pods("p2"),
)
def test_same_as_naive_after_any_history(
    groups: int,
    first: list[StorageObject],
    all_nodes: tuple[Node, ...],
    placed: list[Pod],
    history: list[Step],
    pod: Pod,
    other: Pod,
) -> None:
    with patch("engine.constraints.volume_pools._GROUPS", groups):
        follow(first, all_nodes, placed, history, pod, other)


def follow(
    first: list[StorageObject],
    all_nodes: tuple[Node, ...],
    placed: list[Pod],
    history: list[Step],
    pod: Pod,
    other: Pod,
) -> None:
    storage = naive.Storage()
    known_nodes = {node.name: node for node in all_nodes}
    running = {one.key: one for one in placed}
    bench = Bench(all_nodes, pods=placed)
    for item in (*BASE, *first):
        storage.put(item)
        bench.cache.volumes.put(item)
    compare(bench, storage, running, known_nodes, pod)
    for step in history:
        match step.put:
            case None:
                pass
            case Pod() as one:
                running[one.key] = one
                bench.cache.put_pod(one)
            case Node() as node:
                known_nodes[node.name] = node
                bench.cache.put_node(node)
            case item:
                storage.put(item)
                bench.cache.volumes.put(item)
        match step.remove:
            case None:
                pass
            case Pod() as one:
                running.pop(one.key, None)
                bench.cache.remove_pod(one.key)
            case Node() as node:
                known_nodes.pop(node.name, None)
                bench.cache.remove_node(node.name)
            case item:
                storage.remove(item)
                bench.cache.volumes.remove(item)
        compare(bench, storage, running, known_nodes, pod)
    # What is assumed counts for the next pod as if the cluster said so, and no longer when it is taken back.
    decision = bench.place(pod)
    if decision.node is not None:
        bench.cache.assume(pod.key, decision.node, decision.volumes)
        there = {**running, pod.key: replace(pod, spec=replace(pod.spec, node_name=decision.node))}
        compare(bench, with_bindings(storage, decision.volumes), there, known_nodes, other)
        bench.cache.forget(pod.key)
        assert bench.cache.volumes.assumed == 0
    compare(bench, storage, running, known_nodes, other)


def with_bindings(storage: naive.Storage, bindings: VolumeBindings | None) -> naive.Storage:
    """The storage as it will be when the bindings are written."""
    after = naive.Storage(list(storage.objects))
    for volume, claim in bindings.given if bindings is not None else ():
        reference = ObjectReference(claim.metadata.namespace, claim.metadata.name, claim.metadata.uid)
        after.put(replace(volume, spec=replace(volume.spec, claim_ref=reference)))
    for claim in bindings.made if bindings is not None else ():
        assert bindings is not None
        notes = {**(claim.metadata.annotations or {}), SELECTED_NODE: bindings.node}
        after.put(replace(claim, metadata=replace(claim.metadata, annotations=notes)))
    return after


def compare(
    bench: Bench, storage: naive.Storage, running: dict[PodKey, Pod], known: dict[str, Node], pod: Pod
) -> None:
    decision = bench.place(pod, diagnose=True)
    if naive.trouble(storage, pod):
        assert decision.trouble is not None
        return
    assert decision.trouble is None
    assert decision.refusals is not None
    names = [constraint.name for constraint in decision.refusals.filters]
    got = {
        name: None if code is None else names[code]
        for name, code in first_refusals(decision, bench.cache).items()
        if code is None or names[code] in PLUGINS
    }
    # What runs on a node that nobody knows any more does not count.
    there = [one for one in running.values() if one.spec.node_name in known]
    expected: dict[str, str | None] = {}
    for name, node in known.items():
        refused = naive.refusals(storage, there, pod, node)
        expected[name] = refused[0] if refused else None
    assert got == expected
    placed = bench.cache.put_pod(pod)
    for constraint, slots in decision.refusals.by_filter():
        if constraint.name in PLUGINS:
            assert isinstance(constraint, TellingOfPod)
            for slot in slots.tolist():
                assert constraint.values_of(slot, placed), f"{constraint.name} does not tell why"
    bench.cache.remove_pod(pod.key)
    if decision.node is not None:
        chosen = naive.match(storage, pod, known[decision.node])
        bindings = decision.volumes
        made = {} if bindings is None else {claim.metadata.name: "" for claim in bindings.made}
        given = {} if bindings is None else {c.metadata.name: v.metadata.name for v, c in bindings.given}
        assert {**made, **given} == chosen
