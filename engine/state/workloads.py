"""Where the pods of each workload run: what a delay to a workload is measured to."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from engine.state.counted import Counted
from engine.state.pods import PlacedPod


class WorkloadPods(Counted):
    """The pods of all workloads of one name in one namespace.

    Attributes:
        known: How many pods there are, placed or not.
        slots: Slot → how many of the placed ones run there; those on their way out are left out.
        version: Differs whenever the set of slots does, and between any two workloads, even of one name.
    """

    __slots__ = ("known", "slots", "version")

    def __init__(self, version: int) -> None:
        super().__init__()
        self.known = 0
        self.slots: dict[int, int] = {}
        self.version = version


class Workloads:
    """All workloads by namespace and name."""

    __slots__ = ("_by_name", "_versions")

    def __init__(self) -> None:
        self._by_name: dict[tuple[str, str], WorkloadPods] = {}
        self._versions = count()

    def get(self, namespace: str, name: str) -> WorkloadPods | None:
        """The pods of a workload, None where no pod of it is known."""
        return self._by_name.get((namespace, name))

    def names(self, namespace: str) -> Iterable[str]:
        """The names of the workloads of a namespace."""
        return (name for space, name in self._by_name if space == namespace)

    def add(self, placed: PlacedPod) -> None:
        """A pod is known from now on."""
        name = _name(placed)
        workload = self._by_name.get(name)
        if workload is None:
            workload = self._by_name[name] = WorkloadPods(next(self._versions))
        workload.known += 1

    def remove(self, placed: PlacedPod) -> None:
        """A pod is known no longer; it must have been uncounted before."""
        name = _name(placed)
        workload = self._by_name[name]
        workload.known -= 1
        if not workload.known:
            del self._by_name[name]

    def count(self, placed: PlacedPod, number: int) -> None:
        """A pod came to its slot (1) or leaves it (-1).

        One of a workload of which no pod is known is only supposed to be there: it stands for one that is to come.
        """
        workload = self._by_name.get(_name(placed))
        if workload is None:
            return
        before = workload.slots.get(placed.slot, 0)
        after = before + number
        if after:
            workload.slots[placed.slot] = after
        else:
            del workload.slots[placed.slot]
        if not before or not after:
            workload.version = next(self._versions)
            workload.notice()


def _name(placed: PlacedPod) -> tuple[str, str]:
    return placed.shape.namespace, placed.workload.name
