"""Placeholders need their priority class, which may be known late, or go while we run."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from engine.binder.errands import ATTEMPTS, Create, Errand, Runner
from engine.cluster.errors import ApiError
from engine.cluster.simulated import SimulatedCluster
from engine.model.objects import Pod
from engine.model.placeholder import PRIORITY_CLASS
from tests.engine.scheduler.scenes import node

LACKING = f'pods "hold" is forbidden: no PriorityClass with name {PRIORITY_CLASS} was found'


class Forgetful(SimulatedCluster):
    """Refuses the next pods as an API server does whose cache has not got the class, or not any more."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses = 0
        self.ensured = 0

    def ensure_priority_class(self, name: str, value: int, description: str) -> None:
        self.ensured += 1
        super().ensure_priority_class(name, value, description)

    def create_pod(self, manifest: Mapping[str, object]) -> Pod:
        if self.refuses:
            self.refuses -= 1
            raise ApiError(403, "Forbidden", LACKING)
        return super().create_pod(manifest)


def hold(name: str) -> Errand:
    spec = {
        "nodeName": "e0",
        "priorityClassName": PRIORITY_CLASS,
        "containers": [{"name": "c", "image": "i"}],
    }
    pod = {"metadata": {"name": name, "namespace": "kube-system"}, "spec": spec}
    return Errand("us", (Create(pod),))


@pytest.mark.parametrize("refuses", range(ATTEMPTS))
def test_a_class_that_is_known_late_or_has_gone_is_made_and_waited_for(refuses: int) -> None:
    cluster = Forgetful()
    cluster.add_node(node("e0"))
    runner = Runner(cluster, sleep=lambda _: None)
    assert runner.run(hold("first")).message == ""
    assert runner.run(hold("second")).message == ""
    assert cluster.ensured == 1, "once is enough"
    cluster.refuses = refuses
    assert runner.run(hold("third")).message == ""
    assert cluster.ensured == 1 + refuses


def test_a_class_that_is_never_known_ends_the_errand() -> None:
    cluster = Forgetful()
    cluster.add_node(node("e0"))
    cluster.refuses = ATTEMPTS
    result = Runner(cluster, sleep=lambda _: None).run(hold("first"))
    assert (result.done, result.status) == (0, 403)
    assert LACKING in result.message


def test_a_class_that_somebody_else_made_is_told_of_with_the_remedy() -> None:
    cluster = Forgetful()
    cluster.add_node(node("e0"))
    cluster.ensure_priority_class(PRIORITY_CLASS, 5, "")
    result = Runner(cluster, sleep=lambda _: None).run(hold("first"))
    assert (result.done, result.status) == (0, 409)
    assert f"kubectl delete priorityclass {PRIORITY_CLASS}" in result.message


def test_a_name_that_was_taken_and_is_free_by_now_is_not_taken_for_made() -> None:
    class Fleeting(SimulatedCluster):
        def create_pod(self, manifest: Mapping[str, object]) -> Pod:
            raise ApiError(409, "AlreadyExists", str(manifest.get("metadata")))

    result = Runner(Fleeting(), sleep=lambda _: None).run(hold("first"))
    assert (result.done, result.created, result.status) == (0, (), 409)
