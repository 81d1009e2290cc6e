"""One control plane and one ``berth run`` for the whole folder; a namespace and nodes of its own for each test.

The scheduler runs as deploy/ has it run: with the rights of deploy/rbac.yaml and no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from tests.controlplane import ControlPlane
from tests.controlplane.api import Object
from tests.e2e.part import MEEK, POLICY, PRIORITIES, SCHEDULER, SECOND_SCHEDULER, Part
from tests.engine.cluster.real import roles_for_berth
from tests.engine.running.berth import Berth

_NUMBERS = count(1)


def _priority_classes() -> list[Object]:
    return [
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "preemptionPolicy": "Never" if name == MEEK else "PreemptLowerPriority",
        }
        for name, value in PRIORITIES.items()
    ]


@pytest.fixture(scope="package")
def berth(full_control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Berth]:
    """The scheduler. However its tests went, it had no fault of its own and ends as it is told to."""
    plane = full_control_plane
    plane.reset()
    plane.apply([*roles_for_berth(), *_priority_classes()])
    scheduler = Berth(
        plane,
        tmp_path_factory.mktemp("berth"),
        kubeconfig=plane.berth_kubeconfig,
        policies=POLICY,
        settings={"schedulers": [SCHEDULER, SECOND_SCHEDULER]},
        env={"PYTHONWARNINGS": "error"},
    )
    try:
        scheduler.wait_ready()
        yield scheduler
        assert scheduler.process.running, scheduler.process.last_lines()
        faults = [line for line in scheduler.lines() if line["level"] in ("error", "critical", "")]
        assert not faults
        assert scheduler.metric("berth_internal_errors_total") == 0
        scheduler.terminate()
        assert scheduler.process.returncode == 0
    finally:
        scheduler.process.kill()
        plane.reset()


@pytest.fixture
def part(full_control_plane: ControlPlane, berth: Berth) -> Iterator[Part]:
    """A namespace with nodes of its own."""
    part = Part(full_control_plane, f"part-{next(_NUMBERS)}")
    yield part
    part.close()
