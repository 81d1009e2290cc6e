"""Disruption budgets, as far as they say which of some pods may not be taken from a node.

Source: kube-scheduler's defaultpreemption. An empty selector, which elsewhere selects everything, selects nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.model.objects import PodDisruptionBudget
from engine.model.selectors import Selector, selector_of
from engine.state.pods import PlacedPod


class _Budget:
    __slots__ = ("allowed", "disrupted", "selector")

    def __init__(self, selector: Selector, allowed: int, disrupted: frozenset[str]) -> None:
        self.selector = selector
        self.allowed = allowed
        self.disrupted = disrupted


class Budgets:
    """The budgets by namespace.

    Attributes:
        version: Grows with every change that a preemption could notice.
    """

    __slots__ = ("_by_namespace", "version")

    def __init__(self) -> None:
        self._by_namespace: dict[str, dict[str, _Budget]] = {}
        self.version = 0

    def put(self, item: PodDisruptionBudget) -> None:
        """Add a budget or take over its changes."""
        selector = selector_of(item.spec.selector)
        if selector.nothing or selector.everything:
            self.remove(item)
            return
        budget = _Budget(
            selector, item.status.disruptions_allowed, frozenset(item.status.disrupted_pods or ())
        )
        budgets = self._by_namespace.setdefault(item.metadata.namespace, {})
        before = budgets.get(item.metadata.name)
        if (
            before is None
            or before.selector != selector
            or before.allowed != budget.allowed
            or before.disrupted != budget.disrupted
        ):
            budgets[item.metadata.name] = budget
            self.version += 1

    def remove(self, item: PodDisruptionBudget) -> None:
        """Forget a budget."""
        budgets = self._by_namespace.get(item.metadata.namespace)
        if budgets is not None and budgets.pop(item.metadata.name, None) is not None:
            self.version += 1
            if not budgets:
                del self._by_namespace[item.metadata.namespace]

    def protected(self, pods: Sequence[PlacedPod], *, evicted: bool = False) -> list[bool]:
        """For each pod, whether a budget would be violated if it went after those before it; see `violated`."""
        if not self._by_namespace:
            return [False] * len(pods)
        return [bool(names) for names in self.violated(pods, evicted=evicted)]

    def violated(self, pods: Sequence[PlacedPod], *, evicted: bool = False) -> list[tuple[str, ...]]:
        """For each pod, the names of the budgets that would be violated if it went after those before it.

        A pod that the API server already counts as disrupted costs nothing more, unless it is evicted: the eviction
        API asks no matter whom (``checkAndDecrement`` in pkg/registry/core/pod/storage/eviction.go). It may count one
        for two minutes that was not deleted in the end, as where whoever evicted it died amid the request.

        Args:
            pods: In the order in which they would go.
            evicted: Whether by the eviction API, and not by being deleted.
        """
        left: dict[int, int] = {}
        verdicts = []
        for pod in pods:
            violated: tuple[str, ...] = ()
            labels = pod.shape.labels
            for name, budget in self._by_namespace.get(pod.key.namespace, {}).items() if labels else ():
                if (pod.key.name in budget.disrupted and not evicted) or not budget.selector.matches(labels):
                    continue
                allowed = left.get(id(budget), budget.allowed) - 1
                left[id(budget)] = allowed
                if allowed < 0:
                    violated += (name,)
            verdicts.append(violated)
        return verdicts
