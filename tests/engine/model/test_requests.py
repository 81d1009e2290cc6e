"""What a pod asks for, paragraph by paragraph of the reference."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.model.objects import (
    Condition,
    Container,
    ContainerStatus,
    ObjectMeta,
    Pod,
    PodSpec,
    PodStatus,
    ResourceRequirements,
)
from engine.model.requests import RequestError, pod_requests, scoring_requests
from tests.engine import worlds
from tests.engine.naive import kubernetes

Amounts = Mapping[str, str | int | float]
MI = 2**20


def container(
    cpu: str | None = None, memory: str | None = None, *, name: str = "c", sidecar: bool = False, **other: str
) -> Container:
    named = {"cpu": cpu, "memory": memory, **other}
    asked: dict[str, str | int | float] = {key: value for key, value in named.items() if value is not None}
    return Container(name, ResourceRequirements(requests=asked), restart_policy="Always" if sidecar else None)


def asking(
    *containers: Container,
    init: tuple[Container, ...] = (),
    pod_level: Amounts | None = None,
    overhead: Amounts | None = None,
    status: PodStatus | None = None,
) -> Pod:
    spec = PodSpec(
        containers=containers,
        init_containers=init,
        resources=None if pod_level is None else ResourceRequirements(requests=dict(pod_level)),
        overhead=None if overhead is None else dict(overhead),
    )
    return Pod(ObjectMeta(name="p"), spec, status or PodStatus())


CASES: dict[str, tuple[Pod, dict[str, int]]] = {
    "no containers": (asking(), {}),
    "no requests": (asking(Container("c")), {}),
    "containers add up": (asking(container("100m", "1Mi"), container("1")), {"cpu": 1100, "memory": MI}),
    "parts of a milli are rounded once": (asking(container("0.5m"), container("0.5m")), {"cpu": 1}),
    "an init container larger than all": (
        asking(container("1"), container("1"), init=(container("3"),)),
        {"cpu": 3000},
    ),
    "an init container smaller than all": (asking(container("1"), init=(container("500m"),)), {"cpu": 1000}),
    "init containers run one by one": (
        asking(container("1"), init=(container("2"), container("2"))),
        {"cpu": 2000},
    ),
    "each resource for itself": (
        asking(container("1", "1Mi"), init=(container("2", "0"), container("0", "4Mi"))),
        {"cpu": 2000, "memory": 4 * MI},
    ),
    "a sidecar counts for ever": (
        asking(container("1"), init=(container("1", sidecar=True),)),
        {"cpu": 2000},
    ),
    "a sidecar counts for the inits after it": (
        asking(container("1"), init=(container("1", sidecar=True), container("3"))),
        {"cpu": 4000},
    ),
    "and not for those before it": (
        asking(container("1"), init=(container("3"), container("1", sidecar=True))),
        {"cpu": 3000},
    ),
    "pod level overrides cpu and memory": (
        asking(container("1", "1Mi"), container("1"), pod_level={"cpu": "500m"}),
        {"cpu": 500, "memory": MI},
    ),
    "pod level overrides huge pages": (
        asking(container("1"), pod_level={"hugepages-2Mi": "4Mi"}),
        {"cpu": 1000, "hugepages-2Mi": 4 * MI},
    ),
    "pod level is no place for others": (
        asking(container("1", gpu="1"), pod_level={"gpu": "5", "ephemeral-storage": "1Gi"}),
        {"cpu": 1000, "gpu": 1},
    ),
    "overhead is added last": (
        asking(container("1"), pod_level={"cpu": "500m"}, overhead={"cpu": "250m", "memory": "1Mi"}),
        {"cpu": 750, "memory": MI},
    ),
    "zero stays zero": (asking(container("0", "0")), {"cpu": 0, "memory": 0}),
}


@pytest.mark.parametrize(("pod", "expected"), CASES.values(), ids=CASES)
def test_effective_request(pod: Pod, expected: dict[str, int]) -> None:
    assert pod_requests(pod) == expected


def resized(
    spec: str, allocated: str | None, actual: str | None, reason: str = "", *, sidecar: bool = False
) -> Pod:
    status = ContainerStatus(
        "c",
        allocated_resources=None if allocated is None else {"cpu": allocated},
        resources=None if actual is None else ResourceRequirements(requests={"cpu": actual}),
    )
    conditions = (Condition("PodResizePending", "True", reason),) if reason else None
    if sidecar:
        return asking(
            init=(container(spec, sidecar=True),),
            status=PodStatus(init_container_statuses=(status,), conditions=conditions),
        )
    return asking(container(spec), status=PodStatus(container_statuses=(status,), conditions=conditions))


RESIZES = {
    "grows: the spec counts": (resized("2", "1", "1"), 2000),
    "shrinks: the actual counts": (resized("1", "1", "2"), 2000),
    "allocated, not yet actual": (resized("1", "3", "2"), 3000),
    "deferred: still the largest": (resized("4", "1", "1", "Deferred"), 4000),
    "infeasible: without the spec": (resized("4", "1", "2", "Infeasible"), 2000),
    "a sidecar is resized, too": (resized("1", "1", "2", sidecar=True), 2000),
    "a kubelet that tells nothing": (resized("1", "3", None), 1000),
}


@pytest.mark.parametrize(("pod", "expected"), RESIZES.values(), ids=RESIZES)
def test_resize_in_progress(pod: Pod, expected: int) -> None:
    assert pod_requests(pod)["cpu"] == expected


POD_RESIZES = {
    "grows": ("2", "1", "1", "", 2000),
    "shrinks": ("1", "1", "2", "", 2000),
    "infeasible": ("4", "1", "2", "Infeasible", 2000),
    "a kubelet that tells nothing": ("1", "3", None, "", 1000),
}


@pytest.mark.parametrize(
    ("spec", "allocated", "actual", "reason", "expected"), POD_RESIZES.values(), ids=POD_RESIZES
)
def test_resize_of_a_whole_pod(
    spec: str, allocated: str, actual: str | None, reason: str, expected: int
) -> None:
    status = PodStatus(
        resources=None if actual is None else ResourceRequirements(requests={"cpu": actual, "memory": "9Gi"}),
        allocated_resources={"cpu": allocated},
        conditions=(Condition("PodResizePending", "True", reason),) if reason else None,
    )
    pod = asking(container("100m"), pod_level={"cpu": spec}, overhead={"cpu": "1"}, status=status)
    assert pod_requests(pod) == {"cpu": expected + 1000}


def test_an_ordinary_init_container_is_not_resized() -> None:
    status = ContainerStatus("c", resources=ResourceRequirements(requests={"cpu": "9"}))
    pod = asking(init=(container("1"),), status=PodStatus(init_container_statuses=(status,)))
    assert pod_requests(pod) == {"cpu": 1000}


SCORING = {
    "absent requests count their default": (asking(Container("a"), Container("b")), (200, 400 * MI)),
    "an explicit zero stays zero": (asking(container("0", "0")), (0, 0)),
    "each container for itself": (asking(container("1"), container(None, "1Mi")), (1100, 201 * MI)),
    "inits, too": (asking(container("50m", "1Mi"), init=(Container("i"),)), (100, 200 * MI)),
    "pod level is no default": (asking(Container("a"), pod_level={"cpu": "50m"}), (50, 200 * MI)),
}


@pytest.mark.parametrize(("pod", "expected"), SCORING.values(), ids=SCORING)
def test_what_counts_in_scores(pod: Pod, expected: tuple[int, int]) -> None:
    assert scoring_requests(pod) == expected


BAD = {
    "container": (
        asking(container("fast")),
        r"^spec\.containers\[0\]\.resources\.requests\.cpu: 'fast' is not a q",
    ),
    "init": (
        asking(container("1"), init=(container("1"), container(None, "1 Gi"))),
        r"^spec\.initContainers\[1\]\.resources\.requests\.memory: '1 Gi'",
    ),
    "pod level": (asking(container("1"), pod_level={"cpu": "x"}), r"^spec\.resources\.requests\.cpu"),
    "overhead": (asking(container("1"), overhead={"cpu": "x"}), r"^spec\.overhead\.cpu"),
    "status": (resized("1", "x", "1"), r"^spec\.containers\[0\] \(status\)\.allocatedResources\.cpu"),
}


@pytest.mark.parametrize(("pod", "message"), BAD.values(), ids=BAD)
def test_a_bad_quantity_names_its_field(pod: Pod, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        pod_requests(pod)


@given(st.integers(0, 2**32))
def test_same_as_naive(seed: int) -> None:
    pod = worlds.pod(Random(seed), "pod", ("somewhere",))
    assert pod_requests(pod) == kubernetes.requests(pod)
    scoring = kubernetes.scoring(pod)
    assert scoring_requests(pod) == (scoring["cpu"], scoring["memory"])
