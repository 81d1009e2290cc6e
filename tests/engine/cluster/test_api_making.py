"""Making pods and their priority class against scripted answers: what a real API server says rarely."""

from __future__ import annotations

import json

import pytest

from engine.cluster.errors import ApiError, Unreachable
from tests.engine.cluster.scripted import CLOSE, Step, answer, refusal
from tests.engine.cluster.test_api import POD, Conversation, pod

CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
ABSENT = refusal(404, "NotFound", 'priorityclasses.scheduling.k8s.io "low" not found')
TAKEN = refusal(409, "AlreadyExists", 'priorityclasses.scheduling.k8s.io "low" already exists')
OURS = answer(200, {"kind": "PriorityClass", "metadata": {"name": "low"}, "value": -7})
THEIRS = answer(200, {"kind": "PriorityClass", "metadata": {"name": "low"}, "value": 0})

ENSURED: dict[str, tuple[list[Step], list[str]]] = {
    "there": ([OURS], ["GET"]),
    "missing": ([ABSENT, answer(201, {"kind": "PriorityClass"})], ["GET", "POST"]),
    "made meanwhile, or the first answer was lost": ([ABSENT, TAKEN, OURS], ["GET", "POST", "GET"]),
    "made meanwhile, and deleted again": ([ABSENT, TAKEN, ABSENT], ["GET", "POST", "GET"]),
}


@pytest.mark.parametrize(("steps", "methods"), ENSURED.values(), ids=ENSURED)
def test_a_priority_class_is_made_where_it_is_missing(steps: list[Step], methods: list[str]) -> None:
    conversation = Conversation(*steps)
    with conversation as cluster:
        cluster.ensure_priority_class("low", -7, "Holds room.")
    assert [request.method for request in conversation.requests] == methods
    assert conversation.requests[0].target == f"{CLASSES}/low"
    for request in conversation.requests:
        if request.method == "POST":
            assert request.target == CLASSES
            assert json.loads(request.body) == {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": "low"},
                "value": -7,
                "globalDefault": False,
                "preemptionPolicy": "Never",
                "description": "Holds room.",
            }


@pytest.mark.parametrize("steps", [[THEIRS], [ABSENT, TAKEN, THEIRS]], ids=["before", "meanwhile"])
def test_a_priority_class_of_another_value_is_told_with_the_remedy(steps: list[Step]) -> None:
    with (
        Conversation(*steps) as cluster,
        pytest.raises(
            ApiError, match="low is there with the value 0, and not -7: kubectl delete priorityclass low"
        ) as e,
    ):
        cluster.ensure_priority_class("low", -7, "")
    assert e.value.status == 409


def test_a_refusal_of_the_class_is_told() -> None:
    forbidden = refusal(403, "Forbidden", 'cannot create resource "priorityclasses"')
    with Conversation(ABSENT, forbidden) as cluster, pytest.raises(ApiError, match="cannot create") as e:
        cluster.ensure_priority_class("low", -7, "")
    assert e.value.status == 403


def test_a_pod_is_posted_to_its_namespace() -> None:
    conversation = Conversation(answer(201, pod("web-1")), answer(201, pod("web-1")))
    manifest = {"metadata": {"name": "web-1", "namespace": "team/a"}, "spec": {"x": [1]}}
    with conversation as cluster:
        assert cluster.create_pod(manifest).key == ("default", "web-1", "uid-web-1")
        cluster.create_pod({**manifest, "metadata": {"name": "web-1"}})
    first, second = conversation.requests
    assert (first.method, first.target) == ("POST", "/api/v1/namespaces/team%2Fa/pods")
    assert json.loads(first.body) == {"apiVersion": "v1", "kind": "Pod", **manifest}
    assert second.target == "/api/v1/namespaces/default/pods"


def test_a_pod_is_never_made_twice_by_ourselves() -> None:
    conversation = Conversation(answer(200, pod("web-1")), CLOSE)
    with conversation as cluster:
        cluster.get_pod("default", "web-1")  # so that the connection is an old one
        with pytest.raises(Unreachable):
            cluster.create_pod({"metadata": {"name": "web-1"}})
    assert [request.method for request in conversation.requests] == ["GET", "POST"]


def test_a_manifest_has_what_we_do_not_read() -> None:
    whole = pod("web-1", spec={"containers": [{"name": "c", "env": [{"name": "A"}]}], "futureField": 1.5})
    with Conversation(answer(200, whole), refusal(404, "NotFound", "no"), answer(200, b"[]")) as cluster:
        assert cluster.get_manifest("default", "web-1") == whole
        assert cluster.get_manifest("default", "web-1") is None
        with pytest.raises(Unreachable, match="cannot be decoded"):
            cluster.get_manifest("default", "web-1")


@pytest.mark.parametrize("grace", [None, 0, 30])
def test_a_deletion_names_the_pod_by_its_uid(grace: int | None) -> None:
    conversation = Conversation(answer(200, pod("web-1")))
    with conversation as cluster:
        cluster.delete_pod(POD, grace)
    (request,) = conversation.requests
    options = json.loads(request.body)
    assert request.method == "DELETE"
    assert options["preconditions"] == {"uid": "uid-1"}
    assert options.get("gracePeriodSeconds") == grace
