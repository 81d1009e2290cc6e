"""Pods whose extended resources are devices, on the simulated cluster: from the decision to the bound pod."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from engine.cluster.errors import ApiError, ClusterError, Unreachable
from engine.model.objects import Pod, ResourceRequirements
from tests.engine import devices as make
from tests.engine.scheduler.test_devices import World, failing, pod

GPU = "example.com/gpu"
CLASS = replace(make.device_class(), spec=replace(make.device_class().spec, extended_resource_name=GPU))


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """The binder's waits between tries are real time, of which a test has none to lose."""
    with (
        patch("tenacity.nap.time.sleep"),
        patch("engine.cluster.backoff.sleep_using_event", lambda _: lambda _: None),
    ):
        yield


def asking(name: str, count: int = 1) -> Pod:
    plain = pod(name)
    (one,) = plain.spec.containers or ()
    requests: dict[str, Any] = {"cpu": "1", GPU: str(count)}
    return replace(
        plain,
        spec=replace(
            plain.spec, containers=(replace(one, resources=ResourceRequirements(requests=requests)),)
        ),
    )


def told(world: World, name: str = "p") -> str:
    found = world.cluster.get_pod("default", name)
    assert found is not None
    status = found.status.extended_resource_claim_status
    return "" if status is None else status.resource_claim_name


def test_a_pod_gets_a_claim_of_its_own() -> None:
    world = World(CLASS, make.gpus("n2", 2), asking("p"), asking("q"), asking("r"))
    world.until(5)
    bound = [name for name in "pqr" if world.node_of(name)]
    assert len(bound) == 2
    assert {told(world, name) for name in bound} == {claim.metadata.name for claim in world.claims()}
    assert set(world.held().values()) == {1}
    assert world.settled()
    world.cluster.delete("Pod", "default", bound[0])
    for claim in world.claims():
        if any(owner.name == bound[0] for owner in claim.metadata.owner_references):
            world.cluster.delete_resource_claim(claim)
    world.until(90)
    assert all(world.node_of(name) for name in {*"pqr"} - {bound[0]})


def test_a_class_that_comes_later_helps() -> None:
    world = World(make.gpus("n2", 1), asking("p"))
    world.until(5)
    assert f"2 Insufficient {GPU}" in world.told()[0]
    world.cluster.apply(CLASS)
    world.until(30)
    assert world.node_of("p") == "n2"
    assert told(world)


STEPS = ("create_resource_claim", "reserve_resource_claim", "tell_extended_claim", "bind")
ANSWERS: dict[str, tuple[ClusterError, int]] = {
    "silence": (Unreachable("nobody answers"), 1),
    "silence for long": (Unreachable("nobody answers"), 12),
    "overload": (ApiError(503, "ServiceUnavailable", "later"), 2),
    "a refusal": (ApiError(403, "Forbidden", "no"), 1),
}


@pytest.mark.parametrize("landed", [False, True], ids=["lost", "landed"])
@pytest.mark.parametrize(("error", "times"), ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("step", STEPS)
def test_bad_answers_cost_time_and_nothing_else(
    step: str, error: ClusterError, times: int, landed: bool
) -> None:
    world = World(CLASS, make.gpus("n1", 1), asking("p"))
    answers: list[Any] = [error] * times
    with patch.object(world.cluster, step, failing(world, step, answers, landed)):
        world.until(120)
    assert len(answers) < times
    assert world.node_of("p") == "n1"
    (claim,) = world.claims()
    assert told(world) == claim.metadata.name
    assert [one.name for one in claim.status.reserved_for or ()] == ["p"]
    assert world.settled()
