"""A cluster that does as a script says: for tests of what stands on the protocol."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from engine.cluster.protocol import (
    ClusterEvent,
    LeaseRecord,
    Listing,
    ResourceKind,
    WatchEvent,
)
from engine.model.device_uses import DeviceMapping
from engine.model.devices import Allocation, ResourceClaim
from engine.model.objects import Condition, Pod, PodKey
from engine.model.storage import PersistentVolume, PersistentVolumeClaim

Step = object
"""What a call does: raise it if it is an exception, call it if it can be called, else return it."""


class ScriptedCluster:
    """Answers each call with the next step of its method's script; a call without one is a fault of the test.

    Attributes:
        calls: What was called, in order: the method's name and its arguments.
    """

    def __init__(self, **scripts: Iterable[Step]) -> None:
        self._scripts = {name: list(steps) for name, steps in scripts.items()}
        self._lock = threading.Lock()
        self.calls: list[tuple[str, tuple[object, ...]]] = []

    def called(self, name: str) -> list[tuple[object, ...]]:
        """The arguments of each call of the method."""
        return [arguments for called, arguments in self.calls if called == name]

    def left(self) -> dict[str, list[Step]]:
        """Steps that nothing has called for."""
        return {name: steps for name, steps in self._scripts.items() if steps}

    def _next(self, name: str, *arguments: object) -> Any:
        with self._lock:
            self.calls.append((name, arguments))
            steps = self._scripts.get(name)
            assert steps, f"{name}{arguments} was not expected"
            step = steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step() if callable(step) else step

    def list(self, kind: ResourceKind) -> Listing:
        return self._next("list", kind)  # type: ignore[no-any-return]

    def watch(self, kind: ResourceKind, resource_version: str, timeout: float) -> Iterator[WatchEvent]:
        """A step is the iterable of events; an exception in it is raised when its turn comes."""
        return self._events(self._next("watch", kind, resource_version, timeout))

    @staticmethod
    def _events(steps: Iterable[object]) -> Iterator[WatchEvent]:
        for step in steps:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, WatchEvent):
                yield step
            else:
                assert callable(step)
                step()

    def get_pod(self, namespace: str, name: str) -> Pod | None:
        return self._next("get_pod", namespace, name)  # type: ignore[no-any-return]

    def get_manifest(self, namespace: str, name: str) -> Mapping[str, object] | None:
        return self._next("get_manifest", namespace, name)  # type: ignore[no-any-return]

    def create_pod(self, manifest: Mapping[str, object]) -> Pod:
        return self._next("create_pod", manifest)  # type: ignore[no-any-return]

    def ensure_priority_class(self, name: str, value: int, description: str) -> None:
        self._next("ensure_priority_class", name, value, description)

    def bind(self, pod: PodKey, node: str) -> None:
        self._next("bind", pod, node)

    def evict(self, pod: PodKey, grace_seconds: int | None = None) -> None:
        self._next("evict", pod, grace_seconds)

    def delete_pod(self, pod: PodKey, grace_seconds: int | None = None) -> None:
        self._next("delete_pod", pod, *(() if grace_seconds is None else (grace_seconds,)))

    def nominate(self, pod: PodKey, node: str) -> None:
        self._next("nominate", pod, node)

    def patch_pod_condition(self, pod: PodKey, condition: Condition) -> None:
        self._next("patch_pod_condition", pod, condition)

    def get_claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        return self._next("get_claim", namespace, name)  # type: ignore[no-any-return]

    def get_volume(self, name: str) -> PersistentVolume | None:
        return self._next("get_volume", name)  # type: ignore[no-any-return]

    def give_volume(self, volume: PersistentVolume, claim: PersistentVolumeClaim) -> PersistentVolume:
        return self._next("give_volume", volume, claim)  # type: ignore[no-any-return]

    def select_node(self, claim: PersistentVolumeClaim, node: str) -> PersistentVolumeClaim:
        return self._next("select_node", claim, node)  # type: ignore[no-any-return]

    def get_resource_claim(self, namespace: str, name: str) -> ResourceClaim | None:
        return self._next("get_resource_claim", namespace, name)  # type: ignore[no-any-return]

    def reserve_resource_claim(
        self, claim: ResourceClaim, pod: PodKey, allocation: Allocation | None
    ) -> ResourceClaim:
        return self._next("reserve_resource_claim", claim, pod, allocation)  # type: ignore[no-any-return]

    def create_resource_claim(self, claim: ResourceClaim) -> ResourceClaim:
        return self._next("create_resource_claim", claim)  # type: ignore[no-any-return]

    def delete_resource_claim(self, claim: ResourceClaim) -> None:
        self._next("delete_resource_claim", claim)

    def tell_extended_claim(self, pod: PodKey, claim: str, mappings: Sequence[DeviceMapping]) -> None:
        self._next("tell_extended_claim", pod, claim, mappings)

    def release_resource_claim(self, claim: ResourceClaim) -> ResourceClaim:
        return self._next("release_resource_claim", claim)  # type: ignore[no-any-return]

    def post_event(self, event: ClusterEvent) -> None:
        self._next("post_event", event)

    def get_lease(self, namespace: str, name: str) -> LeaseRecord | None:
        return self._next("get_lease", namespace, name)  # type: ignore[no-any-return]

    def put_lease(self, namespace: str, name: str, record: LeaseRecord) -> LeaseRecord:
        return self._next("put_lease", namespace, name, record)  # type: ignore[no-any-return]


class ManualClock:
    """A clock that stands still until a test, or a sleep on it, moves it."""

    def __init__(self, time: float = 1000.0) -> None:
        self.time = time
        self.slept: list[float] = []
        self.on_sleep: Callable[[], object] = lambda: None

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        """Instead of time.sleep."""
        self.slept.append(seconds)
        self.time += seconds
        self.on_sleep()
