"""The protocol's methods against scripted answers: what a real API server says rarely."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from engine.cluster.api import LIST_RESTARTS, PAGE, ApiCluster
from engine.cluster.configuration import FixedCredentials
from engine.cluster.errors import ApiError, ClusterError, Expired, Unreachable
from engine.cluster.protocol import (
    Change,
    ClusterEvent,
    EventType,
    LeaseRecord,
    ResourceKind,
    WatchEvent,
)
from engine.cluster.transport import Transport
from engine.model.objects import Condition, Pod, PodKey
from tests.engine.cluster.scripted import SILENCE, Request, ScriptedServer, Step, answer, chunked, refusal

POD = PodKey("default", "web-1", "uid-1")
MOMENT = datetime(2031, 5, 6, 7, 8, 9, 12, tzinfo=UTC)


def pod(name: str, version: str = "7", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": version}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, **fields}


BROKEN = pod("broken", "8", spec={"containers": "a word"})


def page(*items: object, token: str = "", version: str = "100") -> bytes:
    return answer(200, {"metadata": {"resourceVersion": version, "continue": token}, "items": list(items)})


def events(*pairs: tuple[str, object]) -> bytes:
    lines = [json.dumps({"type": kind, "object": item}).encode() + b"\n" for kind, item in pairs]
    return chunked(*lines)


class Conversation:
    """A cluster whose server answers each request, on one connection, with the next step."""

    def __init__(self, *steps: Step) -> None:
        self.server = ScriptedServer(steps)

    def __enter__(self) -> ApiCluster:
        self.server.__enter__()
        self.cluster = ApiCluster(
            Transport(FixedCredentials(self.server.access()), read_timeout=5.0), "berth-0"
        )
        return self.cluster

    def __exit__(self, *problem: Any) -> None:
        self.cluster.close()
        self.server.__exit__(*problem)

    @property
    def requests(self) -> list[Request]:
        return self.server.requests

    def query(self, number: int) -> dict[str, str]:
        parsed = parse_qs(urlsplit(self.requests[number].target).query)
        return {name: values[0] for name, values in parsed.items()}


def names(cluster: ApiCluster, kind: ResourceKind = ResourceKind.PODS) -> list[str]:
    return [item.metadata.name for item in cluster.list(kind).items]


class TestList:
    def test_pages(self) -> None:
        talk = Conversation(page(pod("a"), token="more", version="90"), page(pod("b"), version="91"))
        with talk as cluster:
            listing = cluster.list(ResourceKind.PODS)
        assert [item.metadata.name for item in listing.items] == ["a", "b"]
        assert listing.resource_version == "91"
        selector = "status.phase!=Succeeded,status.phase!=Failed"
        assert talk.query(0) == {"limit": str(PAGE), "fieldSelector": selector}
        assert talk.query(1) == {"limit": str(PAGE), "fieldSelector": selector, "continue": "more"}

    def test_an_expired_token_restarts_the_list(self) -> None:
        expired = refusal(410, "Expired", "the continue token is too old")
        talk = Conversation(
            page(pod("gone"), token="more"), expired, page(pod("a"), token="more"), page(pod("b"))
        )
        with talk as cluster:
            assert names(cluster) == ["a", "b"]
        assert "continue" not in talk.query(2)

    def test_a_list_that_never_gets_to_its_end_is_asked_for_in_one_piece(self) -> None:
        expired = refusal(410, "Expired", "too old")
        steps = [page(pod("a"), token="more"), expired] * (LIST_RESTARTS - 1)
        talk = Conversation(*steps, page(pod("a"), pod("b")))
        with talk as cluster:
            assert names(cluster) == ["a", "b"]
        assert "limit" not in talk.query(-1)

    def test_a_list_that_always_expires_is_expired(self) -> None:
        with (
            Conversation(*[refusal(410, "Expired", "too old")] * LIST_RESTARTS) as cluster,
            pytest.raises(Expired, match="list of pods expired 3 times"),
        ):
            cluster.list(ResourceKind.PODS)

    def test_one_broken_object_is_named_and_left_out(self, caplog: pytest.LogCaptureFixture) -> None:
        with Conversation(page(pod("a"), BROKEN, pod("b"))) as cluster, caplog.at_level(logging.ERROR):
            assert names(cluster) == ["a", "b"]
        assert "pods default/broken cannot be decoded and is left out" in caplog.text
        assert "$.spec.containers" in caplog.text

    def test_an_object_without_even_a_name(self, caplog: pytest.LogCaptureFixture) -> None:
        with Conversation(page({"metadata": 5}, pod("b"))) as cluster, caplog.at_level(logging.ERROR):
            assert names(cluster) == ["b"]
        assert "pods without a name cannot be decoded" in caplog.text

    @pytest.mark.parametrize("items", [None, []], ids=["null", "empty"])
    def test_nothing(self, items: object) -> None:
        with Conversation(answer(200, {"metadata": {"resourceVersion": "5"}, "items": items})) as cluster:
            assert cluster.list(ResourceKind.NODES).items == ()

    @pytest.mark.parametrize("body", [b"{", b"[]", b'{"items": []}', b"\xff"], ids=repr)
    def test_what_is_no_list(self, body: bytes) -> None:
        with (
            Conversation(answer(200, body)) as cluster,
            pytest.raises(Unreachable, match="the list of pods is not what an API server sends"),
        ):
            cluster.list(ResourceKind.PODS)

    def test_unknown_and_missing_fields_are_no_trouble(self) -> None:
        node = {
            "metadata": {"name": "n", "labels": None, "newer": [1]},
            "spec": {"taints": None},
            "extra": {},
        }
        with Conversation(page(node)) as cluster:
            (found,) = cluster.list(ResourceKind.NODES).items
        assert found.metadata.name == "n"


def test_a_list_that_was_asked_for_ahead_is_not_asked_for_again() -> None:
    talk = Conversation(page(pod("a")))
    with talk as cluster:
        cluster.list_ahead([ResourceKind.PODS])
        assert names(cluster) == ["a"]
    assert len(talk.requests) == 1


def watch(*steps: Step) -> tuple[list[WatchEvent], ClusterError | None]:
    """What a watch yields, and what it ends with."""
    found: list[WatchEvent] = []
    with Conversation(*steps) as cluster:
        try:
            for event in cluster.watch(ResourceKind.PODS, "5", 30.0):
                found.append(event)  # noqa: PERF402  (what came before a failure counts)
        except ClusterError as error:
            return found, error
    return found, None


class TestWatch:
    def test_what_is_asked(self) -> None:
        talk = Conversation(events())
        with talk as cluster:
            assert list(cluster.watch(ResourceKind.PODS, "5", 30.2)) == []
        assert talk.query(0) == {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": "5",
            "timeoutSeconds": "31",
            "fieldSelector": "status.phase!=Succeeded,status.phase!=Failed",
        }

    def test_events(self) -> None:
        bookmark = {
            "kind": "Pod",
            "metadata": {"resourceVersion": "9", "creationTimestamp": None},
            "spec": {},
        }
        found, error = watch(
            events(
                ("ADDED", pod("a", "6")),
                ("MODIFIED", pod("a", "7")),
                ("BOOKMARK", bookmark),
                ("DELETED", pod("a", "10")),
            )
        )
        assert error is None
        assert [(event.change, event.resource_version) for event in found] == [
            (Change.ADDED, "6"),
            (Change.MODIFIED, "7"),
            (Change.BOOKMARK, "9"),
            (Change.DELETED, "10"),
        ]
        assert found[2].object is None
        assert isinstance(found[3].object, Pod)

    def test_a_version_that_is_too_old_while_watching(self) -> None:
        gone = {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}
        found, error = watch(events(("ADDED", pod("a")), ("ERROR", gone)))
        assert len(found) == 1
        assert isinstance(error, Expired)

    def test_a_version_that_is_too_old_at_once(self) -> None:
        with Conversation(refusal(410, "Expired", "too old")) as cluster, pytest.raises(Expired):
            cluster.watch(ResourceKind.PODS, "5", 30.0)

    def test_another_error_while_watching(self) -> None:
        status = {"kind": "Status", "code": 500, "reason": "InternalError", "message": "etcd is away"}
        _, error = watch(events(("ERROR", {**status, "details": {"retryAfterSeconds": 4}})))
        assert isinstance(error, ApiError)
        assert (error.status, error.reason, error.message, error.retry_after) == (
            500,
            "InternalError",
            "etcd is away",
            4,
        )

    def test_a_broken_object_is_named_and_only_moves_the_version(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.ERROR):
            found, error = watch(events(("MODIFIED", BROKEN), ("ADDED", pod("a", "9"))))
        assert error is None
        assert [(event.change, event.resource_version) for event in found] == [
            (Change.BOOKMARK, "8"),
            (Change.ADDED, "9"),
        ]
        assert "pods default/broken cannot be decoded" in caplog.text

    def test_an_unknown_type_of_event_is_skipped(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            found, error = watch(events(("RENAMED", pod("a")), ("ADDED", pod("b"))))
        assert error is None
        assert [event.change for event in found] == [Change.ADDED]
        assert "unknown type 'RENAMED'" in caplog.text

    def test_a_line_that_is_no_event(self) -> None:
        found, error = watch(chunked(b"<html>\n"))
        assert found == []
        assert isinstance(error, Unreachable)
        assert "the watch of pods sent what is no event" in str(error)

    def test_empty_lines_mean_nothing(self) -> None:
        assert watch(chunked(b"\n\n")) == ([], None)

    def test_a_watch_that_breaks(self) -> None:
        found, error = watch(events(("ADDED", pod("a")))[:-5])
        assert len(found) == 1
        assert isinstance(error, Unreachable)

    def test_a_refusal_is_raised_before_the_first_event(self) -> None:
        message = (
            'pods is forbidden: User "x" cannot watch resource "pods" in API group "" at the cluster scope'
        )
        with (
            Conversation(refusal(403, "Forbidden", message)) as cluster,
            pytest.raises(
                ApiError, match=r'cannot watch resource "pods".*grant it.*deploy/rbac\.yaml'
            ) as caught,
        ):
            cluster.watch(ResourceKind.PODS, "5", 30.0)
        assert caught.value.status == 403

    def test_watches_end_when_interrupted_and_other_calls_go_on(self) -> None:
        head = events(("ADDED", pod("a")))[:-5]
        with ScriptedServer([head, SILENCE], [answer(200, {"gitVersion": "v1"})], [head]) as server:
            cluster = ApiCluster(Transport(FixedCredentials(server.access())))
            found: list[WatchEvent] = []
            first = threading.Event()

            def read() -> None:
                for event in cluster.watch(ResourceKind.PODS, "5", 600.0):
                    found.append(event)
                    first.set()

            thread = threading.Thread(target=read)
            thread.start()
            assert first.wait(5)
            cluster.interrupt_watches()
            thread.join(5)
            assert not thread.is_alive()
            assert len(found) == 1
            assert cluster.server_version() == "v1"
            assert len(list(cluster.watch(ResourceKind.PODS, "5", 600.0))) <= 1  # what was there already
            cluster.close()


Call = Callable[[ApiCluster], object]
CONDITION = Condition("PodScheduled", "False", "Unschedulable", "0/3 nodes")
EVENT = ClusterEvent(POD, EventType.WARNING, "FailedScheduling", "Scheduling", "0/3 nodes", MOMENT)
LEASE = LeaseRecord("us", 15, MOMENT, MOMENT, 2)
CALLS: dict[str, tuple[Call, str, str]] = {
    "get_pod": (lambda c: c.get_pod("default", "web-1"), "GET", "/api/v1/namespaces/default/pods/web-1"),
    "bind": (lambda c: c.bind(POD, "n"), "POST", "/api/v1/namespaces/default/pods/web-1/binding"),
    "evict": (lambda c: c.evict(POD), "POST", "/api/v1/namespaces/default/pods/web-1/eviction"),
    "patch_pod_condition": (
        lambda c: c.patch_pod_condition(POD, CONDITION),
        "PATCH",
        "/api/v1/namespaces/default/pods/web-1/status",
    ),
    "post_event": (lambda c: c.post_event(EVENT), "POST", "/apis/events.k8s.io/v1/namespaces/default/events"),
    "get_lease": (
        lambda c: c.get_lease("kube-system", "berth"),
        "GET",
        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/berth",
    ),
    "put_lease": (
        lambda c: c.put_lease("kube-system", "berth", LEASE),
        "POST",
        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases",
    ),
}
ANSWERS = {"get_pod": pod("web-1"), "get_lease": {"metadata": {}}, "put_lease": {"metadata": {}}}


@pytest.mark.parametrize("name", CALLS)
def test_each_call_asks_at_its_place(name: str) -> None:
    call, method, path = CALLS[name]
    talk = Conversation(answer(200, ANSWERS.get(name)))
    with talk as cluster:
        call(cluster)
    assert (talk.requests[0].method, talk.requests[0].target) == (method, path)


@pytest.mark.parametrize("status", [400, 403, 409, 429, 500, 503])
@pytest.mark.parametrize("name", CALLS)
def test_each_call_tells_a_refusal(name: str, status: int) -> None:
    with (
        Conversation(refusal(status, "Reason", "the server's words", retryAfterSeconds=7)) as cluster,
        pytest.raises(ApiError, match="the server's words") as caught,
    ):
        CALLS[name][0](cluster)
    assert (caught.value.status, caught.value.reason, caught.value.retry_after) == (status, "Reason", 7)


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [
        ({"Retry-After": "3"}, {"retryAfterSeconds": 9}, 3.0),
        ({}, {"retryAfterSeconds": 9}, 9.0),
        ({"Retry-After": "soon"}, {}, None),
        ({"Retry-After": "-2"}, {}, 0.0),
        ({}, {"retryAfterSeconds": 0}, None),
        ({}, {}, None),
    ],
    ids=["header first", "details", "nonsense", "negative", "zero means nothing", "neither"],
)
def test_when_to_come_again(headers: dict[str, str], details: dict[str, int], seconds: float | None) -> None:
    status = {
        "kind": "Status",
        "code": 429,
        "reason": "TooManyRequests",
        "message": "later",
        "details": details,
    }
    with Conversation(answer(429, status, headers=headers)) as cluster, pytest.raises(ApiError) as caught:
        cluster.bind(POD, "n")
    assert caught.value.retry_after == seconds


def sent(call: Call, reply: bytes = b"") -> dict[str, Any]:
    talk = Conversation(reply or answer(201))
    with talk as cluster:
        call(cluster)
    body: dict[str, Any] = json.loads(talk.requests[0].body)
    return body


def test_a_binding_names_the_pod_by_its_uid() -> None:
    assert sent(lambda c: c.bind(POD, "edge-1")) == {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"namespace": "default", "name": "web-1", "uid": "uid-1"},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "edge-1"},
    }


@pytest.mark.parametrize("grace", [None, 0, 30])
def test_an_eviction_names_the_pod_by_its_uid(grace: int | None) -> None:
    options = sent(lambda c: c.evict(POD, grace))["deleteOptions"]
    assert options["preconditions"] == {"uid": "uid-1"}
    assert options.get("gracePeriodSeconds") == grace


def test_a_condition_is_sent_with_its_status_whatever_it_is() -> None:
    moment = datetime(2031, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    patch = sent(lambda c: c.patch_pod_condition(POD, Condition("T", "Unknown", "R", "m", moment)))
    assert patch["metadata"] == {"uid": "uid-1"}
    assert patch["status"]["conditions"] == [
        {
            "type": "T",
            "status": "Unknown",
            "reason": "R",
            "message": "m",
            "lastTransitionTime": "2031-01-01T00:00:00Z",
        }
    ]


def test_a_condition_of_another_pod_of_that_name_is_a_conflict() -> None:
    immutable = refusal(
        422, "Invalid", 'Pod "web-1" is invalid: metadata.uid: Invalid value: field is immutable'
    )
    with (
        Conversation(immutable) as cluster,
        pytest.raises(ApiError, match="another pod is called default/web-1") as e,
    ):
        cluster.patch_pod_condition(POD, CONDITION)
    assert e.value.status == 409


class TestEvents:
    def body(self, **changes: Any) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "regarding": POD,
            "type": EventType.NORMAL,
            "reason": "Scheduled",
            "action": "Binding",
            "message": "assigned to edge-1",
            "time": MOMENT,
        }
        return sent(lambda c: c.post_event(ClusterEvent(**{**fields, **changes})))

    def test_the_controller_is_the_scheduler_that_the_pod_asks_for(self) -> None:
        assert self.body(controller="edge-scheduler")["reportingController"] == "edge-scheduler"
        assert self.body()["reportingInstance"] == self.body(controller="edge-scheduler")["reportingInstance"]

    def test_fields(self) -> None:
        body = self.body()
        name = body["metadata"].pop("name")
        assert name.startswith("web-1.")
        assert body == {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"namespace": "default"},
            "eventTime": "2031-05-06T07:08:09.000012Z",
            "reportingController": "berth",
            "reportingInstance": "berth-0",
            "type": "Normal",
            "reason": "Scheduled",
            "action": "Binding",
            "note": "assigned to edge-1",
            "regarding": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": "default",
                "name": "web-1",
                "uid": "uid-1",
            },
        }

    def test_about_a_node(self) -> None:
        body = self.body(regarding="edge-1")
        assert body["metadata"]["namespace"] == "default"
        assert body["regarding"] == {"apiVersion": "v1", "kind": "Node", "name": "edge-1", "uid": "edge-1"}

    def test_the_name_is_the_same_for_the_same_and_another_for_another(self) -> None:
        ours = self.body()["metadata"]["name"]
        assert self.body()["metadata"]["name"] == ours
        others = [
            self.body(time=MOMENT + timedelta(microseconds=1)),
            self.body(message="other"),
            self.body(reason="Other"),
            self.body(regarding=POD._replace(uid="uid-2")),
        ]
        assert len({ours, *(other["metadata"]["name"] for other in others)}) == 5

    @pytest.mark.parametrize("name", ["x" * 253, "a" * 235 + ".-.b"], ids=["long", "ends in dots"])
    def test_the_name_of_a_long_pod_is_a_name_still(self, name: str) -> None:
        made = self.body(regarding=POD._replace(name=name))["metadata"]["name"]
        assert len(made) <= 253
        assert ".." not in made
        assert "-." not in made

    @pytest.mark.parametrize("length", [1024, 1025, 5000])
    @pytest.mark.parametrize("letter", ["a", "ä", "→"])
    def test_a_long_message_is_cut_to_the_servers_limit(self, letter: str, length: int) -> None:
        message = letter * length
        note = self.body(message=message)["note"]
        assert len(note.encode()) <= 1024
        assert note == message or (note.endswith("…") and len(note.encode()) > 1018)

    def test_one_that_is_there_already_is_no_error(self) -> None:
        with Conversation(refusal(409, "AlreadyExists", "is there")) as cluster:
            cluster.post_event(EVENT)


class TestLeases:
    def test_nobody_has_ever_led(self) -> None:
        with Conversation(refusal(404, "NotFound", "no such lease")) as cluster:
            assert cluster.get_lease("kube-system", "berth") is None

    def test_a_released_lease(self) -> None:
        body = {"metadata": {"resourceVersion": "4"}, "spec": {"holderIdentity": None, "leaseTransitions": 3}}
        with Conversation(answer(200, body)) as cluster:
            found = cluster.get_lease("kube-system", "berth")
        assert found is not None
        assert (found.holder, found.duration_seconds, found.transitions, found.version) == ("", 0, 3, "4")
        assert found.renew_time == datetime.fromtimestamp(0, UTC)

    def test_a_renewal_names_the_version_that_it_replaces(self) -> None:
        reply = answer(200, {"metadata": {"resourceVersion": "6"}, "spec": {"holderIdentity": "us"}})
        record = LeaseRecord("us", 15, MOMENT, MOMENT, 2, "5")
        talk = Conversation(reply)
        with talk as cluster:
            assert cluster.put_lease("kube-system", "berth", record).version == "6"
        assert talk.requests[0].method == "PUT"
        body = json.loads(talk.requests[0].body)
        assert body["metadata"]["resourceVersion"] == "5"
        assert body["spec"] == {
            "holderIdentity": "us",
            "leaseDurationSeconds": 15,
            "acquireTime": "2031-05-06T07:08:09.000012Z",
            "renewTime": "2031-05-06T07:08:09.000012Z",
            "leaseTransitions": 2,
        }


@pytest.fixture
def odd_pod() -> Iterator[ApiCluster]:
    with Conversation(answer(200, {"metadata": {"name": "web-1", "namespace": "d"}, "spec": 3})) as cluster:
        yield cluster


def test_a_pod_that_cannot_be_decoded_is_named(odd_pod: ApiCluster) -> None:
    with pytest.raises(Unreachable, match="pod d/web-1 cannot be decoded: Expected `object`"):
        odd_pod.get_pod("d", "web-1")
