"""[sig-scheduling] LimitRange: what admission fills in is what is scheduled."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.controlplane import ApiError
from tests.controlplane.api import Object
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


def admitted(part: Part, cpu: str | None) -> Object | None:
    """A pod as admission lets it in that asks for so much, or for nothing; None where a limit refuses it."""
    asked = part.manifest("asked", cpu=cpu, memory=None, limits={"cpu": cpu} if cpu else None)
    try:
        return part.create("pods?dryRun=All", asked)
    except ApiError as error:
        if error.status == 403 and re.search("(minimum|maximum) cpu usage per Container is", str(error)):
            return None
        raise


def requests(pod: Object | None) -> Any:
    return pod and pod["spec"]["containers"][0]["resources"].get("requests")


def test_defaults_of_a_limit_range_are_scheduled(part: Part) -> None:
    """LimitRange with defaults: a pod has those defaults applied, and takes as much of its node."""
    part.add_nodes("a", cpu="2500m")
    part.create("limitranges", limits())
    # Admission hears of it by a watch, and holds for half a minute that there is none where it has just asked.
    part.eventually(lambda: requests(admitted(part, None)) is not None, "the defaults are in force", 60.0)
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
    part.eventually(lambda: admitted(part, "10m") is None, "the minimum is in force", 60.0)
    assert admitted(part, "3") is None
    assert admitted(part, "1") is not None
    path = f"/api/v1/namespaces/{part.namespace}/limitranges/limits"
    part.plane.api.put(path, limits(min={"cpu": "5m", "memory": "1Mi"}))
    part.eventually(lambda: admitted(part, "10m") is not None, "the new minimum is in force", 60.0)
    part.add_pod("small", requests={"cpu": "10m"}, limits={"cpu": "10m"})
    assert part.node_of("small") == "a"
