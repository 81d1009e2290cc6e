"""What a decision costs for pods with claims, at 5,000 nodes: ``python -m tests.benchmarks.bench_volumes``.

Each pod is placed and assumed; what a binder and the cluster's controllers would write comes back at once, as the
watch would tell it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec.structs import replace

from engine.model.objects import ObjectMeta, Pod
from engine.model.storage import (
    BIND_COMPLETED,
    ClaimStatus,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    VolumeStatus,
)
from engine.state.cache import Cache
from tests.engine import build
from tests.engine import storage as make
from tests.engine.build import ZONE, Bench

NODES = 5000
PODS = 1000
HOST = "kubernetes.io/hostname"


def fleet() -> Bench:
    return Bench(
        build.node(f"n{number}", {HOST: f"n{number}"}, zone=f"z{number % 10}") for number in range(NODES)
    )


def local(bench: Bench) -> None:
    """One local volume on every node, chosen with the pod."""
    bench.cache.volumes.put(make.storage_class("late", "kubernetes.io/no-provisioner"))
    for number in range(NODES):
        bench.cache.volumes.put(make.volume(f"v{number}", terms=make.on(HOST, f"n{number}")))


def made(bench: Bench) -> None:
    """Volumes that are made for the pod's node."""
    bench.cache.volumes.put(make.storage_class("late"))


def roomy(bench: Bench) -> None:
    """The same with room that each node tells for itself."""
    made(bench)
    bench.cache.volumes.put(make.csi_driver())
    for number in range(NODES):
        bench.cache.volumes.put(make.capacity(f"c{number}", "10Gi", {HOST: f"n{number}"}))


def zonal(bench: Bench) -> None:
    """Volumes of a CSI driver that are bound already, each in a zone, and nodes that take 39 of them."""
    bench.cache.volumes.put(make.storage_class("late"))
    for number in range(NODES):
        bench.cache.volumes.put(make.csi_node(f"n{number}", csi_example_com=39))
    for number in range(PODS):
        bench.cache.volumes.put(
            make.volume(
                f"v{number}",
                terms=make.on(ZONE, f"z{number % 10}"),
                claim=f"data-{number}",
                claim_uid=f"uid-data-{number}",
                phase="Bound",
                handle=f"h{number}",
                labels={ZONE: f"z{number % 10}"},
            )
        )


CASES: dict[str, Callable[[Bench], None]] = {
    "local volumes": local,
    "volumes to be made": made,
    "volumes to be made, with room told": roomy,
    "bound CSI volumes of zones": zonal,
}


def bind(cache: Cache, pod: Pod) -> None:
    """What would be written for the pod, and told."""
    placed = cache.pod(pod.key)
    assert placed is not None
    for name, _ in placed.claims:
        claim = cache.volumes.claim(name)
        assert claim is not None
        if claim.bound:
            continue
        given = [cache.volumes.volume(one) for one in cache.volumes.reserved(claim)]
        volume = (
            given[0] if given and given[0] is not None else make.volume(f"pvc-{name.name}", handle=name.name)
        )
        tell(cache, claim, volume)


def tell(cache: Cache, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
    reference = ObjectReference(claim.metadata.namespace, claim.metadata.name, claim.metadata.uid)
    bound = replace(volume, spec=replace(volume.spec, claim_ref=reference), status=VolumeStatus("Bound"))
    cache.volumes.put(bound)
    metadata: ObjectMeta = replace(claim.metadata, annotations={BIND_COMPLETED: "yes"})
    spec = replace(claim.spec, volume_name=volume.metadata.name)
    cache.volumes.put(replace(claim, metadata=metadata, spec=spec, status=ClaimStatus("Bound")))


def measure(name: str, prepare: Callable[[Bench], None]) -> None:
    bench = fleet()
    prepare(bench)
    bound = prepare is zonal
    for number in range(PODS):
        bench.cache.volumes.put(make.claim(f"data-{number}", volume=f"v{number}" if bound else ""))
    pods = [
        make.using(build.pod(f"p{number}", {"n": str(number % 3)}, requests={"cpu": "10m"}), f"data-{number}")
        for number in range(PODS)
    ]
    for pod in pods:
        bench.cache.put_pod(pod)
    began = time.perf_counter()
    for pod in pods:
        placed = bench.cache.pod(pod.key)
        assert placed is not None
        decision = bench.placer.place(placed, build.NOW)
        assert decision.node is not None, decision.message()
        bench.cache.assume(pod.key, decision.node, decision.volumes)
        bind(bench.cache, pod)
    spent = time.perf_counter() - began
    print(f"{name:36} {spent / PODS * 1e3:7.2f} ms a pod  {PODS / spent:8.0f} pods/s")


if __name__ == "__main__":
    for case, preparing in CASES.items():
        measure(case, preparing)
