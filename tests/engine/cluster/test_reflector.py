from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cluster.errors import ApiError, ClusterError, ConfigurationError, Expired, Unreachable
from engine.cluster.protocol import Change, Listing, Object, ResourceKind, WatchEvent
from engine.cluster.reflector import (
    Deleted,
    Recovered,
    Reflector,
    Synced,
    Trouble,
    Update,
    Upserted,
)
from engine.model.objects import Node, ObjectMeta, Pod
from tests.engine.cluster.double import ManualClock, ScriptedCluster

PODS = ResourceKind.PODS


def pod(name: str, version: int = 1, uid: str | None = None) -> Pod:
    return Pod(ObjectMeta(name=name, namespace="d", uid=uid or f"uid-{name}", resource_version=str(version)))


def listing(version: int, *items: Object) -> Listing:
    return Listing(items, str(version))


def added(item: Object) -> WatchEvent:
    return WatchEvent(Change.ADDED, item, item.metadata.resource_version)


def modified(item: Object) -> WatchEvent:
    return WatchEvent(Change.MODIFIED, item, item.metadata.resource_version)


def deleted(item: Object) -> WatchEvent:
    return WatchEvent(Change.DELETED, item, item.metadata.resource_version)


def bookmark(version: int) -> WatchEvent:
    return WatchEvent(Change.BOOKMARK, None, str(version))


class Bench:
    """A reflector on a script, and what it told."""

    def __init__(self, lists: list[object], watches: list[object]) -> None:
        self.cluster = ScriptedCluster(list=lists, watch=watches)
        self.clock = ManualClock()
        self.told: list[Update] = []
        self.stop = threading.Event()
        self.reflector = Reflector(
            self.cluster, PODS, self.told.append, self.clock, timeout=100.0, sleep=self.clock.sleep
        )

    def steps(self, count: int) -> list[Update]:
        """What each of so many passes told, together, since the last call."""
        before = len(self.told)
        for _ in range(count):
            self.reflector.step()
        return self.told[before:]

    def run(self, troubles: int | None = None) -> list[Update]:
        """Run until the script ends the run (a step that sets ``stop``), or until so many backoffs."""
        if troubles is not None:
            self.clock.on_sleep = lambda: self.stop.set() if len(self.clock.slept) >= troubles else None
        self.reflector.run(self.stop)
        return self.told

    def versions(self) -> list[object]:
        """The versions that watches began with."""
        return [arguments[1] for arguments in self.cluster.called("watch")]


def test_a_list_then_watches_that_go_on_where_the_last_event_was() -> None:
    bench = Bench(
        [listing(10, pod("a"), pod("b"))],
        [[added(pod("c", 11)), modified(pod("a", 12))], [bookmark(20)], [deleted(pod("b", 21))], []],
    )
    assert bench.steps(1) == [Upserted(pod("a")), Upserted(pod("b")), Synced(PODS, 2)]
    assert bench.steps(1) == [Upserted(pod("c", 11)), Upserted(pod("a", 12))]
    assert bench.steps(1) == []
    assert bench.steps(2) == [Deleted(pod("b", 21))]
    assert bench.versions() == ["10", "12", "20", "21"]


def test_a_watch_lasts_its_timeout_and_up_to_half_more() -> None:
    bench = Bench([listing(10)], [[] for _ in range(50)])
    bench.steps(51)
    timeouts = [arguments[2] for arguments in bench.cluster.called("watch")]
    assert all(isinstance(timeout, float) and 100 <= timeout <= 150 for timeout in timeouts)
    assert len(set(timeouts)) > 1


def test_a_version_that_is_too_old_leads_to_a_list_and_the_difference() -> None:
    bench = Bench(
        [
            listing(10, pod("stays"), pod("changes"), pod("goes")),
            listing(90, pod("stays"), pod("changes", 80), pod("new", 85)),
        ],
        [[added(pod("early", 11)), Expired("too old")]],
    )
    bench.steps(2)
    assert bench.steps(1) == [
        Upserted(pod("changes", 80)),
        Upserted(pod("new", 85)),
        Deleted(pod("goes")),
        Deleted(pod("early", 11)),
        Synced(PODS, 3),
    ]


@pytest.mark.parametrize("seen", ["in a watch", "in a list"])
def test_a_pod_that_was_made_anew_under_its_name(seen: str) -> None:
    new = pod("a", 20, uid="other")
    if seen == "in a watch":
        bench = Bench([listing(10, pod("a"))], [[modified(new)]])
        bench.steps(1)
        assert bench.steps(1) == [Deleted(pod("a")), Upserted(new)]
    else:
        bench = Bench([listing(10, pod("a")), listing(30, new)], [[bookmark(11), Expired("old")]])
        bench.steps(2)
        assert bench.steps(1) == [Deleted(pod("a")), Upserted(new), Synced(PODS, 1)]


def test_a_deletion_of_one_that_was_made_anew_unseen_deletes_both() -> None:
    new = pod("a", 20, uid="other")
    bench = Bench([listing(10, pod("a"))], [[deleted(new)]])
    bench.steps(1)
    assert bench.steps(1) == [Deleted(pod("a")), Deleted(new)]


def test_what_is_known_already_is_not_told_again() -> None:
    bench = Bench([listing(10, pod("a", 7))], [[added(pod("a", 7)), modified(pod("a", 8))]])
    bench.steps(1)
    assert bench.steps(1) == [Upserted(pod("a", 8))]


def test_pods_of_one_name_in_two_namespaces_are_two() -> None:
    other = Pod(ObjectMeta(name="a", namespace="e", uid="u", resource_version="2"))
    bench = Bench([listing(10, pod("a"), other)], [])
    assert bench.steps(1) == [Upserted(pod("a")), Upserted(other), Synced(PODS, 2)]


def test_nodes_too() -> None:
    node = Node(ObjectMeta(name="n", uid="u", resource_version="3"))
    told: list[Update] = []
    cluster = ScriptedCluster(list=[listing(10, node)], watch=[[deleted(node)]])
    reflector = Reflector(cluster, ResourceKind.NODES, told.append, ManualClock())
    assert reflector.step()
    assert reflector.step()
    assert told == [Upserted(node), Synced(ResourceKind.NODES, 1), Deleted(node)]
    assert cluster.called("list") == [(ResourceKind.NODES,)]


def test_a_step_tells_whether_it_learnt_anything() -> None:
    bench = Bench([listing(10)], [[bookmark(11)], []])
    assert [bench.reflector.step() for _ in range(3)] == [True, True, False]


def test_a_queue_is_a_sink() -> None:
    told: queue.SimpleQueue[Update] = queue.SimpleQueue()
    Reflector(ScriptedCluster(list=[listing(10, pod("a"))]), PODS, told.put, ManualClock()).step()
    assert (told.get_nowait(), told.get_nowait()) == (Upserted(pod("a")), Synced(PODS, 1))


TROUBLES: dict[str, ClusterError] = {
    "unreachable": Unreachable("https://edge:6443: connection refused"),
    "overloaded": ApiError(429, "TooManyRequests", "later"),
    "refused credentials": ApiError(401, "Unauthorized", "renew"),
    "forbidden": ApiError(403, "Forbidden", 'User "x" cannot list resource "pods"'),
    "certificates": ConfigurationError("the server's certificate is not the one expected"),
}


@pytest.mark.parametrize("error", TROUBLES.values(), ids=TROUBLES.keys())
@pytest.mark.parametrize("where", ["list", "watch", "in the watch"])
def test_a_trouble_is_told_once_backs_off_and_is_got_over(
    error: ClusterError, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    end: list[object] = []
    lists: list[object] = [listing(10, pod("a"))]
    if where == "list":
        bench = Bench([error, error, error, *lists], [end])
    else:
        fault: object = error if where == "watch" else [bookmark(11), error]
        bench = Bench(lists, [fault, error, error, end])
    end += [bookmark(20), bench.stop.set]
    with caplog.at_level(logging.WARNING):
        told = bench.run()
    troubles = [update for update in told if isinstance(update, Trouble)]
    recovered = [update for update in told if isinstance(update, Recovered)]
    (trouble,) = troubles if where != "in the watch" else troubles[:1]
    assert trouble.kind is PODS
    assert str(getattr(error, "message", error)) in trouble.message
    assert recovered == [Recovered(PODS)]
    assert told.index(Recovered(PODS)) > told.index(trouble)
    assert len(bench.clock.slept) == 3
    assert all(pause >= 0.2 for pause in bench.clock.slept)
    assert bench.cluster.left() == {}
    assert sum("next try in" in record.message for record in caplog.records) == 1
    if where == "in the watch":
        assert bench.versions() == ["10", "11", "11", "11"]


def test_what_is_missing_of_our_rights_is_named() -> None:
    message = 'pods is forbidden: User "x" cannot watch resource "pods"; grant it'
    bench = Bench([listing(10)], [ApiError(403, "Forbidden", message)] * 5)
    told = bench.run(troubles=5)
    assert told[1:] == [Trouble(PODS, f"not allowed to list and watch pods: {message}")]


def test_the_backoff_grows_but_not_for_ever() -> None:
    bench = Bench([Unreachable("away")] * 200, [])
    bench.run(troubles=200)
    early, late = bench.clock.slept[:3], bench.clock.slept[20:]
    assert max(early) <= 2.0
    assert max(late) > 5.0
    assert all(0.2 <= pause <= 30.0 for pause in bench.clock.slept)
    assert len(set(late)) > 100  # jitter


def test_the_server_says_when_to_come_again() -> None:
    bench = Bench([ApiError(429, "TooManyRequests", "later", 7.0)] * 3, [])
    bench.run(troubles=3)
    assert bench.clock.slept == [7.0] * 3


def test_watches_that_end_at_once_do_not_turn_in_a_hot_loop() -> None:
    bench = Bench([listing(10)], [[] for _ in range(20)])
    told = bench.run(troubles=20)
    assert "ended the watch of pods after 0.0 s" in str(told[1])
    assert sum(bench.clock.slept) > 20.0


def test_a_watch_that_lasted_is_followed_by_the_next_at_once() -> None:
    def wait() -> None:
        bench.clock.time += 120.0

    def finish() -> None:
        wait()
        bench.stop.set()

    bench = Bench([listing(10)], [])
    bench.cluster._scripts["watch"] = [[wait], [wait], [finish]]
    bench.run()
    assert bench.clock.slept == []
    assert len(bench.versions()) == 3


def test_lists_that_are_too_old_at_once_do_not_turn_in_a_hot_loop() -> None:
    bench = Bench([listing(10, pod("a"))] * 30, [Expired("too old")] * 30)
    bench.run(troubles=10)
    assert len(bench.cluster.called("list")) <= 11
    assert sum(bench.clock.slept) > 5.0


def test_a_watch_that_has_told_something_is_listed_again_at_once_when_too_old() -> None:
    bench = Bench([listing(10), listing(50)], [])
    bench.cluster._scripts["watch"] = [[bookmark(11), Expired("old")], [bench.stop.set, bookmark(51)]]
    bench.run()
    assert bench.clock.slept == []
    assert bench.versions() == ["10", "50"]


def test_a_quiet_watch_that_broke_is_no_trouble_when_its_version_has_become_too_old() -> None:
    def wait() -> None:
        bench.clock.time += 120.0

    bench = Bench([listing(10), listing(50)], [])
    bench.cluster._scripts["watch"] = [
        [wait, Unreachable("gone")],
        Expired("old"),
        [bench.stop.set, bookmark(51)],
    ]
    told = bench.run()
    assert [type(update) for update in told] == [Synced, Trouble, Synced, Recovered]
    assert len(bench.clock.slept) == 1


def test_stopping_ends_a_backoff_at_once() -> None:
    tried = threading.Event()

    def fail() -> None:
        tried.set()
        raise ApiError(429, "TooManyRequests", "much later", 50.0)

    stop = threading.Event()
    reflector = Reflector(ScriptedCluster(list=[fail]), PODS, lambda update: None, ManualClock())
    thread = threading.Thread(target=reflector.run, args=(stop,))
    thread.start()
    assert tried.wait(5)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def test_a_trouble_while_stopping_is_none() -> None:
    def fail() -> None:
        bench.stop.set()
        raise Unreachable("interrupted")

    bench = Bench([listing(10)], [fail])
    assert bench.run() == [Synced(PODS, 0)]


class Truth:
    """What a server holds: objects by name, and all that has happened."""

    def __init__(self) -> None:
        self.version = 1
        self.objects: dict[str, Pod] = {}
        self.history: list[WatchEvent] = []
        self.made = 0

    def put(self, name: str) -> None:
        self.version += 1
        old = self.objects.get(name)
        if old is None:
            self.made += 1
        item = pod(name, self.version, uid=old.metadata.uid if old else f"uid-{self.made}")
        self.objects[name] = item
        self.history.append(modified(item) if old else added(item))

    def remove(self, name: str) -> None:
        if (old := self.objects.pop(name, None)) is not None:
            self.version += 1
            self.history.append(deleted(pod(name, self.version, uid=old.metadata.uid)))


Action = tuple[str, str]
NAMES = st.sampled_from("abcd")
ACTIONS = st.one_of(
    st.tuples(st.just("put"), NAMES),
    st.tuples(st.just("remove"), NAMES),
    st.tuples(st.sampled_from(["watch", "break", "expire"]), st.just("")),
)


@settings(deadline=None)
@given(st.lists(ACTIONS, max_size=60))
def test_whatever_happens_the_sink_ends_up_with_the_truth(actions: list[Action]) -> None:
    truth = Truth()
    seen: dict[str, Pod] = {}  # by uid: two of one name must never be there together

    def apply(update: Update) -> None:
        if isinstance(update, Upserted):
            assert isinstance(update.object, Pod)
            seen[update.object.metadata.uid] = update.object
        elif isinstance(update, Deleted):
            del seen[update.object.metadata.uid]
        names = [item.metadata.name for item in seen.values()]
        assert len(names) == len(set(names))

    class Server(ScriptedCluster):
        mode = "watch"

        def list(self, kind: ResourceKind) -> Listing:
            return listing(truth.version, *truth.objects.values())

        def watch(self, kind: ResourceKind, resource_version: str, timeout: float) -> Iterator[WatchEvent]:
            if self.mode == "expire":
                raise Expired("too old")
            news = [event for event in truth.history if int(event.resource_version) > int(resource_version)]
            if self.mode == "break":
                return self._events([*news[: len(news) // 2], Unreachable("broken")])
            return self._events(news)

    server = Server()
    reflector = Reflector(server, PODS, apply, ManualClock())

    def step() -> None:
        with contextlib.suppress(ClusterError):
            reflector.step()

    for action, name in actions:
        if action == "put":
            truth.put(name)
        elif action == "remove":
            truth.remove(name)
        else:
            server.mode = action
            step()
    server.mode = "watch"
    for _ in range(2):
        step()
    assert sorted(seen.values(), key=str) == sorted(truth.objects.values(), key=str)


def test_an_event_costs_little() -> None:
    """Far above what it costs, so that only a mistake in the way it works is caught; bench_watch measures."""
    count = 20_000
    changes = [modified(pod(f"p{number % 1000}", number + 100)) for number in range(count)]
    bench = Bench([listing(10)], [changes])
    bench.steps(1)
    began = time.process_time()
    bench.steps(1)
    spent = time.process_time() - began
    assert spent / count < 30e-6
    assert len(bench.told) == count + 1
