"""The loop's threads: a server that does not answer, faults of our own, and ending."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import cast

import msgspec
import pytest

from engine.binder.executors import CAPACITY
from engine.clock import SystemClock
from engine.cluster.api import ApiCluster
from engine.cluster.errors import ApiError, Unreachable
from engine.cluster.leader import Elector, LeaseTerms
from engine.cluster.protocol import ClusterEvent, Listing, Object, ResourceKind, WatchEvent
from engine.cluster.simulated import SimulatedCluster
from engine.model.objects import Condition, PodKey
from engine.scheduler.loop import Loop
from engine.scheduler.policies import PolicySource
from engine.settings import QueueSettings, Settings
from tests.engine.scheduler.test_simulation import POLICY, node, plan, pod


class Server:
    """An API server of a few lines: lists what it was given, and watches in which nothing happens.

    Attributes:
        answer: Until it is set, no binding gets an answer.
    """

    def __init__(self, *objects: Object) -> None:
        self.objects = objects
        self.answer = threading.Event()
        self.bound: list[tuple[str, str]] = []
        self.leases = SimulatedCluster()
        self._over = threading.Event()

    def list(self, kind: ResourceKind) -> Listing:
        kinds = {"Pod": ResourceKind.PODS, "Node": ResourceKind.NODES}
        return Listing(tuple(one for one in self.objects if kinds[type(one).__name__] is kind), "1")

    def watch(self, kind: ResourceKind, resource_version: str, timeout: float) -> Iterator[WatchEvent]:
        self._over.wait(timeout)
        return iter(())

    def bind(self, key: PodKey, node: str) -> None:
        if not self.answer.wait(60):
            raise Unreachable("no answer")
        self.bound.append((key.name, node))

    def patch_pod_condition(self, key: PodKey, condition: Condition) -> None:
        pass

    def post_event(self, event: ClusterEvent) -> None:
        pass

    def interrupt_watches(self) -> None:
        self._over.set()

    def close(self) -> None:
        self._over.set()


class Running:
    """A loop in a thread."""

    def __init__(self, server: Server, elector: Elector | None = None, policy: str = POLICY) -> None:
        settings = Settings(shutdown_grace=1.0, queue=QueueSettings(0.05, 0.1))
        self.server = server
        self.loop = Loop(
            cast("ApiCluster", server),
            settings,
            plan(policy),
            None,
            PolicySource([]),
            None,
            SystemClock(),
            elector,
        )
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.loop.run()
        except BaseException as error:
            self.error = error

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 20.0
        while not condition():
            assert time.monotonic() < deadline, f"it never came that {what}"
            self.thread.join(0.01)

    def end(self) -> float:
        began = time.monotonic()
        self.loop.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()
        return time.monotonic() - began


def nodes(count: int) -> list[Object]:
    return [node(f"edge-{number}", cpu="1000") for number in range(count)]


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*args: object) -> Running:
        started.append(Running(*args))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for running in started:
        running.server.answer.set()
        running.end()


def many(count: int) -> list[Object]:
    made: list[Object] = []
    for number in range(count):
        one = pod(f"pod-{number}", cpu="1m")
        made.append(_with_uid(one, str(number)))
    return made


def _with_uid(one: Object, uid: str) -> Object:
    return msgspec.structs.replace(one, metadata=msgspec.structs.replace(one.metadata, uid=uid))


def test_a_server_that_is_silent_does_not_hold_up_the_deciding_thread(start: Callable[..., Running]) -> None:
    """More pods than may wait for a binder: the thread that decides still takes in what happens."""
    server = Server(*nodes(30), *many(CAPACITY + 500))
    running = start(server)
    running.until(lambda: running.loop.bindings > CAPACITY - 32, "the binder is full")
    before = running.loop.turned
    running.until(lambda: running.loop.turned > before + 1.5, "it goes round")
    assert running.loop.bindings <= CAPACITY
    server.answer.set()
    running.until(lambda: len(server.bound) == CAPACITY + 500, "all are bound")
    assert len(set(server.bound)) == CAPACITY + 500
    assert running.loop.dead() == []


def test_it_ends_within_its_grace_though_nobody_answers(start: Callable[..., Running]) -> None:
    running = start(Server(*nodes(3), *many(100)))
    running.until(lambda: running.loop.bindings > 0, "bindings are under way")
    assert running.end() < 1.5
    assert running.error is None


def test_who_does_not_lead_watches_and_decides_nothing(start: Callable[..., Running]) -> None:
    server = Server(*nodes(3), *many(20))
    server.answer.set()
    terms = LeaseTerms("kube-system", "berth", "us", 0.5, 0.4, 0.05)
    other = Elector(server.leases, LeaseTerms("kube-system", "berth", "other", 0.5, 0.4, 0.05), SystemClock())
    other.step()
    elector = Elector(server.leases, terms, SystemClock())
    running = start(server, elector)
    running.until(lambda: len(running.loop.scheduler.queue) == 20, "all are queued")
    assert server.bound == []
    other.give_back()
    running.until(lambda: len(server.bound) == 20, "it has taken over")
    running.end()
    assert not running.loop.lost
    lease = server.leases.get_lease("kube-system", "berth")
    assert lease is not None
    assert lease.holder == "", "given back at the end"


def test_who_loses_the_lease_ends(start: Callable[..., Running]) -> None:
    server = Server(*nodes(3))
    elector = Elector(server.leases, LeaseTerms("kube-system", "berth", "us", 0.5, 0.4, 0.05), SystemClock())
    running = start(server, elector)
    running.until(lambda: elector.leading, "it leads")
    taken = False
    while not taken:
        held = server.leases.get_lease("kube-system", "berth")
        assert held is not None
        with suppress(ApiError):  # the holder has renewed meanwhile
            server.leases.put_lease("kube-system", "berth", replace(held, holder="other"))
            taken = True
    running.until(lambda: not running.thread.is_alive(), "it ends")
    assert running.loop.lost
    lease = server.leases.get_lease("kube-system", "berth")
    assert lease is not None
    assert lease.holder == "other"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ended_by_itself_is_named(start: Callable[..., Running]) -> None:
    class Broken(Server):
        def watch(self, kind: ResourceKind, resource_version: str, timeout: float) -> Iterator[WatchEvent]:
            if kind is ResourceKind.PODS:
                raise SystemExit  # ends a thread without a word
            return super().watch(kind, resource_version, timeout)

    running = start(Broken(*nodes(1)))
    running.until(lambda: running.loop.dead() == ["watch-pods"], "the thread is dead")
