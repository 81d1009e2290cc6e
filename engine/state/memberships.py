"""Which pods belong together, by services and by what made them: those that are spread by default.

Source: kube-scheduler's plugins/helper (DefaultSelector).
"""

from __future__ import annotations

from itertools import count
from typing import Final

from engine.model.objects import ReplicaSet, ReplicationController, Service, StatefulSet
from engine.model.selectors import EVERYTHING, NOTHING, Selector, equal, selector_of, selector_of_labels
from engine.model.shape import Controller, Shape

Grouping = Service | ReplicationController | ReplicaSet | StatefulSet

_CONTROLLERS: Final = {ReplicationController: "v1", ReplicaSet: "apps/v1", StatefulSet: "apps/v1"}


class Memberships:
    """Selectors of services and workloads, by namespace."""

    __slots__ = ("_changes", "_controllers", "_services", "_versions")

    def __init__(self) -> None:
        self._services: dict[str, dict[str, Selector]] = {}
        self._controllers: dict[tuple[str, Controller], Selector] = {}
        self._versions: dict[str, int] = {}
        self._changes = count(1)

    def version(self, namespace: str) -> int:
        """Another number after every change in the namespace."""
        return self._versions.get(namespace, 0)

    def put(self, item: Grouping) -> None:
        """Take over a service or a workload."""
        if isinstance(item, Service | ReplicationController):
            selector = selector_of_labels(item.spec.selector)
        else:
            selector = selector_of(item.spec.selector)
        self._store(item, selector)

    def remove(self, item: Grouping) -> None:
        """Forget a service or a workload."""
        self._store(item, None)

    def selector(self, shape: Shape) -> Selector:
        """What the pods that belong together with one of this shape have in common; NOTHING where none do."""
        labels: dict[str, str] = {}
        for selector in self._services.get(shape.namespace, {}).values():
            if selector.matches(shape.labels):
                labels.update((one.key, one.values[0]) for one in selector.expressions or ())
        found = EVERYTHING
        owner = shape.controller
        made = None if owner is None else self._controllers.get((shape.namespace, owner))
        if made is not None and owner is not None and owner.kind == "ReplicationController":
            labels.update((one.key, one.values[0]) for one in made.expressions or ())
        elif made is not None:
            found = found.also(made.expressions or ())
        found = found.also(equal(labels))
        return NOTHING if found == EVERYTHING else found

    def _store(self, item: Grouping, selector: Selector | None) -> None:
        namespace, name = item.metadata.namespace, item.metadata.name
        if isinstance(item, Service):
            services = self._services.setdefault(namespace, {})
            before = services.pop(name, None)
            if selector is not None:
                services[name] = selector
            if not services:
                del self._services[namespace]
        else:
            owner = Controller(_CONTROLLERS[type(item)], type(item).__name__, name)
            before = self._controllers.pop((namespace, owner), None)
            if selector is not None:
                self._controllers[namespace, owner] = selector
        if before != selector:
            self._versions[namespace] = next(self._changes)
