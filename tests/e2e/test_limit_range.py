"""[sig-scheduling] LimitRange: what admission fills in is what is scheduled."""

from __future__ import annotations

from typing import Any

import pytest

from tests.controlplane import ApiError
from tests.e2e.part import Part

pytestmark = pytest.mark.integration


def limits(**changes: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "limits"},
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    "min": {"cpu": "50m", "memory": "100Mi"},
                    "max": {"cpu": "2", "memory": "500Mi"},
                    "default": {"cpu": "1500m", "memory": "500Mi"},
                    "defaultRequest": {"cpu": "1", "memory": "200Mi"},
                    **changes,
                }
            ]
        },
    }


def test_defaults_of_a_limit_range_are_scheduled(part: Part) -> None:
    """LimitRange with defaults: a pod has those defaults applied, and takes as much of its node."""
    part.add_nodes("a", cpu="2500m")
    part.create("limitranges", limits())
    nothing = {"cpu": None, "memory": None}
    for name in ("first", "second"):
        part.add_pod(name, **nothing)
        assert part.node_of(name) == "a"
    given = part.pod("first")["spec"]["containers"][0]["resources"]
    assert given["requests"] == {"cpu": "1", "memory": "200Mi"}
    part.add_pod("third", **nothing)
    part.refused("third", "0/1 nodes are available: 1 Insufficient cpu.")
    part.add_pod("modest", limits={"cpu": "500m"})
    assert part.node_of("modest") == "a", "a limit of its own is its request, not the default"


def test_pods_outside_a_limit_range_never_come_to_the_scheduler(part: Part) -> None:
    """LimitRange's minimum and maximum are kept by admission, and changes of it hold for later pods."""
    part.add_nodes("a")
    part.create("limitranges", limits())
    for name, cpu in (("small", "10m"), ("big", "3")):
        with pytest.raises(
            ApiError, match=f"(minimum|maximum) cpu usage per Container is .* (request|limit) is {cpu}"
        ):
            part.add_pod(name, requests={"cpu": cpu}, limits={"cpu": cpu})
    path = f"/api/v1/namespaces/{part.namespace}/limitranges/limits"
    part.plane.api.put(path, limits(min={"cpu": "5m", "memory": "1Mi"}))

    def admitted() -> bool:
        try:
            part.add_pod("small", requests={"cpu": "10m"}, limits={"cpu": "10m"})
        except ApiError as error:
            if error.status != 403:
                raise
            return False
        return True

    part.eventually(admitted, "the new minimum is in force")
    assert part.node_of("small") == "a"
